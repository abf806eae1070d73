"""Time as the emulator sees it, and how long somebody has to wait by its speed limits."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the emulator asks of time; every duration is in seconds."""

    def now(self) -> datetime:
        """The wall clock, as an aware datetime."""
        ...

    def monotonic(self) -> float:
        """A reading that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds``; forever when they are infinite."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The machine's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep for real; forever when the seconds are infinite."""
        if math.isinf(seconds):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that stands still until ``advance`` moves it.

    Sleepers whose time has come are woken in order. ``advance`` must be called on the
    event loop on which they sleep (``EmulatorThread.advance`` does that for other threads).

    Args:
        start: The first reading; an aware datetime.
    """

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._elapsed = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._watchers: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The start, moved by everything that was advanced since."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """The seconds advanced so far."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced by ``seconds``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (round(self._elapsed + seconds, 6), next(self._order), woken)
        heapq.heappush(self._sleepers, entry)
        self._tell_watchers()
        try:
            await woken
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)
                heapq.heapify(self._sleepers)

    @property
    def sleeping(self) -> int:
        """How many are asleep right now."""
        return len(self._sleepers)

    async def until_sleeping(self, count: int = 1) -> None:
        """Return as soon as at least ``count`` are asleep: a test's way to wait without time."""
        if self.sleeping < count:
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append((count, reached))
            await reached

    def advance(self, seconds: float) -> None:
        """Move the clock forward and wake all whose time has come."""
        # Microseconds, as datetimes have them: sums of tenths must arrive where they aim.
        self._elapsed = round(self._elapsed + seconds, 6)
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)

    def _tell_watchers(self) -> None:
        waiting = []
        for count, reached in self._watchers:
            if reached.done():
                continue
            if self.sleeping >= count:
                reached.set_result(None)
            else:
                waiting.append((count, reached))
        self._watchers = waiting


class Pacer:
    """Spreads bytes over time, for one connection or for all of them together."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def reserve(self, now: float, amount: int, rate: float) -> float:
        """Seconds to wait after sending ``amount`` bytes, so that ``rate`` a second holds."""
        self._free_at = max(now, self._free_at) + amount / rate
        return self._free_at - now


class RateLimiter:
    """A bucket that fills with one second's worth of requests."""

    def __init__(self) -> None:
        self._level: float | None = None
        self._seen_at = 0.0

    def admit(self, now: float, rate: float) -> float:
        """0 when a request may pass, else the seconds after which one may."""
        size = max(1.0, rate)
        level = size if self._level is None else self._level + (now - self._seen_at) * rate
        self._seen_at = now
        self._level = min(size, level)
        if self._level >= 1.0:
            self._level -= 1.0
            return 0.0
        return (1.0 - self._level) / rate


def piece_size(rate: float | None) -> int:
    """How many bytes to send at once: twenty pieces a second when the speed is limited."""
    if rate is None:
        return 256 * 1024
    return max(1, min(64 * 1024, int(rate / 20)))
