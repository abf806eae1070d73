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


class RateLimiter:
    """A token bucket: lets amounts through in the order in which they were asked for, at a rate.

    Only the head of the line sleeps, so that nobody overtakes, and a change of the rate changes
    everybody's wait.

    Over any 10 seconds of constant demand the amount let through is ``10 * rate`` to within
    5 %, as long as single amounts are small against that. An amount larger than a whole
    second's allowance simply waits that long.

    Args:
        rate: amount per second, greater than 0; None for no limit.
        clock: monotonic seconds.
        sleep: goes with ``clock``.
        smallest: an amount that may always go at once after an idle spell, for counting
            requests (1) where 0.05 s of allowance is less than one.
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
        self._smallest = smallest
        self._line = asyncio.Lock()
        self._rate = _checked(rate)
        self._at = clock()
        self._allowed = self._burst

    @property
    def rate(self) -> float | None:
        """Amount per second, None for no limit; assigning takes effect within a second."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        if rate != self._rate:
            self._missing()  # until now it was the other rate
            self._rate = _checked(rate)

    async def take(self, amount: float, check: Callable[[], None] | None = None) -> None:
        """Return when ``amount`` is within the rate. Cancelling in the line takes nothing.

        Args:
            amount: of requests, or bytes.
            check: called when it is this one's turn; what it raises takes nothing, either.
        """
        async with self._line:
            if check is not None:
                check()
            self._missing()
            self._allowed -= amount
            while (seconds := self._missing()) > EARLY:
                await self._sleep(min(seconds, LOOK_AGAIN))

    @property
    def _burst(self) -> float:
        return self._smallest or (self._rate or 0.0) * BURST_SECONDS

    def _missing(self) -> float:
        """Seconds until all that was taken is within the rate."""
        now = self._clock()
        before, self._at = self._at, now
        if self._rate is None:
            self._allowed = 0.0
            return 0.0
        # What nobody asked for is kept only up to the burst.
        more = self._allowed + (now - before) * self._rate
        self._allowed = min(more, max(self._burst, self._allowed))
        return -self._allowed / self._rate


def _checked(rate: float | None) -> float | None:
    if rate is not None and rate <= 0:
        raise ValueError(f"a rate must be greater than 0, not {rate}")
    return rate
