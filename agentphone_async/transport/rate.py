"""At a rate, one after the other: requests a second, bytes a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agentphone_async.errors import ConfigurationError
from agentphone_async.quantities import QuantityError, parse_size

BURST_SECONDS = 0.05
"""How much of a second's allowance may go at once after an idle spell."""

EARLY = 0.0005
"""Seconds that a timer may fire early (event loops count in milliseconds): not worth a sleep."""

LOOK_AGAIN = 1.0
"""Seconds after which the head of the line looks whether the rate has changed meanwhile."""


def parse_bandwidth(text: str) -> float | None:
    """Bytes per second of ``8M``, ``512k``, ``10MB``, ``100``; None for ``off`` and ``0``.

    Written as every size is; see `agentphone_async.quantities`.

    Raises:
        ConfigurationError: it is not a bandwidth; the message is one line.
    """
    if text.strip().lower() == "off":
        return None
    try:
        return parse_size(text) or None
    except QuantityError as error:
        raise ConfigurationError(f"bandwidth limit {error}, or off") from error


class TokenBucket:
    """A queue of reservations that a steady rate works off.

    Every amount that is reserved takes its place behind all that came before, so that waiters
    are served in the order in which they asked, and none has to be woken to let another in.
    The places are counted in amounts, not in seconds: when the rate changes, everyone's
    remaining wait changes with it.

    Over any 10 seconds of constant demand the amount let through is ``10 * rate`` to within
    5 %, as long as single amounts are small against that. An amount larger than a whole
    second's allowance simply waits that long.

    Args:
        rate: amount per second, greater than 0; None for no limit.
        now: seconds on any monotonic scale; the same scale is used in every call.
        smallest: an amount that may always go at once after an idle spell, for counting
            requests (1) where 0.05 s of allowance is less than one.
    """

    __slots__ = ("_at", "_burst", "_level", "_queued", "_smallest", "rate")

    def __init__(self, rate: float | None, now: float, *, smallest: float = 0.0) -> None:
        self._smallest = smallest
        self._at = now
        self._queued = 0.0
        self.rate: float | None = None
        self._burst = 0.0
        self._level = 0.0
        self.set_rate(rate, now)
        self._level = self._burst

    def set_rate(self, rate: float | None, now: float) -> None:
        """Continue at another rate (amount per second, None for no limit) from ``now`` on."""
        if rate is not None and rate <= 0:
            raise ValueError(f"a rate must be greater than 0, not {rate}")
        if self.rate is not None:
            self._advance(now)
        elif rate is not None:
            self._at, self._level = now, self._queued
        self.rate = rate
        self._burst = self._smallest or (rate or 0.0) * BURST_SECONDS

    def reserve(self, now: float, amount: float) -> float:
        """Take a place for ``amount`` behind everyone else; `remaining` tells how long it is."""
        if self.rate is not None:
            self._advance(now)
        self._queued += amount
        return self._queued

    def remaining(self, now: float, place: float) -> float:
        """Seconds until ``place`` (from `reserve`) is reached at today's rate; 0.0 if it is."""
        if self.rate is None:
            return 0.0
        self._advance(now)
        missing = place - self._level
        return missing / self.rate if missing > 0 else 0.0

    def _advance(self, now: float) -> None:
        if self.rate is None or now <= self._at:
            return
        # What nobody asked for is kept only up to the burst.
        self._level = min(
            self._level + (now - self._at) * self.rate,
            max(self._queued + self._burst, self._level),
        )
        self._at = now


class RateLimiter:
    """Lets amounts through in the order in which they were asked for, at a rate.

    Only the head of the line sleeps, so that a change of rate concerns everyone behind it and
    nobody overtakes.

    Args:
        rate: amount per second; None for no limit.
        clock: monotonic seconds.
        sleep: goes with ``clock``.
        smallest: see `TokenBucket`.
    """

    def __init__(
        self,
        rate: float | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        *,
        smallest: float = 0.0,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._bucket = TokenBucket(rate, clock(), smallest=smallest)
        self._line = asyncio.Lock()

    @property
    def rate(self) -> float | None:
        """Amount per second, None for no limit; assigning takes effect within a second."""
        return self._bucket.rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        if rate != self._bucket.rate:
            self._bucket.set_rate(rate, self._clock())

    async def take(self, amount: float, check: Callable[[], None] | None = None) -> None:
        """Return when ``amount`` is within the rate. Cancelling in the line takes nothing.

        Args:
            amount: of requests, or bytes.
            check: called when it is this one's turn; what it raises takes nothing, either.
        """
        async with self._line:
            if check is not None:
                check()
            place = self._bucket.reserve(self._clock(), amount)
            while (delay := self._bucket.remaining(self._clock(), place)) > EARLY:
                await self._sleep(min(delay, LOOK_AGAIN))
