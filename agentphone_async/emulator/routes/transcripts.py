"""Transcripts: at once, or as they are spoken."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

from agentphone_async.emulator.conversation import turns_of, turns_so_far
from agentphone_async.emulator.exchange import Exchange, Service
from agentphone_async.emulator.models import EmulatedCall
from agentphone_async.emulator.reply import Reply, json_reply
from agentphone_async.emulator.serializers import number, timestamp, turn_json
from agentphone_async.emulator.serializers import transcript as transcript_json
from agentphone_async.waiting import first_of

HEARTBEAT = b": heartbeat\n\n"


async def transcript(exchange: Exchange) -> Reply:
    """Get Call Transcript, in the shape that the emulator was set to."""
    call = exchange.call()
    settings = exchange.service.settings
    turns = turns_so_far(call, settings.seed, exchange.service.now())
    said = transcript_json(call, turns, settings.transcript_shape)
    if isinstance(said, str):
        return Reply(200, [("Content-Type", "text/plain; charset=utf-8")], said.encode())
    return json_reply(said)


async def transcript_stream(exchange: Exchange) -> Reply:
    """Stream Call Transcript: what was said so far, then what is being said, then the end."""
    headers = [
        ("Content-Type", "text/event-stream; charset=utf-8"),
        ("Cache-Control", "no-cache"),
        ("X-Accel-Buffering", "no"),
    ]
    return Reply(200, headers, _events(exchange.service, exchange.call()))


def event(name: str, data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode(
        "utf-8", "replace"
    )


async def _events(service: Service, call: EmulatedCall) -> AsyncIterator[bytes]:
    """Every event of a call from its beginning, with heartbeats in the silences between."""
    settings = service.settings
    clock = settings.clock
    yield event("connected", _connected(call, service))
    told = 0
    beat = clock.monotonic() + settings.heartbeat
    while True:
        now = service.now()
        said = turns_so_far(call, settings.seed, now)
        for turn in said[told:]:
            yield event("turn", turn_json(call, turn))
            beat = clock.monotonic() + settings.heartbeat
        told = len(said)
        if call.has_ended(now):
            break
        if clock.monotonic() >= beat:
            yield HEARTBEAT
            beat = clock.monotonic() + settings.heartbeat
        pause = min(
            beat - clock.monotonic(), call.next_change(now), _until_next_turn(call, service, told)
        )
        await first_of(clock.sleep(pause), service.account.changed())
    if settings.stream_ended:
        yield event("ended", _ended(call, service))


def _until_next_turn(call: EmulatedCall, service: Service, told: int) -> float:
    turns = turns_of(call, service.settings.seed)
    if told >= len(turns):
        return math.inf
    talked = (service.now() - call.started_at).total_seconds() - call.answered_after
    # A turn beyond the end of the call is never spoken; the end is waited for elsewhere.
    return turns[told][0] - talked if turns[told][0] > talked else math.inf


def _connected(call: EmulatedCall, service: Service) -> dict[str, Any]:
    return {
        "callId": call.id,
        "status": call.status(service.now()),
        "agentId": call.agent_id,
        "agentName": call.agent_name,
        "direction": call.direction,
        "fromNumber": call.from_number,
        "toNumber": call.to_number,
        "startedAt": timestamp(call.started_at, milliseconds=call.milliseconds),
    }


def _ended(call: EmulatedCall, service: Service) -> dict[str, Any]:
    now = service.now()
    return {
        "callId": call.id,
        "status": call.status(now),
        "endedAt": timestamp(call.ended_at(now), milliseconds=call.milliseconds),
        "durationSeconds": number(call.duration(now)),
    }
