"""How many requests a second a host bears, learned from its 429s.

Pure: no clock, no await. A limit on requests per second cannot be met by limiting concurrency:
the same few slots send more requests as the answers get faster. So the rate itself is learned.
"""

from __future__ import annotations

import math

MARGIN, WIDE_MARGIN = 0.98, 0.93
"""The pace after a throttle, as a share of the pace that was too fast: known well, or not yet."""

SEARCH, APPROACH, STEP, LARGEST_STEP = 0.8, 0.1, 0.02, 0.32
"""How much faster to go after a quiet interval: nothing is known but that the first burst was too
much; a pace is known that is too fast; just below that; and far beyond it, since it has moved."""

SEARCH_INTERVAL, APPROACH_INTERVAL = 0.2, 0.5
MOVED_INTERVAL = 2.0
SETTLED_INTERVAL, LONGEST_INTERVAL = 5.0, 20.0
SHORTEST_WINDOW = 1.0
FIRST_PACE, PLAUSIBLE = 4.0, 15
LONG = 2.0
FEWEST_ANSWERS = 3
USED = 0.8


class AdaptivePace:
    """``rate`` is None until the host throttles, then requests per second just below its limit.

    At first it is as many as the host has answered until then, spread over that time and the pause.
    That is the host's own rate if it counts in windows, or lets a second's worth go at once, and
    less if it lets go fewer. So it soon tries more, until the host throttles again: in large steps
    first, in small ones the second time, and then, just below what was too fast, 2 % after a
    quiet interval of 5 s, growing to 20 s as the limit proves constant. Once it is past the pace
    that was too fast before, the limit has moved: then it speeds up quickly.

    Args:
        slowest: requests per second that are never undercut.
    """

    __slots__ = (
        "_answered",
        "_ceiling",
        "_interval_answered",
        "_interval_from",
        "_quiet_from",
        "_search",
        "_settled",
        "_since",
        "_slowest",
        "_step",
        "_throttled_at",
        "rate",
    )

    def __init__(self, *, slowest: float = 0.2) -> None:
        self.rate: float | None = None
        self._slowest = slowest
        self._ceiling = math.inf
        self._search = True
        self._since: float | None = None
        self._throttled_at = -math.inf
        self._quiet_from = -math.inf
        self._answered = 0
        self._settled = SETTLED_INTERVAL
        self._step = STEP
        self._interval_from = 0.0
        self._interval_answered = 0

    def answered(self, now: float) -> None:
        """The host answered a request, and not with 429 or 503."""
        if self._since is None:
            self._since = now
        self._answered += 1
        if self._throttled_at == -math.inf:
            return
        if now <= self._quiet_from and self._ceiling == math.inf:
            self._spread()
            return
        if self.rate is None:
            return
        self._interval_answered += 1
        quiet = now - self._interval_from
        if quiet >= self._interval and self._interval_answered >= FEWEST_ANSWERS:
            self._end_interval(now, self.rate)

    def throttled(self, now: float, *, pause: float = 0.0, sent: float | None = None) -> None:
        """The host answered 429 or 503, and nobody asks it anything for ``pause`` seconds.

        Args:
            now: monotonic seconds.
            pause: as above.
            sent: when the refused request was sent. What was under way when the host refused
                before says nothing more.
        """
        if sent is not None and sent <= self._throttled_at:
            return
        self._throttled_at = now
        self._step = STEP
        if self.rate is not None:
            self._slow_down(now, self.rate)
            self._since, self._answered = now, 0
        self._quiet_from = self._interval_from = now + max(pause, 0.0)
        self._interval_answered = 0
        if self.rate is None and self._answered:
            self._spread()

    def _spread(self) -> None:
        """The first estimate, while the answers to the first burst come."""
        if self._since is not None:
            until = max(self._quiet_from, self._throttled_at + SHORTEST_WINDOW)
            self._search = self._answered < PLAUSIBLE
            took = max(until - self._since, SHORTEST_WINDOW)
            self._set(max(FIRST_PACE, self._answered / took))

    def _slow_down(self, now: float, too_fast: float) -> None:
        if self._answered < FEWEST_ANSWERS or now <= self._quiet_from or self._since is None:
            self._set(too_fast / 2)
            return
        if self._search:
            self._search, self._ceiling = False, too_fast
            self._set(too_fast / (1 + SEARCH) ** 2)  # two steps back: refusals come late
            return
        # During the pause the host may have saved up allowance, or not: the truth lies between.
        took, pause = now - self._quiet_from, self._quiet_from - self._since
        seen = self._answered / took
        again = abs(too_fast / self._ceiling - 1) < 2 * STEP and seen > 0.9 * too_fast
        seen = self._answered / (took + (pause if took > LONG else pause / 2))
        self._ceiling = too_fast
        self._settled = min(LONGEST_INTERVAL, self._settled * 2) if again else SETTLED_INTERVAL
        safe = min(too_fast * WIDE_MARGIN, max(seen, too_fast / 2))
        self._set(too_fast * MARGIN if again else safe)

    def _end_interval(self, now: float, rate: float) -> None:
        used = self._interval_answered >= USED * rate * (now - self._interval_from)
        self._interval_from, self._interval_answered = now, 0
        if not used:
            return  # nobody wanted to go that fast: nothing was learned
        step = STEP
        if self._search:
            step = SEARCH
        elif rate > self._ceiling or self._ceiling == math.inf:
            step = self._step = min(LARGEST_STEP, self._step * 2)
        elif self._interval == APPROACH_INTERVAL:
            step = min(APPROACH, WIDE_MARGIN * self._ceiling / rate - 1)
        self._set(rate * (1 + step))

    @property
    def _interval(self) -> float:
        """Seconds without a refusal until it goes faster."""
        rate = self.rate or 0.0
        if self._search:
            return SEARCH_INTERVAL
        if rate > self._ceiling:
            return MOVED_INTERVAL
        return APPROACH_INTERVAL if rate < 0.999 * WIDE_MARGIN * self._ceiling else self._settled

    def _set(self, rate: float) -> None:
        self.rate = max(self._slowest, rate)
