"""The JSON that the API speaks: field names, nulls and timestamps as in its reference."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote

from agentphone_async.emulator.models import EmulatedCall, Turn
from agentphone_async.emulator.seeding import digest

Json = dict[str, Any]
TranscriptShape = Literal["transcript", "data", "transcripts"]


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


def transcript(call: EmulatedCall, turns: Sequence[Turn], shape: TranscriptShape) -> Json:
    """The transcript in one of the three shapes in which it has been seen."""
    if shape == "transcript":
        return {"callId": call.id, "transcript": [turn_json(call, turn) for turn in turns]}
    return {shape: exchanges(call, turns)}
