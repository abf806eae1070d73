"""How many requests a second a host bears, learned from its 429s.

Pure: no clock, no await. A limit on requests per second cannot be met by limiting concurrency:
the same few slots send more requests as the answers get faster. So the rate itself is learned.
"""

from __future__ import annotations

import math

MARGIN, WIDE_MARGIN = 0.98, 0.95
"""The pace after a throttle, as a share of the pace that was too fast: known well, or not yet."""

STEP = 0.02
"""How much faster to go after a quiet interval: first below, then past what was too fast."""

LARGEST_STEP = 0.32
FIRST_INTERVAL = 2.0
SETTLED_INTERVAL, LONGEST_INTERVAL = 5.0, 20.0
SHORT_PAUSE = 2.0
FEWEST_ANSWERS = 4
USED = 0.8


class AdaptivePace:
    """``rate`` is None until the host throttles, then requests per second just below its limit.

    What was answered between two throttles, divided by the time between them, is the host's own
    rate, whether it counts in buckets or in windows. The pace goes there, a little below; after
    a quiet interval (5 s, growing to 20 s as the limit proves constant) it tries 2 % more. Once
    it is past the pace that was too fast before, the limit has moved: then it speeds up quickly.

    Args:
        slowest: requests per second that are never undercut.
    """

    def __init__(self, *, slowest: float = 0.2) -> None:
        self.rate: float | None = None
        self._slowest = slowest
        self._borne = 0.0
        self._burst_seconds = 0.0
        self._ceiling = math.inf
        self._incident_at: float | None = None
        self._throttled_at = -math.inf
        self._quiet_from = 0.0
        self._answered = 0
        self._interval = FIRST_INTERVAL
        self._interval_from = 0.0
        self._interval_answered = 0
        self._step = STEP

    def answered(self, now: float) -> None:
        """The host answered a request, and not with 429 or 503."""
        if self._incident_at is None:
            self._incident_at = self._quiet_from = now
        self._answered += 1
        if self.rate is None:
            return
        if self._burst_seconds and now < self._quiet_from:
            self._set(max(self.rate, WIDE_MARGIN * self._answered / self._burst_seconds))
            return
        self._interval_answered += 1
        if now - self._interval_from >= self._interval:
            self._end_interval(now, self.rate)

    def throttled(self, now: float, *, pause: float = 0.0, sent: float | None = None) -> None:
        """The host answered 429 or 503, and nobody asks it anything for ``pause`` seconds.

        Args:
            now: monotonic seconds.
            pause: as above.
            sent: when the refused request was sent. What was under way when the host refused
                before says nothing more.
        """
        if sent is not None and sent < self._throttled_at:
            return
        self._throttled_at = now
        self._slow_down(now, pause)
        self._quiet_from = self._interval_from = now + pause
        if self.rate is not None:  # else there were too few answers to tell: keep counting
            self._incident_at = now
            self._interval_answered = 0
            if not self._burst_seconds:
                self._answered = 0

    def _slow_down(self, now: float, pause: float) -> None:
        too_fast = self.rate
        since = now if self._incident_at is None else self._incident_at
        if self._answered < FEWEST_ANSWERS or now <= self._quiet_from:
            if too_fast is not None and self._answered:  # else it was not the rate
                self._set(too_fast / 2)
            return
        # During the pause the host may have saved up allowance, or not: the rate lies between.
        if too_fast is None and 0 < pause <= SHORT_PAUSE:
            # A window of about this length, or of a second, is used up by what it has let in. Some
            # of that is still on its way: it counts when it comes.
            self._burst_seconds = now - since + max(pause, 1.0)
            self._set(self._answered / self._burst_seconds)
            return
        self._burst_seconds = 0.0
        without_pause = self._answered / (now - self._quiet_from)
        with_pause = self._answered / (now - since)
        seen = (without_pause + with_pause) / 2
        if too_fast is None:
            self._set(seen)
            return
        again = abs(too_fast / self._ceiling - 1) < 2 * STEP and seen > 0.9 * too_fast
        self._ceiling = too_fast
        self._interval = min(LONGEST_INTERVAL, self._interval * 2) if again else SETTLED_INTERVAL
        self._step = STEP
        # Both are below the limit, unless a burst was lent: then the second is refuted soon.
        safe = max(seen, self._borne if self._borne < too_fast else 0.0)
        self._borne = 0.0
        if again:
            self._set(too_fast * MARGIN)
        else:
            middle = safe if safe > 0.9 * too_fast else (safe + too_fast) / 2
            self._set(min(too_fast * WIDE_MARGIN, middle))

    def _end_interval(self, now: float, rate: float) -> None:
        used = self._interval_answered >= USED * rate * (now - self._interval_from)
        self._interval_from, self._interval_answered = now, 0
        if not used:
            return  # nobody wanted to go that fast: nothing was learned
        self._borne = rate
        far = (self._ceiling / rate - 1) / 4 if self._ceiling < math.inf else 0.0
        self._set(rate * (1 + max(self._step, min(far, LARGEST_STEP))))
        if rate > self._ceiling:
            self._interval = FIRST_INTERVAL
        if self._interval <= FIRST_INTERVAL:
            self._step = min(LARGEST_STEP, self._step * 2)

    def _set(self, rate: float) -> None:
        self.rate = max(self._slowest, rate)
