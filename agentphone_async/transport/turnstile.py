"""One after the other at a rate: requests a second, bytes a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from agentphone_async.transport.rates import TokenBucket
from agentphone_async.transport.timetable import Timetable

EARLY = 0.0005
"""Seconds that a timer may fire early (event loops count in milliseconds): not worth a sleep."""

LOOK_AGAIN = 1.0
"""Seconds after which the head of the line looks whether the rate has changed meanwhile."""


def local_now() -> datetime:
    """The wall clock in the local zone."""
    return datetime.now(UTC).astimezone()


class Turnstile:
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

    async def passed(self, amount: float) -> None:
        """Return when ``amount`` is within the rate. Cancelling in the line takes nothing."""
        async with self._line:
            place = self._bucket.reserve(self._clock(), amount)
            while True:
                self._look()
                delay = self._bucket.remaining(self._clock(), place)
                if delay <= EARLY:
                    return
                await self._sleep(min(delay, LOOK_AGAIN))

    def _look(self) -> None:
        """A chance to set another rate."""


class ScheduledTurnstile(Turnstile):
    """A turnstile whose rate follows a timetable of the wall clock.

    Args:
        timetable: amount per second by time of the week.
        clock: monotonic seconds.
        sleep: goes with ``clock``.
        wall_clock: local date and time.
    """

    def __init__(
        self,
        timetable: Timetable,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]],
        wall_clock: Callable[[], datetime] = local_now,
    ) -> None:
        super().__init__(timetable.rate_at(wall_clock()), clock, sleep)
        self._timetable = timetable
        self._wall_clock = wall_clock
        self._looked_at = clock()

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at >= LOOK_AGAIN:
            self._looked_at = now
            self.rate = self._timetable.rate_at(self._wall_clock())
