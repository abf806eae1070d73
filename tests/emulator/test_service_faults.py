"""Faults of services that are busy, slow, moved, or that answer somebody else: from a raw socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from agentphone_async.emulator import Emulator, Fault, VirtualClock


@pytest.fixture
async def scene(emulator):
    """An emulator, a recording's path, and its bytes."""
    call = emulator.add_call(duration=1, id="call_1", direction="inbound")
    return emulator, f"/v1/calls/{call.id}/recording", emulator.expected_audio(call.id)


async def test_a_duplicate_answer_is_the_whole_answer_twice(scene, connect):
    emulator, path, audio = scene
    emulator.fail(duplicate_answer=True, times=1)
    async with connect(emulator) as client:
        client.send(path, close=False)
        first, second = await client.answer(), await client.answer()
        assert first == second
        assert first.body == audio
        client.send("/v1/calls/call_1", close=False)
        assert (await client.answer()).json()["id"] == "call_1"
    assert len(emulator.requests) == 2


async def test_a_late_answer_comes_before_the_next_one(emulator, connect):
    for name in ("call_1", "call_2"):
        emulator.add_call(id=name)
    emulator.fail(late_answer=True, times=1)
    async with connect(emulator) as client:
        client.send("/v1/calls/call_1", close=False)
        assert (await client.answer()).json()["id"] == "call_1"
        assert await client.is_silent()
        client.send("/v1/calls/call_2", close=False)
        ids = [(await client.answer()).json()["id"] for _ in range(2)]
        assert ids == ["call_1", "call_2"]
        assert emulator._dispatcher._late == {}


@pytest.mark.parametrize(("bandwidth", "pause"), [(None, 1.0), (20, 0.05)])
async def test_extensions_drip_instead_of_a_body(clock, connect, bandwidth, pause):
    async with Emulator(clock=clock) as emulator, connect(emulator) as client:
        emulator.fail(drip_extensions=True, bandwidth=bandwidth)
        client.send("/v1/calls")
        top = await client.head()
        assert top.headers["transfer-encoding"] == "chunked"
        assert await client.reader.readexactly(2) == b"1;"
        for _ in range(3):
            await clock.until_sleeping()
            assert await client.is_silent()
            clock.advance(pause)
            assert await client.reader.readexactly(1) == b"x"


async def test_an_expired_redirect_leads_to_a_refusal_in_xml(scene, ask):
    emulator, path, audio = scene
    emulator.fail(expired_redirect=True, times=1, per_call=True)
    emulator.fail(redirect="storage")
    bodies = []
    for status in (403, 200):
        answer = await ask(emulator, path)
        assert answer.status == 302
        there = urlsplit(answer.headers["location"])
        assert there.hostname == "localhost"
        stored = await ask(emulator, f"{there.path}?{there.query}", key=False)
        assert stored.status == status
        bodies.append(stored)
    assert bodies[0].headers["content-type"] == "application/xml"
    assert b"<Code>AccessDenied</Code>" in bodies[0].body
    assert bodies[1].body == audio
    assert emulator.requests.count("storage") == 2


async def test_signed_addresses_expire_and_want_no_key(ask):
    clock = VirtualClock(datetime(2026, 11, 22, 12, tzinfo=UTC))
    async with Emulator(clock=clock) as emulator:
        call = emulator.add_call(duration=1)
        emulator.fail(redirect="storage")
        there = urlsplit(
            (await ask(emulator, f"/v1/calls/{call.id}/recording")).headers["location"]
        )
        target = f"{there.path}?{there.query}"
        part = await ask(emulator, target, key=False, headers={"Range": "bytes=4-9"})
        assert (part.status, part.body) == (206, emulator.expected_audio(call.id)[4:10])
        assert (await ask(emulator, target)).status == 400
        assert (await ask(emulator, target + "0", key=False)).status == 403
        other = target.replace(call.id, "call_2")
        assert (await ask(emulator, other, key=False)).status == 403
        assert (await ask(emulator, there.path, key=False)).status == 403
        clock.advance(60)
        late = await ask(emulator, target, key=False)
        assert (late.status, b"expired" in late.body) == (403, True)


async def test_a_concurrency_limit_counts_what_is_under_way(clock, connect, ask):
    async with Emulator(clock=clock, latency=5) as emulator:
        call = emulator.add_call(duration=1)
        path = f"/v1/calls/{call.id}/recording"
        emulator.fail(route="recording", concurrency_limit=2)
        async with connect(emulator) as one, connect(emulator) as two, connect(emulator) as three:
            for client in (one, two, three):
                client.send(path)
                await clock.until_sleeping(emulator.requests.in_flight)
            other = asyncio.create_task(ask(emulator, "/v1/calls"))
            await clock.until_sleeping(4)
            clock.advance(5)
            statuses = [(await client.rest()).status for client in (one, two, three)]
            assert sorted(statuses) == [200, 200, 429]
            assert (await other).status == 200
        again = asyncio.create_task(ask(emulator, path))
        await clock.until_sleeping()
        clock.advance(5)
        assert (await again).status == 200


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("retry-after", {"retry-after": "1"}),
        ("date", {"retry-after": "Sun, 22 Nov 2026 12:00:01 GMT"}),
        ("ratelimit", {"ratelimit-limit": "2", "ratelimit-remaining": "0", "ratelimit-reset": "1"}),
        ("ratelimit-field", {"ratelimit": '"default";r=0;t=1'}),
        ("x-ratelimit", {"x-ratelimit-reset": "1795348801"}),
        ("x-ratelimit-after", {"x-ratelimit-reset": "1", "x-ratelimit-remaining": "0"}),
        ("none", {}),
    ],
)
async def test_a_rate_limit_says_when_to_come_again(clock, ask, how, expected):
    async with Emulator(clock=clock) as emulator:
        emulator.fail(route="list_calls", rate_limit=2, limit_headers=how)
        statuses = [(await ask(emulator, "/v1/calls")).status for _ in range(2)]
        assert statuses == [200, 200]
        refused = await ask(emulator, "/v1/calls")
        assert refused.status == 429
        told = {n: v for n, v in refused.headers.items() if "limit" in n or n == "retry-after"}
        assert told.items() >= expected.items()
        assert bool(told) == bool(expected)
        clock.advance(0.5)
        assert (await ask(emulator, "/v1/calls")).status == 200


@pytest.mark.parametrize("status", [202, 404, 409, 423, 425])
async def test_not_ready_in_many_words(scene, ask, status):
    emulator, path, audio = scene
    emulator.fail(not_ready_status=status, times=1, retry_after=3)
    first, second = [await ask(emulator, path) for _ in range(2)]
    assert (first.status, first.headers["retry-after"]) == (status, "3")
    assert first.json() == {"status": "processing"} if status == 202 else first.json()["error"]
    assert (second.status, second.body) == (200, audio)


async def test_recordings_to_come_may_say_so_by_themselves(clock, ask):
    async with Emulator(clock=clock, not_ready_status=425) as emulator:
        soon = emulator.add_call(recording_delay=30, duration=1)
        never = emulator.add_call(recording=False)
        statuses = [
            (await ask(emulator, f"/v1/calls/{call.id}/recording")).status for call in (soon, never)
        ]
        assert statuses == [425, 404]
        clock.advance(30)
        assert (await ask(emulator, f"/v1/calls/{soon.id}/recording")).status == 200


async def test_a_body_is_cut_after_every_so_many_bytes(scene, ask):
    emulator, path, audio = scene
    emulator.fail(cut_every=6000)
    got, etags = b"", set()
    while len(got) < len(audio):
        answer = await ask(emulator, path, headers={"Range": f"bytes={len(got)}-"})
        assert answer.status == 206
        etags.add(answer.headers["etag"])
        got += answer.body
    assert got == audio
    assert len(emulator.requests) == -(-len(audio) // 6000)
    assert len(etags) == 1


async def test_maintenance_leaves_the_lists_alone(scene, ask):
    emulator, path, _ = scene
    emulator.fail(maintenance=True, retry_after=60)
    answer = await ask(emulator, path)
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")
    assert answer.body.startswith(b"<html>")
    for target in ("/v1/calls", "/v1/calls/call_1"):
        assert (await ask(emulator, target)).status == 200


async def test_lists_refuse_offsets_beyond_a_limit(emulator, ask):
    emulator.fail(offset_limit=1000)
    for target, status in (
        ("/v1/calls?offset=1000", 200),
        ("/v1/calls?offset=1001", 400),
        ("/v1/calls?offset=" + "9" * 5000, 400),
        ("/v1/calls?offset=x", 422),
    ):
        answer = await ask(emulator, target)
        assert answer.status == status, target
    refused = await ask(emulator, "/v1/calls?offset=5000")
    assert "at most 1000" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("page", "keys"),
    [("no-total", {"data", "hasMore"}), ("no-has-more", {"data", "total"}), ("bare", {"data"})],
)
async def test_pages_may_lack_what_says_whether_more_follows(scene, ask, page, keys):
    emulator, *_ = scene
    emulator.fail(page=page)
    assert (await ask(emulator, "/v1/calls")).json().keys() == keys
    assert (await ask(emulator, "/v1/calls/call_1")).status == 200


async def test_a_page_may_be_its_rows_alone(scene, ask):
    emulator, *_ = scene
    emulator.fail(page="list")
    assert [row["id"] for row in (await ask(emulator, "/v1/calls")).json()] == ["call_1"]


async def test_numeric_ids_find_their_calls(scene, ask):
    emulator, _, audio = scene
    emulator.add_call(id="12345")
    emulator.fail(numeric_ids=True)
    ids = [row["id"] for row in (await ask(emulator, "/v1/calls")).json()["data"]]
    assert all(isinstance(identity, int) for identity in ids)
    assert 12345 in ids
    other = next(identity for identity in ids if identity != 12345)
    assert (await ask(emulator, f"/v1/calls/{other}")).json()["id"] == other
    assert (await ask(emulator, f"/v1/calls/{other}/transcript")).json()["callId"] == other
    assert (await ask(emulator, f"/v1/calls/{other}/recording")).body == audio


@pytest.mark.parametrize("told", ["true", "false", "null", "missing"])
async def test_what_is_said_of_recordings_may_be_false(scene, ask, told):
    emulator, *_ = scene
    emulator.fail(recording_available=told, call_status="ongoing")
    for call in (
        (await ask(emulator, "/v1/calls")).json()["data"][0],
        (await ask(emulator, "/v1/calls/call_1")).json(),
    ):
        assert call["status"] == "ongoing"
        assert call.get("recordingAvailable", "missing") == (
            told if told == "missing" else json.loads(told)
        )


@pytest.mark.parametrize("how", ["relative", "other-host", "token"])
async def test_a_recording_may_be_at_its_url_only(scene, ask, how):
    emulator, path, audio = scene
    emulator.fail(recording_url=how)
    link = (await ask(emulator, "/v1/calls/call_1")).json()["recordingUrl"]
    there = urlsplit(link)
    assert (there.hostname or "relative") == {
        "relative": "relative",
        "other-host": "localhost",
        "token": "127.0.0.1",
    }[how]
    assert (await ask(emulator, path, key=False)).status == 404
    stored = await ask(emulator, f"{there.path}?{there.query}", key=False)
    assert (stored.status, stored.body) == (200, audio)


async def test_an_answer_may_be_another_calls(emulator, ask):
    calls = [emulator.add_call(duration=1) for _ in range(2)]
    emulator.fail(other_call=True)
    for mine, other in (calls, calls[::-1]):
        got = (await ask(emulator, f"/v1/calls/{mine.id}")).json()
        assert got["id"] == other.id
        audio = (await ask(emulator, f"/v1/calls/{mine.id}/recording")).body
        assert audio == emulator.expected_audio(other.id)


@pytest.mark.parametrize(
    ("coding", "said", "decode"),
    [
        ("gzip", "gzip", gzip.decompress),
        ("gzip-members", "gzip", gzip.decompress),
        ("gzip-twice", "gzip, gzip", lambda body: gzip.decompress(gzip.decompress(body))),
        ("deflate", "deflate", zlib.decompress),
        ("raw-deflate", "deflate", lambda body: zlib.decompress(body, wbits=-15)),
    ],
)
async def test_codings_that_nobody_asked_for(scene, ask, coding, said, decode):
    emulator, path, audio = scene
    emulator.fail(coding=coding)
    answer = await ask(emulator, path)
    assert answer.headers["content-encoding"] == said
    assert decode(answer.body) == audio


async def test_counts_may_be_kept_for_each_call(emulator, ask):
    calls = [emulator.add_call(duration=1) for _ in range(3)]
    emulator.fail(route="recording", status=503, times=1, per_call=True)
    for _ in range(2):
        statuses = {
            (await ask(emulator, f"/v1/calls/{call.id}/recording")).status for call in calls
        }
        calls_answered = emulator.requests.count("recording", status=503)
        assert calls_answered == 3
    assert statuses == {200}


async def test_an_emulator_may_begin_with_faults(ask):
    faults = ("route=list_calls,status=503,times=1", Fault(status=500, times=1))
    async with Emulator(faults=faults) as emulator:
        statuses = [(await ask(emulator, "/v1/calls")).status for _ in range(3)]
    assert statuses == [503, 500, 200]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("route=recording,page=empty", "page is for the routes agent_calls"),
        ("route=list_calls,maintenance", "maintenance is for the routes recording"),
        ("concurrency_limit=0", "concurrency_limit must be at least 1"),
        ("rate_limit=often", "rate_limit: 'often' is not a number"),
        ("recording_url=elsewhere", "recording_url must be one of relative, other-host, token"),
    ],
)
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Emulator(faults=[text])
