from __future__ import annotations

import asyncio

import pytest

from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.rate import parse_bandwidth
from tests.transport.slots import slot_of
from tests.transport.virtual_time import run_virtually


def limits_of(concurrency=16, **settings):
    return HostLimits(concurrency, clock=asyncio.get_running_loop().time, **settings)


async def while_workers_run(seconds, worker, *, count=16):
    """Run ``count`` copies of an endless worker for ``seconds`` of virtual time."""
    tasks = [asyncio.create_task(worker()) for _ in range(count)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("tpslimit", [3, 50])
def test_tpslimit_is_kept_within_5_percent_over_10_s_by_all_together(tpslimit):
    async def main():
        limits = limits_of(tpslimit=tpslimit)
        sent = 0

        async def worker():
            nonlocal sent
            while True:
                async with slot_of(limits):
                    sent += 1
                    await asyncio.sleep(0.01)

        await while_workers_run(10, worker)
        assert sent == pytest.approx(10 * tpslimit, rel=0.05, abs=1)
        assert limits.slots.held == 0

    run_virtually(main())


def test_a_pause_is_not_made_up_for_with_a_burst():
    async def main():
        limits = limits_of(tpslimit=10)
        loop = asyncio.get_running_loop()
        sent = []

        async def worker():
            while True:
                async with slot_of(limits):
                    sent.append(loop.time())

        started = loop.time()
        loop.call_later(2, limits.pause, 5)
        await while_workers_run(10, worker)
        assert not [at for at in sent if 2.01 < at - started < 7]
        assert len([at for at in sent if 7 <= at - started < 8]) <= 12

    run_virtually(main())


def test_bwlimit_is_kept_within_5_percent_over_10_s_by_all_together():
    async def main():
        rate = 2**20
        limits = limits_of(bwlimit=rate)
        assert limits.limited_bytes
        taken = 0

        async def worker():
            nonlocal taken
            while True:
                await limits.take_bytes(2**14)
                taken += 2**14

        await while_workers_run(10, worker)
        assert taken == pytest.approx(10 * rate, rel=0.05)

    run_virtually(main())


def test_without_a_bwlimit_taking_bytes_needs_no_task_switch():
    async def main():
        for limits in (limits_of(), limits_of(bwlimit=parse_bandwidth("off"))):
            assert not limits.limited_bytes
            with pytest.raises(StopIteration):
                limits.take_bytes(10**12).send(None)

    run_virtually(main())


def test_a_controller_sets_the_slots():
    async def main():
        limits = limits_of(32)
        limits.adapt()
        peak = 0

        async def worker():
            nonlocal peak
            while True:
                async with slot_of(limits):
                    peak = max(peak, limits.slots.held)
                    at = asyncio.get_running_loop().time()
                    await asyncio.sleep(0.1)
                    limits.completed(1000, asyncio.get_running_loop().time() - at)

        assert (limits.concurrency, limits.max_concurrency) == (8, 32)
        with limits.growing(lambda: None):
            await while_workers_run(20, worker, count=40)
        assert limits.concurrency == peak == 32

    run_virtually(main())


def test_throttling_pauses_everybody_and_is_learned_from():
    async def main():
        loop = asyncio.get_running_loop()
        limits = limits_of(256)
        limits.adapt()
        refused = served = 0
        window: tuple[int, int] = (-1, 0)

        async def worker():
            nonlocal refused, served, window
            while True:
                async with slot_of(limits):
                    sent = loop.time()
                    second = int(sent)
                    window = (second, window[1] + 1 if window[0] == second else 1)
                    ok = window[1] <= 20
                    await asyncio.sleep(0.05)
                    if ok:
                        served += 1
                        limits.completed(1000, 0.05)
                    else:
                        refused += 1
                        limits.pause(1.0, learn=True, sent=sent)
                        assert limits.paused_for == pytest.approx(1.0)

        await while_workers_run(60, worker, count=64)
        assert limits._requests.rate is not None
        refused = served = 0
        await while_workers_run(60, worker, count=64)
        assert served > 0.9 * 60 * 20
        assert refused < 0.01 * served

    run_virtually(main())


def test_tpslimit_stays_the_upper_bound_of_what_is_learned():
    async def main():
        limits = limits_of(tpslimit=5)
        for _ in range(100):
            limits.completed(0, 0.1)
        await asyncio.sleep(1)
        limits.pause(0.0, learn=True)
        assert limits._requests.rate == 5

    run_virtually(main())


def test_cancelling_in_the_line_takes_nothing_and_keeps_the_order():
    async def main():
        loop = asyncio.get_running_loop()
        limits = limits_of(tpslimit=1)
        await limits.acquire()
        tasks = [asyncio.create_task(limits.acquire()) for _ in range(3)]
        await asyncio.sleep(0.5)
        started = loop.time()
        tasks[1].cancel()
        await tasks[2]
        assert tasks[0].done()
        assert loop.time() - started == pytest.approx(1.5, abs=0.01)
        assert limits.slots.held == 3

    run_virtually(main())
