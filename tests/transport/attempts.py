"""Attempts that fail in given ways."""

from __future__ import annotations

import random

from agentphone_async import (
    RetryPolicy,
)
from agentphone_async.errors import AgentPhoneError
from agentphone_async.protocol import endpoints
from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.retry import Retrier
from tests.conftest import Sleeps

GET = endpoints.get_call("call_1")


class Answered:
    size = 10


class Attempts:
    """Fails in the given ways, one after the other, then works."""

    def __init__(self, *failures: AgentPhoneError) -> None:
        self.failures = list(failures)
        self.numbers: list[int] = []

    async def __call__(self, number: int) -> Answered:
        self.numbers.append(number)
        if self.failures:
            raise self.failures.pop(0)
        return Answered()


def retrier(sleeps: Sleeps, policy: RetryPolicy | None = None, **limits: object) -> Retrier:
    host = HostLimits(limits.pop("concurrency", 4), clock=sleeps.clock, sleep=sleeps, **limits)
    host.connection_worked()  # not the first contact, whose outage would be confirmed at once
    return Retrier(
        policy or RetryPolicy(total=1000),
        host,
        clock=sleeps.clock,
        rng=random.Random(1),
    )
