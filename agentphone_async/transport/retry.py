"""Trying again, in this one layer: what, how often, how long, and who waits meanwhile.

What is transient says each error itself (`AgentPhoneError.transient`); whether the request may
be repeated says the request. Three kinds of failure are told apart:

* The host's: it cannot be reached, or it says 429 or 503. Everybody waits together, for exactly
  as long as it asks, and no request is charged with an attempt. (If it does not say how long, and
  serves nobody meanwhile, they are.)
* The request's own, such as a reset, a 500, or a 503 while nearly all others are served: it waits
  alone, with exponential back-off and full jitter, or as long as it is asked to.
* Progress: an attempt that brought bytes which are kept. Attempts and patience begin again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

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
from agentphone_async.protocol.display import hint
from agentphone_async.protocol.endpoints import Request
from agentphone_async.transport.circuit import Refusals, copy_of
from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.observer import Retry


class Measured(Protocol):
    """What an attempt brings: something with a size."""

    @property
    def size(self) -> int:
        """Bytes that came over the network."""


T = TypeVar("T", bound=Measured)
Attempt = Callable[[int], Awaitable[T]]
"""One try; it is given its number, from 1."""

HOSTS = 3
"""This many 503s in a row, without any answer between them, are the host's."""

SERVED = 20
"""This many others that were answered, and few refused, since the first 429 to one request: these
are its own."""

FIRST_LOOK = 1.0
"""Seconds that everybody waits meanwhile; who was refused waits as asked."""

_log = logging.getLogger("agentphone_async.transport")


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
        refusals = self._limits.refusals[request.name]
        try:
            return await self._once(attempt, 1, refusals)
        except AgentPhoneError as error:
            hopeless = refusals.error is not None and error.attempts == 0
            if hopeless or not may_repeat(error, repeatable=request.repeatable):
                error.about(request)  # it may be another request's: an outage is shared
                raise
            failure = error
        # Only now the machinery: most requests never need it, and it costs as much as they do.
        tries = _Tries(request.name, refusals)
        tries.pending = failure
        self._judge(tries, failure)
        try:
            return await self._again(request, attempt, tries)
        except AgentPhoneError as error:
            error.about(request)
            if refusals.error is None or not isinstance(error, RateLimitError | ServerError):
                raise
            why = copy_of(refusals.error).about(request)  # all answers, not the last one
            why.attempts = error.attempts
            raise why from error

    async def back_off(self, failures: int, *, at_least: float = 0.0) -> None:
        """Sleep as the policy says after ``failures`` failures in a row, 1 or more.

        For what is not a single request: a stream that breaks and is opened again.

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

    async def _once(self, attempt: Attempt[T], number: int, refusals: Refusals) -> T:
        limits = self._limits
        try:
            probe = refusals.error is not None and refusals.admit(self._clock())
            await limits.acquire(None if probe else refusals.check)
        except AgentPhoneError as error:  # an outage's, which others have met, or a stop's
            error.attempts, error.elapsed = number - 1, 0.0
            raise
        began = self._clock()
        try:
            result = await attempt(number)
        except AgentPhoneError as error:
            error.attempts, error.elapsed = number, self._clock() - began
            if isinstance(error, TooManyOpenFilesError):
                limits.short_of_descriptors()
            elif isinstance(error, ConnectionFailedError | TimedOutError) and not error.sent:
                limits.connection_failed(error)
            elif isinstance(error, TimedOutError):
                limits.timed_out()
            elif isinstance(error, ResponseError) and not error.transient:
                limits.completed(0, error.elapsed)  # an answer, though not a nice one
                refusals.answered()
            raise
        else:
            limits.completed(result.size, self._clock() - began)
            refusals.answered()
            return result
        finally:
            limits.release()

    async def _again(self, request: Request, attempt: Attempt[T], tries: _Tries) -> T:
        import tenacity  # noqa: PLC0415 - takes as long as 40 requests; most runs never try again

        async def step() -> T:
            if tries.pending is not None:
                first, tries.pending = tries.pending, None
                raise first
            tries.number += 1
            try:
                return await self._once(attempt, tries.number, tries.refusals)
            except AgentPhoneError as error:
                self._judge(tries, error)
                raise

        def tell(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, AgentPhoneError):
                self._tell(request, tries, error)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(
                lambda error: (
                    isinstance(error, AgentPhoneError)
                    and may_repeat(error, repeatable=request.repeatable)
                )
            ),
            wait=lambda _: tries.delay,
            stop=lambda _: self._is_over(tries),
            before_sleep=tell,
            sleep=self._limits.sleep,
            reraise=True,
        )
        return await retrying(step)

    def _judge(self, tries: _Tries, error: AgentPhoneError) -> None:
        """Whose failure it is, and how long to wait before the next attempt."""
        policy = self._policy
        if error.kept:
            tries.failures = 0
        if error.brought:
            tries.spent = 0.0
        if isinstance(error, RateLimitError | ServerError) and self._is_the_hosts(tries, error):
            return
        if self._limits.in_outage:
            tries.delay = self._jitter(max(1, tries.failures))
            return
        if not isinstance(error, TooManyOpenFilesError):
            tries.failures += 1
        delay = self._jitter(max(1, tries.failures))
        asked = self._asked(error) or 0.0
        # A wait that is longer than the whole patience is worth it, since the server names it.
        tries.spent += delay if asked >= policy.total else max(delay, asked)
        tries.spent += 0.0 if error.brought else error.elapsed
        tries.delay = max(delay, asked)

    def _asked(self, error: AgentPhoneError) -> float | None:
        """Seconds that the server asks to wait, within the longest wait; None if it does not."""
        asked = error.retry_after if isinstance(error, ResponseError) else None
        return None if asked is None else min(asked, self._policy.longest_wait)

    def _is_the_hosts(self, tries: _Tries, error: RateLimitError | ServerError) -> bool:
        """Whether the host refuses everybody, who then wait together, and this is not a failure."""
        limits, refusals, policy = self._limits, tries.refusals, self._policy
        now = self._clock()
        sent = now - error.elapsed
        asked = self._asked(error)
        before = tries.refused
        news = refusals.refused(now, sent, asked, error, tries.what)
        tries.delay = 0.0
        tries.refused_itself += 1
        others = refusals.refusals - tries.refused_itself
        rate = isinstance(error, RateLimitError)
        if before is None:
            tries.refused = (refusals.answers, others)
        if not rate and error.status != 503:
            return False
        if refusals.error is not None:
            return True  # everybody fails at once: there is nobody to pause
        answered, refused = 0, 0
        if before is not None:
            answered, refused = refusals.answers - before[0], others - before[1]
            if answered > 4 * refused and (answered >= SERVED or not rate):
                tries.spent += asked or 0.0  # it gets half the patience
                return False  # nearly all others are served: it is this one's own
        if not asked and not answered and not refused:
            tries.failures += 1  # it does not say when, and who knows of anybody else?
        unasked = policy.first_delay * 2 ** min(refusals.rounds - 1, 32)
        if asked is None:
            pause = min(policy.longest_delay, unasked) if news else 0.0
        else:
            pause = max(asked, min(1.0, unasked)) if asked < 1 else asked
        if not rate and refusals.in_a_row < HOSTS:
            tries.failures = max(1, tries.failures)
            tries.delay, pause = pause, min(pause, FIRST_LOOK)
        limits.pause(pause, learn=rate or not tries.delay, status=error.status, sent=sent)
        return True

    def _is_over(self, tries: _Tries) -> bool:
        policy, limits = self._policy, self._limits
        if tries.refusals.error is not None:
            return True
        if limits.in_outage:
            return limits.outage_exhausted
        if policy.attempts == 1:
            return True
        return tries.failures >= policy.attempts or tries.spent > policy.total

    def _tell(self, request: Request, tries: _Tries, error: AgentPhoneError) -> None:
        call = hint(request.call_id) if request.call_id else ""
        _log.info(
            "%s %s failed (%s), attempt %d; next in %.1f s",
            request.name,
            call,
            error.status or type(error).__name__,
            tries.number,
            tries.delay,
            extra={
                "status": error.status,
                "attempt": tries.number,
                "call": call,
                "seconds": tries.delay,
            },
        )
        retry = Retry(request.name, request.call_id, error.status, error, tries.number, tries.delay)
        self._limits.observers.tell(lambda observer: observer.retrying(retry))


class _Tries:
    """What one request has met so far.

    Attributes:
        what: the endpoint's name.
        refusals: what the host says to all requests of this kind.
        number: how many times it was sent.
        failures: how many of these were its own failures, since it last made progress.
        spent: seconds of patience that these have cost.
        delay: seconds until it is sent again.
        refused_itself: how many of these were answered with 429 or 5xx.
        refused: answers to others, and refusals of others, when it was refused: first; None if
            it was not.
        pending: the first failure, until the loop has seen it.
    """

    def __init__(self, what: str, refusals: Refusals) -> None:
        self.what = what
        self.refusals = refusals
        self.number = 1
        self.failures = self.refused_itself = 0
        self.spent = self.delay = 0.0
        self.refused: tuple[int, int] | None = None
        self.pending: AgentPhoneError | None = None
