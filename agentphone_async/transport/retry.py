"""Trying again, in this one layer: what, how often, how long, and who waits meanwhile.

What is transient says each error itself (`AgentPhoneError.transient`); whether the request may
be repeated says the request. Back-off is exponential with full jitter; a ``Retry-After`` is obeyed
up to a cap. A 429 or 503 pauses everybody who talks to the host, not just the one that met it.
While the host is unreachable, failures are the host's and cost the request no attempt.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import tenacity

from agentphone_async.config import RetryPolicy
from agentphone_async.errors import (
    AgentPhoneError,
    ConnectionFailedError,
    RateLimitError,
    ResponseError,
    ServerError,
    TimedOutError,
    TooManyOpenFilesError,
    TransportError,
)
from agentphone_async.protocol.endpoints import Request
from agentphone_async.transport.limits import HostLimits


class Measured(Protocol):
    """What an attempt brings: something with a size."""

    @property
    def size(self) -> int:
        """Bytes that came over the network."""


T = TypeVar("T", bound=Measured)
Attempt = Callable[[int], Awaitable[T]]
"""One try; it is given its number, from 1."""

_log = logging.getLogger("agentphone_async")


def may_repeat(error: AgentPhoneError, *, repeatable: bool) -> bool:
    """Whether the request that met this error may be sent once more.

    One that must not be sent twice is only repeated if the server certainly did not accept it:
    no connection was made, or it said 429.
    """
    if not error.transient:
        return False
    if repeatable:
        return True
    return isinstance(error, RateLimitError) or (
        isinstance(error, TransportError) and not error.sent
    )


class Retrier:
    """Runs attempts under a policy and the limits of one host.

    Args:
        policy: how often and how long.
        limits: slots, pauses and outages, shared with all others who talk to the host.
        clock: monotonic seconds.
        rng: the source of jitter.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        limits: HostLimits,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._policy = policy
        self._limits = limits
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret

    async def run(self, request: Request, attempt: Attempt[T]) -> T:
        """Try until it works, or until trying again is useless, unsafe or over the limits.

        Args:
            request: what every attempt sends; it says whether it may be sent again.
            attempt: sends it once.

        Raises:
            RunStoppedError: the limits were closed before an attempt, or between two.
            AgentPhoneError: the last attempt's error, with ``attempts`` filled in.
        """
        started = self._clock()
        try:
            return await self._once(attempt, 1)
        except AgentPhoneError as error:
            if not may_repeat(error, repeatable=request.repeatable):
                error.about(request)  # it may be another request's: an outage is shared
                raise
            failure = error
        # Only now the machinery: most requests never need it, and it costs as much as they do.
        try:
            return await self._again(attempt, failure, started, repeatable=request.repeatable)
        except AgentPhoneError as error:
            error.about(request)
            raise

    async def back_off(self, failures: int, *, at_least: float = 0.0) -> None:
        """Sleep as the policy says after so many failures in a row, 1 or more.

        For what is no single request: a stream that breaks and is opened again.

        Args:
            failures: in a row.
            at_least: seconds that the server asks for, up to the longest delay.

        Raises:
            RunStoppedError: the limits were closed before, or meanwhile.
        """
        asked = min(at_least, self._policy.longest_delay)
        await self._limits.sleep(max(asked, self._jitter(failures)))

    def _jitter(self, failures: int) -> float:
        policy = self._policy
        doublings = min(failures - 1, 32)
        ceiling = min(policy.longest_delay, policy.first_delay * 2**doublings)
        return self._rng.uniform(0.0, ceiling)

    async def _once(self, attempt: Attempt[T], number: int) -> T:
        limits = self._limits
        try:
            await limits.acquire()
        except AgentPhoneError as error:  # an outage's, which others have met
            error.attempts = number - 1
            raise
        began = self._clock()
        try:
            result = await attempt(number)
            limits.completed(result.size, self._clock() - began)
        except AgentPhoneError as error:
            error.attempts = number
            if isinstance(error, TooManyOpenFilesError):
                limits.concurrency = max(1, limits.held // 2)
            elif isinstance(error, ConnectionFailedError | TimedOutError) and not error.sent:
                limits.connection_failed(error)
            elif isinstance(error, TimedOutError):
                limits.timed_out()
            elif isinstance(error, ResponseError) and not error.transient:
                limits.completed(0, self._clock() - began)  # an answer, though not a nice one
            raise
        else:
            return result
        finally:
            limits.release()

    async def _again(
        self, attempt: Attempt[T], failure: AgentPhoneError, started: float, *, repeatable: bool
    ) -> T:
        number = 1
        spent = 1
        pending: AgentPhoneError | None = failure

        async def step() -> T:
            nonlocal number, spent, pending
            if pending is not None:
                first, pending = pending, None
                raise first
            number += 1
            try:
                return await self._once(attempt, number)
            except AgentPhoneError:
                if not self._limits.in_outage:
                    spent += 1
                raise

        def over(state: tenacity.RetryCallState) -> bool:
            if self._limits.in_outage:
                return self._limits.outage_exhausted
            late = self._clock() - started + state.upcoming_sleep > self._policy.total
            return late or spent >= self._policy.attempts

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(
                lambda error: (
                    isinstance(error, AgentPhoneError) and may_repeat(error, repeatable=repeatable)
                )
            ),
            wait=lambda state: self._wait(state, spent),
            stop=over,
            sleep=self._limits.sleep,
            reraise=True,
        )
        return await retrying(step)

    def _wait(self, state: tenacity.RetryCallState, spent: int) -> float:
        """Seconds until the next attempt; pauses everybody if the host asked for it."""
        policy = self._policy
        delay = self._jitter(spent)
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ResponseError):
            asked = error.retry_after
            if asked is not None:
                delay = max(delay, min(asked, policy.longest_retry_after))
            if isinstance(error, RateLimitError) or (
                isinstance(error, ServerError) and error.status == 503
            ):
                self._limits.throttled(delay)
        _log.debug("attempt %d failed, next in %.2f s: %s", spent, delay, type(error).__name__)
        return delay
