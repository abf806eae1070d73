"""Hosts that allow so much and no more, in virtual time: everything comes, with few refusals."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from agentphone_async import RetryPolicy
from agentphone_async.errors import AgentPhoneError, RateLimitError, ServerError
from agentphone_async.protocol import endpoints
from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.retry import Retrier
from tests.transport.simulation import BucketThrottle, WindowThrottle
from tests.transport.virtual_time import run_virtually


class Served:
    size = 20_000


@dataclass
class Host:
    """Answers after ``latency`` seconds, or says what ``refusal`` gives for the call's number."""

    latency: float
    refusal: Callable[[Host, int], AgentPhoneError | None]
    served: set[int] = field(default_factory=set)
    refused: list[float] = field(default_factory=list)
    failed: dict[int, AgentPhoneError] = field(default_factory=dict)
    under_way: int = 0
    served_at: float = 0.0
    seconds: float = 0.0

    async def answer(self, number: int, rng: random.Random) -> Served:
        loop = asyncio.get_running_loop()
        latency = self.latency * rng.uniform(0.8, 1.3)
        await asyncio.sleep(latency / 2)
        error = self.refusal(self, number)
        self.under_way += 1
        await asyncio.sleep(latency / 2)
        self.under_way -= 1
        if error is not None:
            self.refused.append(loop.time())
            raise error
        self.served.add(number)
        self.served_at = loop.time()
        return Served()


def run(
    host: Host,
    count: int,
    *,
    seed: int = 1,
    workers: int = 64,
    auto: bool = True,
    listed: int = 0,
) -> Host:
    """Ask for ``count`` recordings as the library does by default, and note what became of them.

    Before, so many lists are answered.
    """

    async def main() -> None:
        loop = asyncio.get_running_loop()
        rng = random.Random(seed)
        limits = HostLimits(workers, clock=loop.time, rng=rng)
        if auto:
            limits.adapt()
        retrier = Retrier(RetryPolicy(), limits, clock=loop.time, rng=rng)
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                try:
                    await retrier.run(
                        endpoints.get_recording(f"call_{number}"),
                        lambda _, number=number: host.answer(number, rng),
                    )
                except AgentPhoneError as error:
                    host.failed[number] = error

        for _ in range(listed):
            await asyncio.sleep(0.2)
            limits.completed(5_000, 0.2)
        began = loop.time()
        with limits.growing(lambda: None):
            await asyncio.gather(*[work() for _ in range(workers)])
        host.seconds, host.served_at = loop.time() - began, host.served_at - began

    run_virtually(main())
    return host


def by_rate(kind: str, rate: float, wait: Callable[[float], float | None]):
    throttle = {
        "bucket": lambda: BucketThrottle(lambda _: rate, burst=rate, at=1000.0),
        "tight": lambda: BucketThrottle(lambda _: rate, burst=3, at=1000.0),
        "window": lambda: WindowThrottle(lambda _: rate),
    }[kind]()

    def refusal(host: Host, number: int) -> AgentPhoneError | None:
        if throttle.admits(asyncio.get_running_loop().time()):
            return None
        return RateLimitError("slow down", status=429, retry_after=wait(1 / rate))

    return refusal


def by_number(most: int):
    def refusal(host: Host, number: int) -> AgentPhoneError | None:
        if host.under_way < most:
            return None
        return RateLimitError("one at a time", status=429, retry_after=1)

    return refusal


def unsaid(seconds: float) -> None:
    return None


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "wait", "latency", "within", "most"),
    [
        ("bucket", math.ceil, 0.002, 20, 12),
        ("bucket", math.ceil, 0.05, 20, 12),
        ("bucket", unsaid, 0.002, 20, 12),
        ("window", math.ceil, 0.002, 25, 12),
        ("window", unsaid, 0.02, 25, 12),
        ("tight", math.ceil, 0.02, 35, 12),
    ],
)
def test_20_requests_a_second_are_found_out_with_few_refusals(
    kind, wait, latency, within, most, seed
):
    host = run(Host(latency, by_rate(kind, 20, wait)), 300, seed=seed)
    assert (len(host.served), host.failed) == (300, {})
    assert len(host.refused) <= most
    assert host.seconds < within


@pytest.mark.parametrize(("latency", "auto", "most"), [(0.05, True, 8), (0.05, False, 16)])
def test_4_at_a_time_are_found_out_from_the_first_burst(latency, auto, most):
    host = run(Host(latency, by_number(4)), 120, workers=16, auto=auto)
    assert (len(host.served), host.failed) == (120, {})
    assert len(host.refused) <= most


@pytest.mark.parametrize(
    ("poisonous", "kind", "status", "asked"),
    [
        ({0}, ServerError, 503, 20),
        ({100}, ServerError, 503, 20),
        ({50, 51, 120}, ServerError, 503, 20),
        ({0}, RateLimitError, 429, 1),
        ({100}, RateLimitError, 429, 1),
        ({100}, RateLimitError, 429, 4),
    ],
)
def test_a_poisonous_recording_holds_up_nobody_else(poisonous, kind, status, asked):
    def refusal(host: Host, number: int) -> AgentPhoneError | None:
        return kind("x", status=status, retry_after=asked) if number in poisonous else None

    host = run(Host(0.05, refusal), 200)
    assert len(host.served) == 200 - len(poisonous)
    assert host.served_at < 10
    assert set(host.failed) == poisonous
    assert host.seconds < 90


@pytest.mark.parametrize("listed", [0, 20])
@pytest.mark.parametrize("asked", [None, 20.0])
def test_maintenance_ends_with_one_line_within_the_outage_budget(asked, listed):
    refusal = ServerError("x", status=503, retry_after=asked)
    host = run(Host(0.05, lambda *_: refusal), 1000, listed=listed)
    assert (host.served, len(host.failed)) == (set(), 1000)
    lines = {str(error) for error in host.failed.values()}
    assert len(lines) == 1
    assert "has answered 503 to every 'Get Call Recording'" in lines.pop()
    assert host.seconds < 150
    assert len(host.refused) < 100


def test_a_maintenance_that_ends_costs_no_recording():
    until = 1060.0

    def refusal(host: Host, number: int) -> AgentPhoneError | None:
        over = asyncio.get_running_loop().time() >= until
        return None if over else ServerError("x", status=503)

    host = run(Host(0.05, refusal), 200)
    assert (len(host.served), host.failed) == (200, {})
