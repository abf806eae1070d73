"""A stop ends every wait at once, whatever it is for, and lets what is under way go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agentphone_async import RetryPolicy
from agentphone_async.errors import ConnectionFailedError, RunStoppedError, ServerError
from agentphone_async.protocol import endpoints
from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.retry import Retrier
from tests.transport.virtual_time import run_virtually

GET = endpoints.get_call("call_1")


async def a_slot() -> tuple[HostLimits, Callable[[], Awaitable[object]]]:
    limits = HostLimits(1)
    await limits.acquire()
    return limits, limits.acquire


async def a_pause() -> tuple[HostLimits, Callable[[], Awaitable[object]]]:
    limits = HostLimits(4)
    limits.pause(3600)
    return limits, limits.acquire


async def a_rate() -> tuple[HostLimits, Callable[[], Awaitable[object]]]:
    limits = HostLimits(8, tpslimit=0.001)
    await limits.acquire()
    return limits, limits.acquire


async def an_outage() -> tuple[HostLimits, Callable[[], Awaitable[object]]]:
    limits = HostLimits(4, first_contact_budget=3600)
    limits.connection_failed(ConnectionFailedError("down"))
    return limits, limits.acquire


async def a_back_off() -> tuple[HostLimits, Callable[[], Awaitable[object]]]:
    limits = HostLimits(4)

    async def attempt(_: int) -> asyncio.StreamReader:
        raise ServerError("later", status=500, retry_after=100)

    return limits, lambda: Retrier(_policy(), limits).run(GET, attempt)  # type: ignore[type-var]


def _policy() -> RetryPolicy:
    return RetryPolicy(first_delay=100, longest_delay=100, total=10000)


REASONS = [a_slot, a_pause, a_rate, an_outage, a_back_off]


@pytest.mark.parametrize("reason", REASONS)
def test_whoever_waits_is_told_at_once(reason):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        limits, wait = await reason()
        held = limits.slots.held
        waiting = [asyncio.ensure_future(wait()) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
        closed_at = loop.time()
        limits.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert loop.time() - closed_at < 0.01
        assert [type(result) for result in results] == [RunStoppedError] * 3
        assert len({id(result) for result in results}) == 3
        assert (limits.slots.held, len(limits.slots.waiters)) == (held, 0)
        with pytest.raises(RunStoppedError):
            await limits.acquire()
        assert limits.slots.held == held

    run_virtually(main())


def test_what_is_under_way_goes_on_and_reopening_lets_others_in():
    async def main() -> None:
        limits = HostLimits(2, bwlimit=100, clock=asyncio.get_running_loop().time)
        await limits.acquire()
        limits.close()
        limits.close()
        assert limits.closed
        await limits.take_bytes(50)
        limits.completed(50, 1.0)
        limits.release()
        limits.reopen()
        assert not limits.closed
        await limits.acquire()
        limits.release()
        limits.pause(5)
        await limits.acquire()  # sleeps again, too
        assert limits.slots.held == 1

    run_virtually(main())


def test_a_slot_that_was_granted_in_the_moment_of_the_stop_is_not_lost():
    async def main() -> None:
        limits = HostLimits(1)
        await limits.acquire()
        waiter = asyncio.ensure_future(limits.acquire())
        await asyncio.sleep(0)
        limits.release()  # grants it to the waiter, who has not woken yet
        limits.close()
        results = await asyncio.gather(waiter, return_exceptions=True)
        assert isinstance(results[0], RunStoppedError)
        assert limits.slots.held == 0
        limits.reopen()
        await asyncio.wait_for(limits.acquire(), 1)

    run_virtually(main())
