"""What was seen in a stretch of time at one concurrency, and how two such stretches compare."""

from __future__ import annotations

import math

BUSY_SHARE = 0.85
"""Slots count as all used when the requests of a stretch fill this much of slots x time."""

CORRELATION = 2.0
"""Requests that run side by side share their luck: a mean of them is this much less certain."""


class Epoch:
    """Sums over the requests that ended between ``began`` and now, at ``limit`` slots.

    Only sums are kept: adding a sample costs the same after a million of them.
    """

    __slots__ = ("_b", "_bb", "_bt", "_t", "_tt", "_used", "began", "count", "ended", "limit")

    def __init__(self, limit: int, began: float) -> None:
        self.limit = limit
        self.began = began
        self.ended = began
        self.count = 0
        self._b = self._bb = self._bt = self._t = self._tt = 0.0
        self._used = 0

    def add(self, now: float, size: float, took: float, in_flight: int) -> None:
        """One answered request: bytes, seconds it took, requests under way as it ended."""
        self.ended = now
        self.count += 1
        self._b += size
        self._bb += size * size
        self._bt += size * took
        self._t += took
        self._tt += took * took
        self._used += in_flight

    @property
    def elapsed(self) -> float:
        """Seconds from the beginning to the last sample."""
        return self.ended - self.began

    @property
    def mean_took(self) -> float:
        """Mean seconds of a request; 0.0 without samples."""
        return self._t / self.count if self.count else 0.0

    @property
    def in_use(self) -> float:
        """Requests that were under way at a time, on average."""
        return self._used / self.count if self.count else 0.0

    @property
    def saturated(self) -> bool:
        """True if the slots, and not the demand, were what limited the requests."""
        return self.in_use >= BUSY_SHARE * self.limit

    def gain_over(self, other: Epoch) -> tuple[float, float]:
        """Log of the ratio of goodputs, this one to ``other``, and its standard error.

        Recordings differ in size by far more than goodputs do. So the two are compared for the
        same mean size: a line through (bytes, seconds) says what a request of that size would
        have taken in each. That measures requests/s for answers without a body and bytes/s for
        large bodies, without having to know which of them matters. Requests under way divided by
        the time of one is requests per time (Little's law), without the noise of counting them.
        """
        size = (self._b + other._b) / (self.count + other.count)
        took, error = self._took_at(size)
        other_took, other_error = other._took_at(size)
        gain = math.log(self.in_use / took) - math.log(other.in_use / other_took)
        return gain, CORRELATION * math.hypot(error / took, other_error / other_took)

    def _took_at(self, size: float) -> tuple[float, float]:
        n = self.count
        mean_size, mean_took = self._b / n, self._t / n
        spread = self._bb / n - mean_size**2
        together = self._bt / n - mean_size * mean_took
        slope = max(0.0, together / spread) if spread > 1e-9 * self._bb / n else 0.0
        rest = max(0.0, self._tt / n - mean_took**2 - slope * together)
        took = mean_took + slope * (size - mean_size)
        return max(took, 0.05 * mean_took, 1e-9), math.sqrt(rest / n)
