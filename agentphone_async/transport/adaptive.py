"""How many requests at a time: found by trying, not guessed.

Pure: no clock, no await, no randomness; whoever owns it reports what happened and obeys `limit`.
"""

from __future__ import annotations

import math

from agentphone_async.transport.slow_start import BUSY_SHARE, START, SlowStart

MOST = 256
"""Requests at a time beyond which it never goes, unless told to."""

WORTHWHILE = 0.12
"""Going up must gain at least this share of what it would gain if nothing were in the way."""

SPARE = 0.06
"""Going down may lose at most this share of what it would lose if every slot counted."""

FASTEST, COARSE, MEDIUM, USUAL, FINE = 4.0, 2.0, 1.4, 1.15, 1.08
SHORTEST_HOLD, LONGEST_HOLD = 4.0, 32.0
LONGEST_WINDOW = 8.0
FEWEST_SAMPLES = 8
CHANGED = 0.15
CLEAR, LIKELY = 3.0, 1.0
BACK_OFF = 0.7

CORRELATION = 2.0
"""Requests that run side by side share their luck: a mean of them is this much less certain."""


class SampleWindow:
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

    def gain_over(self, other: SampleWindow) -> tuple[float, float]:
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


class AdaptiveConcurrency:
    """Climbs while goodput climbs, and comes down when it does not.

    It begins with a `SlowStart`, so that short lists gain, too. A 429 or a time-out ends that: from
    then on it measures until it is sure.

    It compares *goodput* (see `SampleWindow.gain_over`), not errors: a server that answers
    everything, ever more slowly, is found out as well as one that says 429.

    Args:
        start: requests at a time to begin with.
        maximum: never more; keep it within the connection pool.
    """

    def __init__(self, *, start: int = START, maximum: int = MOST) -> None:
        self.maximum = maximum
        self.limit = start
        self._base: SampleWindow | None = None
        self._probing = False
        self._start = SlowStart(start, maximum) if start < maximum else None
        self._upward = True
        self._ratio = COARSE
        self._hold = SHORTEST_HOLD
        self._hold_until = 0.0
        self._backed_off_at = -math.inf
        self._typical = 0.0
        self._window = SampleWindow(start, 0.0)
        self._started = False
        self._draining = False
        self._counts_from = -math.inf

    # ------------------------------------------------------------------ reports

    def completed(self, now: float, size: int, took: float, in_flight: int) -> None:
        """A request was answered in full (404 is an answer).

        Args:
            now: monotonic seconds.
            size: bytes of the body.
            took: seconds that it held its slot.
            in_flight: requests under way just now, this one included.
        """
        if not self._started:
            self._started = True
            self._window = SampleWindow(self.limit, now - took)
            self._counts_from = now - took
        self._typical += (took - self._typical) * (0.05 if self._typical else 1.0)
        window = self._window
        if self._start is not None:
            self._start.completed(took)
            return
        if in_flight > self.limit and self._draining:
            window.began = self._counts_from = now
            return
        self._draining = False
        if now - took < self._counts_from or now < window.began:
            return  # it ran at another limit, at least in part
        window.add(now, size, took, in_flight)
        if (
            window.count >= max(FEWEST_SAMPLES, self.limit // 2)
            and window.elapsed >= window.mean_took
        ):
            self._judge(now, window)

    @property
    def starting(self) -> bool:
        """True while `look` is of use."""
        return self._start is not None

    def begin(self) -> None:
        """Somebody will `look` from now on: forget what was seen, unless the start is over."""
        if self._start is not None:
            self._start = SlowStart(self.limit, self.maximum)

    def look(self, now: float, received: int, in_flight: int) -> None:
        """See `SlowStart.look`."""
        start = self._start
        if start is None:
            return
        start.look(received, in_flight)
        if start.over:
            self._start = None
            if start.limit == self.maximum:  # all of them count: for a while, none is tried without
                self._hold_until = now + self._hold
        if start.limit != self.limit or start.over:
            self._move(now, start.limit)

    def throttled(
        self,
        now: float,
        *,
        pause: float,
        in_flight: int,
        rate: float | None,
    ) -> None:
        """The host answered 429 or 503, and nobody asks it anything for ``pause`` seconds.

        Args:
            now: monotonic seconds.
            pause: as above.
            in_flight: requests that are still under way: so many are borne at least.
            rate: requests a second that are allowed from now on; None if that is not known.
        """
        self._start = None
        if now - self._backed_off_at > 2.0 + pause:
            self.limit = max(1, min(self.limit, in_flight))
            self._retreat(now)
            # Mostly it is the rate that was too high, and that is learned elsewhere.
            self._upward, self._ratio = True, USUAL
        else:  # of the same burst: what is left of it was let in
            enough = max(in_flight, 1, math.ceil((rate or 0.0) * self._typical))
            self.limit = min(self.limit, enough)
        self._restart(now + pause)

    def timed_out(self, now: float) -> None:
        """A request was given up: too slow, or silent."""
        self._start = None
        if now - self._backed_off_at > max(2.0, 2 * self._typical):
            self._retreat(now)

    # ------------------------------------------------------------------ judging

    def _full(self, window: SampleWindow) -> bool:
        return (
            window.count >= max(2 * FEWEST_SAMPLES, 2 * window.limit)
            and window.elapsed >= 2 * window.mean_took
        )

    def _judge(self, now: float, window: SampleWindow) -> None:
        base = self._base
        if not self._probing or base is None:
            self._judge_base(now, window)
            return
        gain, error = window.gain_over(base)
        step = math.log(window.limit / base.limit)
        needed = WORTHWHILE * step if step > 0 else SPARE * step
        certainty = abs(gain - needed) / max(error, 1e-9)
        if (
            certainty < (LIKELY if self._full(window) else CLEAR)
            and window.elapsed < LONGEST_WINDOW
        ):
            return  # not clear yet: go on measuring
        if gain >= needed and (step < 0 or certainty >= LIKELY):
            self._accept(now, window)
        else:
            self._reject(now, base)

    def _judge_base(self, now: float, window: SampleWindow) -> None:
        base = self._base
        if base is not None and base.limit == window.limit:
            gain, error = window.gain_over(base)
            if abs(gain) > max(CHANGED, CLEAR * error) and window.saturated:
                # The world is not what it was: look again, and soon.
                self._hold, self._hold_until = SHORTEST_HOLD, now
                self._upward = gain > 0
                self._ratio = max(MEDIUM, min(FASTEST, math.exp(-gain)))
                self._base = window
                self._probe(now)
                return
        if not self._full(window):
            return
        if not window.saturated:
            # There is not enough to do to learn anything.
            self._restart(now)
        elif now >= self._hold_until:
            self._base = window
            self._probe(now)
        elif base is None:
            self._base = window

    def _probe(self, now: float) -> None:
        """Try the next step from the base, or hold if there is none."""
        if self._base is None:
            return
        limit = self._base.limit
        if self._upward:
            target = min(self.maximum, max(limit + 1, round(limit * self._ratio)))
        else:
            target = max(1, min(limit - 1, round(limit / self._ratio)))
        if target == limit:
            self._turn(now)
            return
        self._probing = True
        self._move(now, target)

    def _accept(self, now: float, window: SampleWindow) -> None:
        self._base = window
        self._hold = max(SHORTEST_HOLD, self._hold / 2)
        self._probing = False
        self._ratio = min(COARSE, self._ratio * self._ratio)
        if self._ratio >= COARSE or self._full(window):
            self._probe(now)
        else:
            self._hold_until = now  # small steps need a sure base: first measure it in full

    def _reject(self, now: float, base: SampleWindow) -> None:
        self._probing = False
        if self._ratio > FINE * 1.05:
            self._ratio = max(FINE, math.sqrt(self._ratio))
            self._probe(now)
        else:
            self._turn(now)
        if not self._probing:
            self._move(now, base.limit)

    def _turn(self, now: float) -> None:
        """Up leads nowhere: try down; down leads nowhere: hold for a while."""
        self._upward, self._ratio = not self._upward, USUAL
        if not self._upward:
            self._probe(now)
            return
        self._hold_until = now + self._hold
        self._hold = min(LONGEST_HOLD, self._hold * 2)
        if self._base is not None:
            self._move(now, self._base.limit)

    # ------------------------------------------------------------------ moving

    def _retreat(self, now: float) -> None:
        base = self._base
        limit = min(self.limit, base.limit) if base is not None else self.limit
        self._backed_off_at = now
        self._base = None
        self._probing = False
        self._upward, self._ratio = False, MEDIUM
        self._hold = SHORTEST_HOLD
        self._move(now, max(1, int(limit * BACK_OFF)))

    def _move(self, now: float, limit: int) -> None:
        self._draining = limit < self.limit
        self.limit = limit
        self._counts_from = now
        self._restart(now)

    def _restart(self, began: float) -> None:
        self._window = SampleWindow(self.limit, began)
