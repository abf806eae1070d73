from __future__ import annotations

import asyncio

import pytest

from agentphone_async.transport.limits import HostLimits
from tests.transport.slots import slot_of
from tests.transport.virtual_time import run_virtually


def limits_of(concurrency, **settings):
    return HostLimits(concurrency, clock=asyncio.get_running_loop().time, **settings)


async def turn():
    """Let every ready task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_never_more_than_the_limit_and_first_come_first_served():
    async def main():
        limits = limits_of(3)
        order, peak = [], 0

        async def worker(name):
            nonlocal peak
            async with slot_of(limits):
                order.append(name)
                peak = max(peak, limits.slots.held)
                await asyncio.sleep(1)

        started = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for name in range(10):
                group.create_task(worker(name))
        assert order == list(range(10))
        assert peak == 3
        assert asyncio.get_running_loop().time() - started == pytest.approx(4)
        assert (limits.slots.held, len(limits.slots.waiters)) == (0, 0)

    run_virtually(main())


def test_a_free_slot_needs_no_task_switch():
    async def main():
        limits = limits_of(1)
        step = limits.acquire()
        with pytest.raises(StopIteration):
            step.send(None)
        assert limits.slots.held == 1

    run_virtually(main())


def test_nobody_overtakes_those_who_wait():
    async def main():
        limits = limits_of(1)
        await limits.acquire()
        waiter = asyncio.create_task(limits.acquire())
        await turn()
        limits.release()
        # The slot was lent to the waiter in release itself, before it had a chance to run.
        late = asyncio.create_task(limits.acquire())
        await turn()
        assert waiter.done()
        assert not late.done()
        limits.release()
        await late

    run_virtually(main())


@pytest.mark.parametrize("moment", ["while waiting", "in the moment of the grant"])
def test_a_cancelled_waiter_never_loses_a_slot(moment):
    async def main():
        limits = limits_of(1)
        await limits.acquire()
        first = asyncio.create_task(limits.acquire())
        second = asyncio.create_task(limits.acquire())
        await turn()
        if moment == "while waiting":
            first.cancel()
            await turn()
            limits.release()
        else:
            limits.release()
            first.cancel()
        await turn()
        assert first.cancelled()
        assert second.done()
        assert limits.slots.held == 1
        limits.release()
        assert (limits.slots.held, len(limits.slots.waiters)) == (0, 0)

    run_virtually(main())


def test_a_waiter_cancelled_just_before_a_release_does_not_block_the_next():
    async def main():
        limits = limits_of(1)
        await limits.acquire()
        first = asyncio.create_task(limits.acquire())
        second = asyncio.create_task(limits.acquire())
        await turn()
        first.cancel()
        limits.release()
        await turn()
        assert second.done()
        assert limits.slots.held == 1

    run_virtually(main())


def test_a_newcomer_does_not_overtake_while_a_cancelled_waiter_stands_in_line():
    async def main():
        limits = limits_of(1)
        await limits.acquire()
        first = asyncio.create_task(limits.acquire())
        second = asyncio.create_task(limits.acquire())
        await turn()
        first.cancel()
        limits.release()
        newcomer = limits.acquire()
        assert asyncio.isfuture(newcomer.send(None))  # it waits: the slot is the second's
        newcomer.close()
        await turn()
        assert second.done()
        assert (limits.slots.held, len(limits.slots.waiters)) == (1, 0)

    run_virtually(main())


def test_growing_lets_waiters_in_at_once_and_shrinking_interrupts_nobody():
    async def main():
        limits = limits_of(1)
        tasks = [asyncio.create_task(limits.acquire()) for _ in range(4)]
        await turn()
        assert limits.slots.held == 1
        limits.slots.total = 3
        limits.slots.admit()
        await turn()
        assert limits.slots.held == 3
        limits.slots.total = 1
        limits.release()
        limits.release()
        await turn()
        assert limits.slots.held == 1
        assert not tasks[3].done()
        limits.release()
        await tasks[3]

    run_virtually(main())


def test_releasing_what_nobody_acquired_is_a_bug_and_says_so():
    async def main():
        with pytest.raises(RuntimeError, match="1 given back, but only 0 are out"):
            limits_of(1).release()

    run_virtually(main())


@pytest.mark.parametrize("concurrency", [0, -1])
def test_at_least_one_slot(concurrency):
    async def main():
        with pytest.raises(ValueError, match="greater than 0"):
            limits_of(concurrency)

    run_virtually(main())


def test_a_pause_stops_everybody_and_is_extended_but_never_shortened():
    async def main():
        loop = asyncio.get_running_loop()
        limits = limits_of(4)
        started = loop.time()
        limits.pause(10)
        limits.pause(3)
        times = []

        async def worker():
            async with slot_of(limits):
                times.append(loop.time() - started)

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(worker())
            await asyncio.sleep(9)
            assert limits.paused_for == pytest.approx(1)
            limits.pause(5)
        assert times == pytest.approx([14] * 8)
        assert limits.paused_for == 0
        step = limits.acquire()  # and the road is free again
        with pytest.raises(StopIteration):
            step.send(None)

    run_virtually(main())


def test_cancelling_during_a_pause_gives_the_slot_back():
    async def main():
        limits = limits_of(1)
        limits.pause(10)
        task = asyncio.create_task(limits.acquire())
        await turn()
        assert limits.slots.held == 1
        task.cancel()
        await turn()
        assert task.cancelled()
        assert limits.slots.held == 0

    run_virtually(main())
