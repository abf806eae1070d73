"""Speeds and limits, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from agentphone_async.emulator import Emulator
from agentphone_async.emulator.clock import Pacer, RateLimiter, piece_size


async def drive(clock, work, step=0.01):
    """Move the clock whenever everybody sleeps, until the work is done; how long that took."""
    begun = clock.monotonic()
    task = asyncio.ensure_future(work)
    while not task.done():
        asleep = asyncio.ensure_future(clock.until_sleeping())
        await asyncio.wait((task, asleep), return_when=asyncio.FIRST_COMPLETED)
        asleep.cancel()
        if not task.done():
            clock.advance(step)
    return await task, clock.monotonic() - begun


def test_a_bucket_admits_its_rate_and_tells_when_to_come_back():
    bucket = RateLimiter()
    assert [bucket.admit(0.0, 2.0) for _ in range(3)] == [0, 0, 0.5]
    assert bucket.admit(0.25, 2.0) == 0.25
    assert bucket.admit(0.5, 2.0) == 0
    assert [bucket.admit(100.0, 2.0) for _ in range(3)] == [0, 0, 0.5]
    slow = RateLimiter()
    assert [slow.admit(0.0, 0.1) for _ in range(2)] == [0, 10]


def test_a_pacer_spreads_bytes_evenly():
    pacer = Pacer()
    assert pacer.reserve(0.0, 100, 1000) == pytest.approx(0.1)
    assert pacer.reserve(0.0, 100, 1000) == pytest.approx(0.2)
    assert pacer.reserve(5.0, 100, 1000) == pytest.approx(0.1)


def test_pieces_are_small_when_speed_is_limited():
    assert [piece_size(rate) for rate in (None, 1, 2000, 1e9)] == [262144, 1, 100, 65536]


async def test_a_rate_limit_answers_429_and_says_when(clock, ask):
    async with Emulator(clock=clock, rate_limit=2) as emulator:
        statuses = [(await ask(emulator, "/v1/calls")).status for _ in range(4)]
        assert statuses == [200, 200, 429, 429]
        refused = await ask(emulator, "/v1/calls")
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        clock.advance(1)
        assert (await ask(emulator, "/v1/calls")).status == 200
        emulator.settings.rate_limit = None
        assert (await ask(emulator, "/v1/calls")).status == 200
        assert emulator.requests.count(status=429) == 3


async def test_latency_comes_before_every_answer(clock, ask):
    async with Emulator(clock=clock, latency=0.08) as emulator:
        answer, took = await drive(clock, ask(emulator, "/v1/calls"))
        assert (answer.status, took) == (200, pytest.approx(0.08))


async def test_bandwidth_is_kept_for_each_connection(clock, ask):
    async with Emulator(clock=clock, bandwidth=16_000) as emulator:
        call = emulator.add_call(duration=2)
        path = f"/v1/calls/{call.id}/recording"
        answers, took = await drive(clock, asyncio.gather(*(ask(emulator, path) for _ in range(3))))
        assert {answer.body for answer in answers} == {emulator.expected_audio(call.id)}
        assert 1.95 <= took < 3.0


async def test_total_bandwidth_is_shared(clock, ask):
    async with Emulator(clock=clock, total_bandwidth=16_000) as emulator:
        call = emulator.add_call(duration=1)
        path = f"/v1/calls/{call.id}/recording"
        answers, took = await drive(clock, asyncio.gather(*(ask(emulator, path) for _ in range(3))))
        assert {len(answer.body) for answer in answers} == {16_044}
        assert 2.95 <= took < 4.0


async def test_a_drip_is_one_byte_a_second(clock, connect):
    async with Emulator(clock=clock) as emulator, connect(emulator) as client:
        call = emulator.add_call(duration=1)
        emulator.fail(route="recording", bandwidth=1)
        client.send(f"/v1/calls/{call.id}/recording")
        await client.head()
        for expected in b"RIFF":
            assert await client.reader.readexactly(1) == bytes([expected])
            await clock.until_sleeping()
            clock.advance(1)


async def test_beyond_capacity_comes_503(clock, connect, ask):
    async with Emulator(clock=clock, capacity=2, latency=1) as emulator, AsyncExitStack() as stack:
        for count in (1, 2):
            client = await stack.enter_async_context(connect(emulator))
            client.send("/v1/calls")
            await clock.until_sleeping(count)
        refused, _ = await drive(clock, ask(emulator, "/v1/calls"))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert emulator.requests.peak_in_flight == 3


async def test_an_overloaded_server_can_slow_down_instead(clock, ask):
    async with Emulator(clock=clock, capacity=2, overload="slow", latency=1) as emulator:
        few = asyncio.gather(*(ask(emulator, "/v1/calls") for _ in range(2)))
        _, usual = await drive(clock, few, step=0.1)
        many = asyncio.gather(*(ask(emulator, "/v1/calls") for _ in range(8)))
        answers, slow = await drive(clock, many, step=0.1)
        assert {answer.status for answer in answers} == {200}
        assert 1.0 <= usual < 2.0
        assert 4.0 <= slow < 6.0
