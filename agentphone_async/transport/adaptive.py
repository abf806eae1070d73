"""How many requests at a time: found by trying, not guessed.

Pure: no clock, no await, no randomness; whoever owns it reports what happened and obeys `limit`.
"""

from __future__ import annotations

import math

from agentphone_async.transport.epoch import Epoch

WORTHWHILE = 0.12
"""Going up must gain at least this share of what it would gain if nothing were in the way."""

SPARE = 0.06
"""Going down may lose at most this share of what it would lose if every slot counted."""

FASTEST, COARSE, MEDIUM, USUAL, FINE = 4.0, 2.0, 1.4, 1.15, 1.08
SHORTEST_HOLD, LONGEST_HOLD = 4.0, 32.0
LONGEST_EPOCH = 8.0
FEWEST_SAMPLES = 8
CHANGED = 0.15
CLEAR, LIKELY = 3.0, 1.0
STUCK = 4.0
BACK_OFF = 0.7


class AdaptiveConcurrency:
    """Climbs while goodput climbs, and comes down when it does not.

    It compares *goodput* (see `Epoch.gain_over`), not errors: a server that answers everything,
    ever more slowly, is found out as well as one that says 429.

    Args:
        start: requests at a time to begin with.
        minimum: never fewer.
        maximum: never more; keep it within the connection pool.
    """

    def __init__(self, *, start: int = 4, minimum: int = 1, maximum: int = 64) -> None:
        if not 1 <= minimum <= start <= maximum:
            raise ValueError(f"1 <= {minimum} <= {start} <= {maximum} does not hold")
        self.minimum = minimum
        self.maximum = maximum
        self.limit = start
        self._base: Epoch | None = None
        self._probing = False
        self._upward = True
        self._ratio = COARSE
        self._hold = SHORTEST_HOLD
        self._hold_until = 0.0
        self._backed_off_at = -math.inf
        self._typical = 0.0
        self._epoch = Epoch(start, 0.0)
        self._started = False
        self._draining = False
        self._counts_from = -math.inf

    # ------------------------------------------------------------------ reports

    def completed(
        self,
        now: float,
        size: int,
        took: float,
        *,
        in_flight: int | None = None,
    ) -> None:
        """A request was answered in full (404 is an answer).

        Args:
            now: monotonic seconds.
            size: bytes of the body.
            took: seconds that it held its slot.
            in_flight: requests under way just now, this one included; the limit if not given.
        """
        if not self._started:
            self._started = True
            self._epoch = Epoch(self.limit, now - took)
        self._typical += (took - self._typical) * (0.05 if self._typical else 1.0)
        epoch = self._epoch
        if in_flight is None:
            in_flight = self.limit
        if in_flight > self.limit and self._draining:
            epoch.began = self._counts_from = now
            return
        self._draining = False
        if now - took < self._counts_from or now < epoch.began:
            return  # it ran at another limit, at least in part
        epoch.add(now, size, took, in_flight)
        if epoch.count >= max(FEWEST_SAMPLES, self.limit // 2) and epoch.elapsed >= epoch.mean_took:
            self._judge(now, epoch)

    def cap(self, maximum: int) -> None:
        """Never more than ``maximum`` at a time from now on (at least 1)."""
        self.maximum = max(1, maximum)
        self.minimum = min(self.minimum, self.maximum)
        if self.limit > self.maximum:
            self.limit = self.maximum
            self._base = None
            self._probing = False

    def throttled(self, now: float, *, pause: float = 0.0) -> None:
        """The host answered 429 or 503, and nobody asks it anything for ``pause`` seconds."""
        if now - self._backed_off_at > 2.0 + pause:
            self._retreat(now, BACK_OFF)
            # Mostly it is the rate that was too high, and that is learned elsewhere.
            self._upward, self._ratio = True, USUAL
        self._restart(now + pause)

    def timed_out(self, now: float) -> None:
        """A request was given up: too slow, or silent."""
        if now - self._backed_off_at > max(2.0, 2 * self._typical):
            self._retreat(now, BACK_OFF)

    # ------------------------------------------------------------------ judging

    def _full(self, epoch: Epoch) -> bool:
        return (
            epoch.count >= max(2 * FEWEST_SAMPLES, 2 * epoch.limit)
            and epoch.elapsed >= 2 * epoch.mean_took
        )

    def _judge(self, now: float, epoch: Epoch) -> None:
        base = self._base
        if not self._probing or base is None:
            self._judge_base(now, epoch)
            return
        gain, error = epoch.gain_over(base)
        step = math.log(epoch.limit / base.limit)
        needed = WORTHWHILE * step if step > 0 else SPARE * step
        certainty = abs(gain - needed) / max(error, 1e-9)
        if certainty < (LIKELY if self._full(epoch) else CLEAR) and epoch.elapsed < LONGEST_EPOCH:
            return  # not clear yet: go on measuring
        if gain >= needed and (step < 0 or certainty >= LIKELY):
            self._accept(now, epoch)
        else:
            self._reject(now, base)

    def _judge_base(self, now: float, epoch: Epoch) -> None:
        base = self._base
        if base is not None and base.limit == epoch.limit:
            gain, error = epoch.gain_over(base)
            if abs(gain) > max(CHANGED, CLEAR * error) and epoch.saturated:
                # The world is not what it was: look again, and soon.
                self._hold, self._hold_until = SHORTEST_HOLD, now
                self._upward = gain > 0
                self._ratio = max(MEDIUM, min(FASTEST, math.exp(-gain)))
                self._base = epoch
                self._probe(now)
                return
        if not self._full(epoch):
            return
        if not epoch.saturated:
            # There is not enough to do to learn anything.
            self._restart(now)
        elif now >= self._hold_until:
            self._base = epoch
            self._probe(now)
        elif base is None:
            self._base = epoch
        elif epoch.elapsed > LONGEST_EPOCH / 2:
            self._base = epoch
            self._restart(now)

    def _probe(self, now: float) -> None:
        """Try the next step from the base, or hold if there is none."""
        if self._base is None:
            return
        limit = self._base.limit
        if self._upward:
            target = min(self.maximum, max(limit + 1, round(limit * self._ratio)))
        else:
            target = max(self.minimum, min(limit - 1, round(limit / self._ratio)))
        if target == limit:
            self._turn(now)
            return
        self._probing = True
        self._move(now, target)

    def _accept(self, now: float, epoch: Epoch) -> None:
        self._base = epoch
        self._hold = max(SHORTEST_HOLD, self._hold / 2)
        self._probing = False
        self._ratio = min(COARSE, self._ratio * self._ratio)
        if self._ratio >= COARSE or self._full(epoch):
            self._probe(now)
        else:
            self._hold_until = now  # small steps need a sure base: first measure it in full

    def _reject(self, now: float, base: Epoch) -> None:
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

    def _retreat(self, now: float, factor: float) -> None:
        base = self._base
        limit = min(self.limit, base.limit) if base is not None else self.limit
        self._backed_off_at = now
        self._base = None
        self._probing = False
        self._upward, self._ratio = False, MEDIUM
        self._hold = SHORTEST_HOLD
        self._move(now, max(self.minimum, int(limit * factor)))

    def _move(self, now: float, limit: int) -> None:
        self._draining = limit < self.limit
        self.limit = limit
        self._counts_from = now
        self._restart(now)

    def _restart(self, began: float) -> None:
        self._epoch = Epoch(self.limit, began)
