from __future__ import annotations

import asyncio
import random
import traceback
from itertools import pairwise

import pytest

from agentphone_async.errors import ConnectionFailedError
from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.observer import LimitsObserver
from tests.transport.slots import slot_of
from tests.transport.virtual_time import run_virtually


class Host:
    """A host that is up or down, and remembers when somebody knocked."""

    def __init__(self, limits):
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.started = self.loop.time()
        self.up = True
        self.knocks = []
        self.failures = 0

    def now(self):
        return self.loop.time() - self.started

    async def request(self, seconds=0.01):
        """One request as the retry room makes it; True if it was answered."""
        await self.limits.acquire()
        try:
            self.knocks.append(self.now())
            await asyncio.sleep(seconds)
            if self.up:
                self.limits.connection_worked()
                return True
            self.failures += 1
            error = ConnectionFailedError("refused")
            error.call_id = "c1"
            self.limits.connection_failed(error)
            return False
        finally:
            self.limits.release()

    async def until_answered(self):
        while not await self.request():
            pass


def host_of(concurrency=8, *, answered=True, **settings):
    limits = HostLimits(
        concurrency, clock=asyncio.get_running_loop().time, rng=random.Random(7), **settings
    )
    if answered:
        limits.connection_worked()
    return Host(limits)


def test_one_failure_among_answers_is_no_outage():
    async def main():
        host = host_of()
        for _ in range(20):
            host.limits.connection_failed(ConnectionFailedError("reset"))
            host.limits.connection_failed(ConnectionFailedError("reset"))
            assert not host.limits.in_outage
            host.limits.connection_worked()

    run_virtually(main())


def test_observers_and_the_log_hear_of_pauses_and_once_of_each_outage(caplog):
    caplog.set_level("INFO", "agentphone_async.transport")

    async def main():
        limits = HostLimits(concurrency=4)
        heard = []

        class Watching(LimitsObserver):
            def paused(self, seconds, status):
                heard.append((seconds, status))

            def unreachable(self, error):
                heard.append(str(error))

        class Broken(LimitsObserver):
            def paused(self, seconds, status):
                raise ZeroDivisionError

        limits.observers += [Broken(), Watching()]
        limits.pause(2.0, learn=True, status=429)
        assert len(limits.observers) == 1
        for _ in range(5):
            limits.connection_failed(ConnectionFailedError("refused"))
        limits.connection_worked()
        limits.connection_failed(ConnectionFailedError("once"))
        assert heard == [(2.0, 429), "refused"]
        assert [record.getMessage() for record in caplog.records if not record.exc_info] == [
            "the host asks everybody to wait 2.0 s",
            "the host cannot be reached: refused",
            "the host answers again",
        ]

    run_virtually(main())


def test_in_an_outage_one_probe_at_a_time_goes_out_and_backs_off():
    async def main():
        host = host_of(8)
        host.up = False
        workers = [asyncio.create_task(host.until_answered()) for _ in range(50)]
        await asyncio.sleep(60)
        assert host.limits.in_outage
        # 8 found out together; after that only probes, each waiting longer up to 15 s.
        probes = host.knocks[8:]
        gaps = [b - a for a, b in pairwise(probes)]
        assert host.knocks[:8] == [0] * 8
        assert probes[0] == pytest.approx(0.5, rel=0.25)
        assert 5 <= len(probes) <= 10
        assert all(gap <= 15 * 1.2 + 0.02 for gap in gaps)
        assert all(later > earlier * 1.3 for earlier, later in pairwise(gaps[:5]))
        host.up = True
        await asyncio.sleep(20)
        assert all(worker.done() and worker.exception() is None for worker in workers)
        assert not host.limits.in_outage
        assert host.limits.slots.held == 0

    run_virtually(main())


def test_an_answer_to_an_older_request_ends_the_outage_at_once():
    async def main():
        host = host_of(4)
        slow = asyncio.create_task(host.request(seconds=5.3))
        await asyncio.sleep(0)
        host.up = False
        workers = [asyncio.create_task(host.until_answered()) for _ in range(10)]
        await asyncio.sleep(5.2)
        assert host.limits.in_outage
        host.up = True
        assert await slow
        answered_at = host.now()
        await asyncio.gather(*workers)
        assert host.now() - answered_at < 0.1

    run_virtually(main())


def test_a_host_that_comes_back_within_the_budget_costs_no_item_anything():
    async def main():
        host = host_of(4, outage_budget=120)
        host.up = False
        workers = [asyncio.create_task(host.until_answered()) for _ in range(200)]
        await asyncio.sleep(100)
        host.up = True
        await asyncio.gather(*workers)
        assert host.failures < 20

    run_virtually(main())


@pytest.mark.parametrize(("answered", "budget"), [(True, 120), (False, 10)])
def test_when_the_budget_is_spent_everybody_fails_at_once(answered, budget):
    async def main():
        host = host_of(4, answered=answered)
        host.up = False
        ends = []

        async def worker():
            try:
                await host.until_answered()
            except ConnectionFailedError:
                ends.append(host.now())

        await asyncio.gather(*(worker() for _ in range(100)))
        assert ends == pytest.approx([budget] * 100, abs=0.1)
        assert host.limits.outage_exhausted
        assert host.limits.slots.held == 0
        knocks = len(host.knocks)
        for _ in range(1000):
            with pytest.raises(ConnectionFailedError):
                await host.request()
        assert len(host.knocks) == knocks
        assert host.now() == pytest.approx(budget, abs=0.1)

    run_virtually(main())


def test_after_the_budget_one_probe_each_15_s_can_still_end_the_outage():
    async def main():
        host = host_of(4)
        host.up = False
        with pytest.raises(ConnectionFailedError):
            await host.until_answered()
        knocks = len(host.knocks)
        for _ in range(300):
            await asyncio.sleep(0.2)
            for outcome in await asyncio.gather(
                host.request(), host.request(), return_exceptions=True
            ):
                assert outcome is False or isinstance(outcome, ConnectionFailedError)
        assert len(host.knocks) - knocks == 4
        host.up = True
        await asyncio.sleep(15.1)
        assert await host.request()
        assert await host.request()

    run_virtually(main())


@pytest.mark.parametrize("moment", [0.2, 0.505])
def test_a_cancelled_probe_hands_over_to_another_waiter(moment):
    async def main():
        host = host_of(4, answered=False, first_contact_budget=30)
        host.up = False
        await host.request(seconds=0)
        prober = asyncio.create_task(host.request(seconds=10))
        await asyncio.sleep(0)
        others = [asyncio.create_task(host.until_answered()) for _ in range(3)]
        await asyncio.sleep(moment)
        prober.cancel()
        host.up = True
        await asyncio.sleep(2)
        assert prober.cancelled()
        assert all(other.done() for other in others)
        assert host.limits.slots.held == 0

    run_virtually(main())


def test_cancelling_one_who_waits_for_the_probe_cancels_nobody_else():
    async def main():
        host = host_of(4, answered=False)
        host.up = False
        await host.request()
        waiters = [asyncio.create_task(host.until_answered()) for _ in range(4)]
        await asyncio.sleep(0.1)
        waiters[2].cancel()
        host.up = True
        await asyncio.wait(waiters, timeout=5)
        assert [waiter.cancelled() for waiter in waiters] == [False, False, True, False]
        assert all(waiter.done() for waiter in waiters)
        assert host.limits.slots.held == 0

    run_virtually(main())


def test_a_probe_that_ends_without_a_verdict_hands_over():
    async def main():
        host = host_of(2, answered=False)
        host.up = False
        await host.request()

        async def broken():
            async with slot_of(host.limits):
                raise KeyError("a bug between acquire and the verdict")

        first = asyncio.create_task(broken())
        await asyncio.sleep(0)
        second = asyncio.create_task(host.request())
        await asyncio.sleep(0.1)
        host.up = True
        await asyncio.wait((first, second), timeout=5)
        assert isinstance(first.exception(), KeyError)
        assert second.result() is True

    run_virtually(main())


def test_everyone_gets_an_error_of_their_own():
    async def main():
        host = host_of(1, answered=False)
        host.up = False
        errors = []
        for _ in range(3):
            try:
                await host.until_answered()
            except ConnectionFailedError as error:
                errors.append(error)
        assert len({id(error) for error in errors}) == 3
        assert {error.call_id for error in errors} == {"c1"}
        lengths = {len(traceback.extract_tb(error.__traceback__)) for error in errors}
        assert max(lengths) < 10

    run_virtually(main())
