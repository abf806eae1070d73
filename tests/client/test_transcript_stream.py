"""Following a call over connections that break, fall silent, repeat themselves or never end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from contextlib import aclosing
from typing import Any

import pytest

from agentphone_async import (
    AuthenticationError,
    ConnectedEvent,
    ConnectionFailedError,
    EndedEvent,
    MismatchedAnswerError,
    NotFoundError,
    RetryPolicy,
    TimedOutError,
    Timeouts,
    TurnEvent,
    UnexpectedResponseError,
)
from agentphone_async.emulator import CallLife, Emulator
from agentphone_async.models import TranscriptEvent
from tests.conftest import Sleeps, timeless
from tests.support.raw_server import RawServer, respond, then_close, then_hold, then_reset

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"


def event(name: str, data: Any, **fields: Any) -> bytes:
    lines = [f"{key}: {value}" for key, value in fields.items()]
    text = data if isinstance(data, str) else json.dumps(data)
    return "\n".join([*lines, f"event: {name}", f"data: {text}", "", ""]).encode()


def turn(content: str, role: str = "user", **more: Any) -> bytes:
    return event("turn", {"role": role, "content": content, **more})


CONNECTED = event("connected", {"callId": "c", "status": "in-progress"})
ENDED = event("ended", {"callId": "c", "status": "completed", "durationSeconds": 9.5})
YES, NO = turn("yes"), turn("no")


async def follow(client, **options: Any) -> list[TranscriptEvent]:
    return [event async for event in client.calls.stream_transcript("c", **options)]


def said(events: list[TranscriptEvent]) -> list[str | None]:
    return [event.content if isinstance(event, TurnEvent) else event.event for event in events]


async def test_typed_events_in_order(client_of):
    body = HEAD + b": heartbeat\n\n" + CONNECTED + YES + b": heartbeat\n\n" + ENDED
    async with RawServer(then_hold(body)) as server:
        events = await follow(client_of(server.base_url))
        await server.left()
    connected, first, ended = events
    assert isinstance(connected, ConnectedEvent)
    assert connected.call_id == "c"
    assert isinstance(first, TurnEvent)
    assert (first.role, first.content) == ("user", "yes")
    assert isinstance(ended, EndedEvent)
    assert ended.duration_seconds == 9.5
    assert ended["event"] == "ended"
    assert ended["data"]["callId"] == "c"


@pytest.mark.parametrize("drop", [then_close, then_reset], ids=["close", "reset"])
async def test_dropped_connections_are_opened_again_without_repeating_turns(
    client_of, drop, caplog
):
    caplog.set_level(logging.INFO, "agentphone_async.resources")
    async with RawServer(
        drop(HEAD + CONNECTED + YES + YES),
        then_close(HEAD + CONNECTED + YES),
        then_close(HEAD + CONNECTED + YES + YES + NO + b"event: turn\ndata: {"),
        then_hold(HEAD + CONNECTED + YES + YES + NO + YES + ENDED),
    ) as server:
        events = await follow(client_of(server.base_url))
    assert said(events) == ["connected", "yes", "yes", "no", "yes", "ended"]
    assert len(server.requests) == 4
    assert len(caplog.messages) == 3, "each retry is logged"


async def test_the_last_event_id_goes_along_and_a_server_that_resumes_is_understood(client_of):
    one = turn("one", createdAt="2026-11-21T10:00:00Z").replace(b"event", b"id: 7\nevent", 1)
    async with RawServer(
        then_close(HEAD + CONNECTED + one),
        then_hold(HEAD + CONNECTED + turn("two") + turn("three") + ENDED),
    ) as server:
        events = await follow(client_of(server.base_url))
        assert "last-event-id" not in server.requests[0].headers
        assert server.requests[1].headers["last-event-id"] == "7"
    assert said(events) == ["connected", "one", "two", "three", "ended"]


@pytest.mark.parametrize("event_id", ["x" * 600, "naïve", "a\x1bb"])
async def test_ids_that_do_not_belong_in_a_header_are_not_sent_back(client_of, event_id: str):
    first = event("turn", {"content": "yes"}, id=event_id)
    async with RawServer(then_close(HEAD + first), then_hold(HEAD + first + ENDED)) as server:
        await follow(client_of(server.base_url))
        assert "last-event-id" not in server.requests[1].headers


async def test_it_gives_up_after_as_many_fruitless_connections_as_attempts(client_of):
    async with RawServer(then_close(HEAD + CONNECTED + YES)) as server:
        client = client_of(server.base_url)
        events = []
        stream = client.calls.stream_transcript("c")
        events += [await anext(stream), await anext(stream)]
        with pytest.raises(ConnectionFailedError, match="while the call is in progress") as caught:
            await anext(stream)
        assert said(events) == ["connected", "yes"]
        # The first one brought a turn; then three in a row that brought none.
        assert len(server.requests) == caught.value.attempts == 3


async def test_connections_that_bring_something_may_break_without_end(client_of):
    turns = [turn(f"turn {number}") for number in range(12)]
    script = [then_close(HEAD + b"".join(turns[: number + 1])) for number in range(12)]
    async with RawServer(*script, then_hold(HEAD + b"".join(turns) + ENDED)) as server:
        events = await follow(client_of(server.base_url))
    assert len(events) == 13


async def test_the_pauses_follow_the_policy_and_the_server(client_of, sleeps: Sleeps):
    async with RawServer(then_close(HEAD + b"retry: 3000\n\n" + CONNECTED)) as server:
        client = client_of(server.base_url)
        timeless(client, sleeps, RetryPolicy(attempts=3, first_delay=0.5, longest_delay=20))
        with pytest.raises(ConnectionFailedError):
            await follow(client)
    assert list(sleeps) == [3.0, 3.0]


async def test_an_absurd_retry_field_is_clamped(client_of, sleeps: Sleeps):
    async with RawServer(then_close(HEAD + b"retry: 999999999\n\n" + CONNECTED)) as server:
        client = client_of(server.base_url)
        timeless(client, sleeps, RetryPolicy(attempts=3, longest_delay=20))
        with pytest.raises(ConnectionFailedError):
            await follow(client)
    assert list(sleeps) == [20.0, 20.0]


async def test_two_missed_heartbeats_count_as_a_drop(client_of):
    async with RawServer(
        then_hold(HEAD + CONNECTED + YES), then_hold(HEAD + CONNECTED + YES + NO + ENDED)
    ) as server:
        events = await follow(client_of(server.base_url), heartbeat=0.05)
        await server.left()
    assert said(events) == ["connected", "yes", "no", "ended"]


async def test_silence_for_ever_ends_with_a_time_out(client_of):
    async with RawServer(then_hold(HEAD + CONNECTED)) as server:
        with pytest.raises(TimedOutError, match=r"was silent for 0\.04 s") as caught:
            await follow(client_of(server.base_url), heartbeat=0.02)
        assert len(server.requests) == caught.value.attempts == 3


async def test_a_connection_that_was_alive_for_a_while_is_not_held_against_the_stream(client_of):
    """A proxy that cuts every connection after a minute cannot end the following of a call."""

    async def beat_and_cut(connection, _):
        await connection.send(HEAD)
        for _ in range(4):
            await connection.send(b": heartbeat\n\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.gone.wait(), 0.01)
        connection.close()

    async with RawServer(*[beat_and_cut] * 6, then_hold(HEAD + ENDED)) as server:
        assert said(await follow(client_of(server.base_url), heartbeat=0.02)) == ["ended"]
        assert len(server.requests) == 7


async def test_silence_in_an_error_body_does_not_hang(client_of):
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 99\r\n\r\n{"
    async with RawServer(then_hold(head)) as server:
        with pytest.raises(TimedOutError):
            await follow(client_of(server.base_url), heartbeat=0.02)


async def test_heartbeats_keep_a_silent_stream_open(emulator, client):
    """On the emulator's own heartbeats, much closer together than our patience."""
    emulator.settings.heartbeat = 0.02
    emulator.settings.life = CallLife(ending=0.0)
    call = emulator.add_call(id="c", status="in-progress", transcript=[])
    async with aclosing(client.calls.stream_transcript("c", heartbeat=0.15)) as events:
        assert (await anext(events)).event == "connected"
        rest = asyncio.ensure_future(anext(events))
        done, _ = await asyncio.wait((rest,), timeout=0.35)
        assert not done
        await client.calls.end("c")
        assert (await rest).event == "ended"
    assert call.id == "c"
    assert emulator.requests.count("transcript_stream") == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (respond(404, {"detail": "Call not found"}), NotFoundError),
        (respond(401, {"detail": "no"}), AuthenticationError),
        (respond(200, b"<html>", content_type="text/html"), UnexpectedResponseError),
        (respond(200, {"data": []}), UnexpectedResponseError),
        (respond(204, b""), Exception),
    ],
)
async def test_an_answer_that_is_final_is_raised_at_once(client_of, answer, kind):
    async with RawServer(answer) as server:
        with pytest.raises(kind) as caught:
            await follow(client_of(server.base_url))
        assert len(server.requests) == 1
        assert caught.value.call_id == "c"


async def test_an_answer_that_is_final_is_raised_after_a_drop_too(client_of):
    async with RawServer(then_close(HEAD + YES), respond(404, {"detail": "gone"})) as server:
        with pytest.raises(NotFoundError):
            await follow(client_of(server.base_url))
        assert len(server.requests) == 2


async def test_transient_answers_are_tried_again(client_of):
    async with RawServer(
        respond(503), respond(429, retry_after="0"), then_hold(HEAD + ENDED)
    ) as server:
        assert said(await follow(client_of(server.base_url))) == ["ended"]


async def test_data_that_is_no_json_object_is_left_out_and_told(client_of, caplog):
    caplog.set_level(logging.WARNING)
    bad = event("turn", "{oops") + event("turn", "[1]") + event("\x1b[2Jx", "3")
    async with RawServer(then_hold(HEAD + bad + YES + event("ended", "oops"))) as server:
        assert said(await follow(client_of(server.base_url))) == ["yes", "ended"]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    assert all(message.isprintable() for message in messages)


async def test_kinds_of_events_that_are_not_known_pass_through(client_of):
    odd = event("mood", {"happy": True}) + b'data: {"n": 1}\n\n'
    async with RawServer(then_close(HEAD + odd), then_hold(HEAD + odd + ENDED)) as server:
        events = await follow(client_of(server.base_url))
    assert [one.event for one in events] == ["mood", "message", "ended"]
    assert events[0].data == {"happy": True}


async def test_an_endless_event_is_refused(client_of):
    flood = HEAD + b"data: " + b"x" * (2 * 1024 * 1024)
    async with RawServer(then_hold(flood)) as server:
        with pytest.raises(UnexpectedResponseError, match="larger than"):
            await follow(client_of(server.base_url))
        assert len(server.requests) == 1


async def test_a_slow_stream_is_no_stalled_download(client_of):
    """Neither the idle time-out nor the minimum speed of the transport applies to it."""
    timeouts = Timeouts(read=0.03, minimum_speed=10_000_000, minimum_speed_window=0.03)
    release = asyncio.Event()

    async def slowly(connection, _):
        await connection.send(HEAD + CONNECTED)
        await release.wait()
        await connection.send(YES)
        await connection.send(ENDED)
        await connection.wait_gone()

    async with RawServer(slowly) as server:
        client = client_of(server.base_url, timeouts=timeouts)
        async with aclosing(client.calls.stream_transcript("c")) as events:
            await anext(events)
            rest = asyncio.ensure_future(anext(events))
            await asyncio.wait((rest,), timeout=0.15)
            release.set()
            assert (await rest).event == "turn"
        assert len(server.requests) == 1


async def test_another_calls_events_are_refused(client_of):
    async with RawServer(HEAD + CONNECTED) as server:
        with pytest.raises(MismatchedAnswerError):
            await anext(client_of(server.base_url).calls.stream_transcript("d"))


async def test_following_many_calls_holds_up_nothing_else(client_of):
    """More streams than connections and slots, and a download still goes at once."""
    wav = respond(body=b"RIFF", content_type="audio/wav")

    async def serve(connection, request):
        if "stream" in request.target:
            await connection.send(HEAD + CONNECTED)
            await connection.wait_gone()
        else:
            await connection.send(wav)

    async with RawServer(serve) as server:
        client = client_of(server.base_url, connections=2)
        streams = [client.calls.stream_transcript("c") for _ in range(5)]
        for stream in streams:
            await anext(stream)
        assert client.session.limits.slots.held == 0
        assert (await client.calls.get_recording("c")).content == b"RIFF"
        for stream in streams:
            await stream.aclose()
        for connection in server.connections[:5]:
            await connection.gone.wait()


def test_a_heartbeat_that_cannot_be(client_of):
    with pytest.raises(ValueError, match="heartbeat is 0 s"):
        client_of("http://127.0.0.1:1").calls.stream_transcript("c", heartbeat=0)


async def test_the_emulator_dropping_at_every_event(emulator, client):
    """Reset after each event in turn: every turn arrives, and arrives once."""
    talk = [("user" if n % 2 else "agent", "yes" if n % 3 else "no") for n in range(9)]
    emulator.add_call(id="c", transcript=talk, duration=90)
    for events in range(1, 10):
        emulator.fail(route="transcript_stream", after_events=events, truncate=0, times=1)
    got = await follow(client)
    assert [(e.role, e.content) for e in got if isinstance(e, TurnEvent)] == talk
    assert [e.event for e in got if not isinstance(e, TurnEvent)] == ["connected", "ended"]
    assert emulator.requests.count("transcript_stream") == 10


FINISHED = event("connected", {"callId": "c", "status": "completed"})


@pytest.mark.parametrize("status", ["completed", "failed", "no_answer", "Completed"])
async def test_a_finished_call_may_end_with_its_replay(client_of, status):
    connected = event("connected", {"callId": "c", "status": status})
    async with RawServer(then_close(HEAD + connected + YES + NO)) as server:
        assert said(await follow(client_of(server.base_url))) == ["connected", "yes", "no"]
        assert len(server.requests) == 1


async def test_an_end_says_that_a_call_is_finished_whatever_its_status(client_of):
    connected = event("connected", {"status": "odd", "endedAt": "2026-01-01T00:00:00Z"})
    async with RawServer(then_close(HEAD + connected + YES)) as server:
        assert said(await follow(client_of(server.base_url))) == ["connected", "yes"]


async def test_a_call_that_ended_meanwhile_ends_with_the_replay_after_it(client_of):
    async with RawServer(
        then_close(HEAD + CONNECTED + YES), then_close(HEAD + FINISHED + YES + NO)
    ) as server:
        assert said(await follow(client_of(server.base_url))) == ["connected", "yes", "no"]
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "broken",
    [
        then_close(HEAD + FINISHED + YES + b"event: turn\nda"),
        then_close(HEAD + FINISHED + YES + b"event: turn\n"),
    ],
)
async def test_a_replay_that_breaks_off_is_asked_for_again(client_of, broken):
    async with RawServer(broken, then_close(HEAD + FINISHED + YES + NO)) as server:
        assert said(await follow(client_of(server.base_url))) == ["connected", "yes", "no"]
        assert len(server.requests) == 2


async def test_the_emulators_stream_may_lack_its_end(client_of):
    async with Emulator(stream_ended=False) as emulator:
        call = emulator.add_call(transcript=[("user", "yes"), ("agent", "no")])
        client = client_of(emulator.base_url, api_key=emulator.api_key)
        events = [one async for one in client.calls.stream_transcript(call.id)]
    assert said(events) == ["connected", "yes", "no"]
