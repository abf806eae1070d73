from __future__ import annotations

import asyncio
import json

import pytest

from agentphone_async.emulator import Emulator

_SAID = [("agent", "Hello?"), ("user", "Grüße, ich wäre da"), ("user", "Bye"), ("agent", "Bye now")]


def events(body: bytes) -> list[tuple[str, dict]]:
    """Named events of a stream; comments come as ``("", {})``."""
    found = []
    for block in body.decode().split("\n\n"):
        if block.startswith(":"):
            found.append(("", {}))
        elif block:
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_a_transcript_comes_in_three_shapes(ask):
    async with Emulator() as emulator:
        call = emulator.add_call(transcript=_SAID, duration=40)
        path = f"/v1/calls/{call.id}/transcript"
        first = (await ask(emulator, path)).json()
        assert first["callId"] == call.id
        assert [(turn["role"], turn["content"]) for turn in first["transcript"]] == _SAID
        for shape in ("data", "transcripts"):
            emulator.settings.transcript_shape = shape
            body = (await ask(emulator, path)).json()
            assert list(body) == [shape]
            pairs = [(row["transcript"], row["response"]) for row in body[shape]]
            assert pairs == [("", "Hello?"), ("Grüße, ich wäre da", None), ("Bye", "Bye now")]
            assert body[shape][0].keys() == {
                "id", "transcript", "response", "confidence", "createdAt",
            }  # fmt: skip
        got = (await ask(emulator, f"/v1/calls/{call.id}")).json()
        assert got["transcripts"] == body["transcripts"]
        assert got["lastTranscriptSnippet"] == "Bye now"


async def test_generated_transcripts_are_always_the_same(ask):
    bodies = []
    for _ in range(2):
        async with Emulator() as emulator:
            call = emulator.add_call(id="call_x", started_at=emulator.settings.clock.now())
            turns = (await ask(emulator, f"/v1/calls/{call.id}/transcript")).json()["transcript"]
            bodies.append([turn["content"] for turn in turns])
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) == 10


async def test_a_finished_call_is_replayed_and_ends(emulator, ask):
    call = emulator.add_call(transcript=_SAID)
    answer = await ask(emulator, f"/v1/calls/{call.id}/transcript/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    body, whole = answer.dechunked()
    assert whole
    names = [name for name, _ in events(body)]
    assert names == ["connected", *["turn"] * 4, "ended"]
    connected, ended = events(body)[0][1], events(body)[-1][1]
    assert connected.keys() == {
        "callId", "status", "agentId", "agentName", "direction", "fromNumber", "toNumber",
        "startedAt",
    }  # fmt: skip
    assert ended.keys() == {"callId", "status", "endedAt", "durationSeconds"}
    assert events(body)[2][1]["content"] == "Grüße, ich wäre da"


class Live:
    """A stream that is read event by event while the clock is moved."""

    def __init__(self, client):
        self.client = client

    async def next(self) -> tuple[str, dict]:
        size = int(await self.client.reader.readline(), 16)
        block = await self.client.reader.readexactly(size + 2)
        return events(block[:-2])[0] if size else ("end", {})


async def test_a_live_call_is_followed_turn_by_turn(clock, connect):
    async with Emulator(clock=clock) as emulator, connect(emulator) as client:
        call = emulator.add_call(status="in-progress", started_at=clock.now())
        call.turns = [(0.0, "agent", "Hello?"), (4.0, "user", "Hi"), (40.0, "user", "Bye")]
        client.send(f"/v1/calls/{call.id}/transcript/stream")
        await client.head()
        live = Live(client)
        assert (await live.next())[0] == "connected"
        assert (await live.next())[1]["content"] == "Hello?"
        await clock.until_sleeping()
        clock.advance(4)
        assert (await live.next())[1]["content"] == "Hi"
        for _ in range(2):
            await clock.until_sleeping()
            clock.advance(15)
            assert (await live.next())[0] == ""
        await clock.until_sleeping()
        clock.advance(6)
        assert (await live.next())[1]["content"] == "Bye"
        call.hang_up(clock.now(), after=1)
        emulator._service.account.announce_change()
        await clock.until_sleeping()
        clock.advance(1)
        name, ended = await live.next()
        assert (name, ended["durationSeconds"]) == ("ended", 41)
        assert (await live.next())[0] == "end"


async def test_ending_a_call_ends_its_stream(clock, connect, ask):
    async with Emulator(clock=clock) as emulator, connect(emulator) as client:
        call = emulator.add_call(status="in-progress")
        client.send(f"/v1/calls/{call.id}/transcript/stream")
        await clock.until_sleeping()
        await ask(emulator, f"/v1/calls/{call.id}/end", "POST")
        await clock.until_sleeping()
        clock.advance(0.5)
        body, whole = (await client.rest()).dechunked()
        assert whole
        assert events(body)[-1][0] == "ended"


async def test_a_listener_who_leaves_is_forgotten(clock, connect):
    async with Emulator(clock=clock) as emulator:
        call = emulator.add_call(status="in-progress")
        async with connect(emulator) as client:
            client.send(f"/v1/calls/{call.id}/transcript/stream")
            await clock.until_sleeping()
        while emulator.requests.in_flight:
            await asyncio.sleep(0)
        assert clock.sleeping == 0


@pytest.mark.parametrize("route", ["transcript", "transcript/stream"])
async def test_transcripts_are_not_public(emulator, ask, route):
    call = emulator.add_call()
    assert (await ask(emulator, f"/v1/calls/{call.id}/{route}", key=False)).status == 401
    assert (await ask(emulator, f"/v1/calls/call_none/{route}")).status == 404


async def test_a_stream_can_break_after_an_event(emulator, connect, ask):
    call = emulator.add_call(transcript=_SAID)
    path = f"/v1/calls/{call.id}/transcript/stream"
    emulator.fail(route="transcript_stream", truncate=0, after_events=3, times=1)
    body, whole = (await ask(emulator, path)).dechunked()
    assert not whole
    assert [name for name, _ in events(body)] == ["connected", "turn", "turn"]
    emulator.fail(route="transcript_stream", reset=5, after_events=1, times=1)
    broken = await ask(emulator, path)
    assert broken.end == "reset"
    assert broken.dechunked()[0].endswith(b"\n\nevent")
    emulator.fail(route="transcript_stream", stall=0, after_events=2, times=1)
    async with connect(emulator) as client:
        client.send(path)
        await client.head()
        live = Live(client)
        assert [(await live.next())[0] for _ in range(2)] == ["connected", "turn"]
        assert await client.is_silent()


async def test_the_snippet_of_a_list_is_what_was_said_last(ask):
    async with Emulator(calls=15) as emulator:
        for row in (await ask(emulator, "/v1/calls")).json()["data"]:
            said = (await ask(emulator, f"/v1/calls/{row['id']}/transcript")).json()["transcript"]
            last = said[-1]["content"][:80] if said else None
            assert row["lastTranscriptSnippet"] == last
