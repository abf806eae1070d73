"""The JSON that the API speaks: field names, nulls and timestamps as in its reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from agentphone_async.emulator.models import (
    EmulatedAgent,
    EmulatedCall,
    EmulatedNumber,
    Turn,
    WebhookDelivery,
)
from agentphone_async.emulator.seeding import digest

Json = dict[str, Any]
TranscriptShape = Literal["transcript", "data", "transcripts", "list", "speakers", "text"]
"""The three shapes of an object; a bare list; rows of ``speaker``, ``text`` and ``timestamp``;
plain text."""

_FOUNDED = "2025-01-01T00:00:00Z"


def timestamp(moment: datetime | None, *, milliseconds: bool = False) -> str | None:
    """ISO 8601 in UTC with a ``Z``; None stays null."""
    if moment is None:
        return None
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return text.removesuffix("+00:00") + "Z"


def recording_url(base_url: str, call_id: str) -> str:
    """Where a call's recording is fetched; the id is percent-encoded as one path segment."""
    return f"{base_url}/v1/calls/{quote(call_id, safe='', errors='surrogatepass')}/recording"


def storage_path(seed: int, call_id: str, until: datetime) -> str:
    """Path and query of a signed address of a recording in the storage, good until a moment."""
    encoded = quote(call_id, safe="", errors="surrogatepass")
    expires = int(until.timestamp())
    signature = storage_signature(seed, call_id, str(expires))
    return f"/storage/recordings/{encoded}?Expires={expires}&Signature={signature}"


def storage_signature(seed: int, call_id: str, expires: str) -> str:
    """What a signed address must carry."""
    return digest("storage", seed, call_id, expires, size=32)


def number(value: float | None) -> float | int | None:
    """Whole numbers lose their ``.0``, as in the API."""
    return int(value) if value is not None and value == int(value) else value


def call_summary(call: EmulatedCall, now: datetime, snippet: str | None) -> Json:
    """A call as agent-scoped lists show it: without direction and recording fields."""
    return {
        "id": call.id,
        "agentId": call.agent_id,
        "agentName": call.agent_name,
        "phoneNumberId": call.phone_number_id,
        "phoneNumber": call.phone_number,
        "fromNumber": call.from_number,
        "toNumber": call.to_number,
        "status": call.status(now),
        "startedAt": timestamp(call.started_at, milliseconds=call.milliseconds),
        "endedAt": timestamp(call.ended_at(now), milliseconds=call.milliseconds),
        "durationSeconds": number(call.duration(now)),
        "lastTranscriptSnippet": snippet,
    }


def call_json(
    call: EmulatedCall, now: datetime, snippet: str | None, *, base_url: str, addon: bool
) -> Json:
    """A call as every other endpoint shows it.

    Without the recording add-on a recording is available, but its URL stays null.
    """
    recorded = call.has_recording(now)
    hint = recorded if call.recording_hint is None else call.recording_hint
    link = recorded and addon and call.recording_link
    return call_summary(call, now, snippet) | {
        "direction": call.direction,
        "recordingUrl": recording_url(base_url, call.id) if link else None,
        "recordingAvailable": hint,
    }


def page(rows: Sequence[Json], *, has_more: bool, total: int) -> Json:
    """One page of a list."""
    return {"data": list(rows), "hasMore": has_more, "total": total}


def snippet(said: str | None) -> str | None:
    """What was said last, shortened; null when nothing was."""
    return said[:80] if said else None


def turn_json(call: EmulatedCall, turn: Turn) -> Json:
    """One turn: who said what, and when."""
    after, role, content = turn
    spoken = call.started_at + timedelta(seconds=call.answered_after + after)
    return {"role": role, "content": content, "createdAt": timestamp(spoken, milliseconds=True)}


def exchanges(call: EmulatedCall, turns: Sequence[Turn]) -> list[Json]:
    """Turns folded into pairs of the user's utterance and the agent's response.

    A greeting that nobody had asked for is the response to an empty utterance.
    """
    rows: list[Json] = []
    for position, turn in enumerate(turns):
        said = turn_json(call, turn)
        if said["role"] == "user" or not rows or rows[-1]["response"] is not None:
            rows.append(
                {
                    "id": f"tr_{digest('turn', call.id, position)}",
                    "transcript": said["content"] if said["role"] == "user" else "",
                    "response": None if said["role"] == "user" else said["content"],
                    "confidence": round(0.8 + 0.19 * (position % 7) / 7, 3),
                    "createdAt": said["createdAt"],
                }
            )
        else:
            rows[-1]["response"] = said["content"]
    return rows


def transcript(call: EmulatedCall, turns: Sequence[Turn], shape: TranscriptShape) -> Any:
    """The transcript in one of the shapes in which it has been seen; text is not JSON."""
    said = [turn_json(call, turn) for turn in turns]
    if shape == "transcript":
        return {"callId": call.id, "transcript": said}
    if shape == "list":
        return said
    if shape == "speakers":
        rows = [
            {"speaker": turn["role"], "text": turn["content"], "timestamp": turn["createdAt"]}
            for turn in said
        ]
        return {"callId": call.id, "transcript": rows}
    if shape == "text":
        return "\n".join(f"{turn['role'].title()}: {turn['content']}" for turn in said)
    return {shape: exchanges(call, turns)}


def number_json(line: EmulatedNumber, agent_id: str | None) -> Json:
    """A phone number of the account."""
    return {
        "id": line.id,
        "phoneNumber": line.phone_number,
        "country": "US",
        "status": "active",
        "type": "voice",
        "agentId": agent_id,
        "inboundCallsEnabled": True,
        "createdAt": _FOUNDED,
        "purchasedAt": _FOUNDED,
    }


def agent_json(agent: EmulatedAgent, lines: Sequence[EmulatedNumber]) -> Json:
    """An agent of the account, with the numbers that it answers."""
    return {
        "id": agent.id,
        "name": agent.name,
        "description": None,
        "createdAt": _FOUNDED,
        "voiceMode": "hosted",
        "modelTier": "balanced",
        "systemPrompt": None,
        "beginMessage": None,
        "voice": None,
        "language": "en-US",
        "numbers": [
            {"id": line.id, "phoneNumber": line.phone_number, "status": "active", "type": "voice"}
            for line in lines
        ],
    }


def usage_json(
    now: datetime, numbers: int, calls: int, recent: Mapping[str, int], deliveries: Sequence[str]
) -> Json:
    """What the account has used, and what its plan allows."""
    begin = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    stats: Json = {"totalMessages": 0, "totalCalls": calls, "smsSegmentsLast30d": 0}
    for span, count in recent.items():
        stats |= {f"messages{span}": 0, f"calls{span}": count}
    return {
        "plan": {
            "name": "emulator",
            "limits": {"numbers": 10, "concurrentCalls": 20, "maxCallDurationMinutes": 60},
        },
        "numbers": {"used": numbers, "limit": 10, "remaining": max(0, 10 - numbers)},
        "stats": stats
        | {
            "totalWebhookDeliveries": len(deliveries),
            "successfulWebhookDeliveries": deliveries.count("success"),
            "failedWebhookDeliveries": deliveries.count("failed"),
        },
        "periodStart": timestamp(begin),
        "periodEnd": timestamp((begin + timedelta(days=32)).replace(day=1)),
        "reportGeneratedAt": timestamp(now),
    }


def delivery_json(delivery: WebhookDelivery) -> Json:
    """A webhook event as the list of deliveries shows it."""
    return {
        "id": delivery.id,
        "status": delivery.status,
        "attemptCount": delivery.attempts,
        "createdAt": timestamp(delivery.created_at, milliseconds=True),
        "messageId": None,
        "httpStatus": delivery.http_status,
        "errorMessage": delivery.error,
        "lastAttemptAt": timestamp(delivery.last_attempt, milliseconds=True),
        "nextRetryAt": None,
        "eventType": delivery.event["event"],
        "channel": "voice",
    }
