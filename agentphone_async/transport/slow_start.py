"""How many requests at a time to begin with, before there is anything to measure.

`SlowStart` is pure: no clock, no await, no randomness; `looking` lets it look every `LOOK` seconds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

START = 8
"""Requests at a time to begin with."""

ENOUGH = 24
"""Answers until there are more. A host that allows 20 a second refuses some of these, and no more
than were under way."""

LOOK = 0.025
"""Seconds between two looks."""

LATE = 3
"""Looks without any answer, after which the host must be far away: waiting for it costs time."""

FAR = 32
"""Requests at a time at the first answer, from which on half of what is due is enough of them."""

UNSEEN = 160
"""Requests at a time until the first answer comes, at most."""

FAR_GROWTH = 1.6
"""Until then, each look goes on with so many times as many."""

MOST_GROWTH = 4.0
"""Afterwards, each round trip goes on with so many times as many, at most."""

DOUBLES_IN = 2.4
"""Looks in which it doubles, if the way is longer than that."""

STRETCH = 3
"""Looks that are compared, at least."""

WORTH, PLAINLY_WORTH = 0.55, 0.75
"""It ends when one request brings less than this share of what one brought at best."""

ROOM = 1.25
"""Then it goes on with so many times as many as were enough."""

BUSY_SHARE = 0.85
"""Slots count as all used when this much of them is."""

LONGEST = 200
"""Looks, and it ends in any case."""


class _Look(NamedTuple):
    """What was seen at one look, all of it since the beginning but for ``quickest``."""

    received: int
    used: int
    answered: int
    quickest: float


class SlowStart:
    """Goes on with more while each of them brings as much as before.

    As long as nothing has come, only time tells: after 75 ms more begin, since the way is long.
    Then answers tell: the quickest of a stretch take as long as ever, or they wait for each other.
    Of long recordings none is complete for a while: there the bytes tell that each transfer brings.

    Args:
        limit: requests at a time to begin with.
        maximum: never more.

    Attributes:
        limit: requests at a time, now.
        over: whether there is nothing more to learn this way.
    """

    def __init__(self, limit: int, maximum: int) -> None:
        self.limit = limit
        self.over = False
        self._maximum = maximum
        self._looks = [_Look(0, 0, 0, math.inf)]
        self._way = 0
        self._grown_at = -LONGEST
        self._answered = 0
        self._quickest = self._usual = math.inf
        self._best = 0.0

    def completed(self, took: float) -> None:
        """A request was answered in full, in so many seconds."""
        self._answered += 1
        self._quickest = min(self._quickest, took)

    def look(self, received: int, in_flight: int) -> None:
        """What has come until now, and what is under way, every `LOOK` seconds.

        Args:
            received: bytes since the beginning, also of what is not complete.
            in_flight: requests.
        """
        looks = self._looks
        used = looks[-1].used + in_flight
        looks.append(_Look(received, used, self._answered, self._quickest))
        self._usual = min(self._usual, self._quickest)
        self._quickest = math.inf
        now = len(looks) - 1
        if not (received or self._answered):
            if now >= LATE:
                self._grow(FAR_GROWTH, min(UNSEEN, self._maximum))
            return
        self._way = self._way or now
        due = looks[-self._way].used - looks[-self._way - 1].used  # sent a round trip ago
        enough = ENOUGH if self.limit < FAR else due / 2
        answers_tell = self._answered >= enough
        stretch = max(self._way, STRETCH) if answers_tell else STRETCH
        share = self._share_by_answers(stretch) if answers_tell else self._share_by_bytes(stretch)
        if share is not None and share < WORTH:
            self.limit = max(1, min(self.limit, round(self.limit * share * ROOM)))
            self.over = True
        elif in_flight >= BUSY_SHARE * self.limit:
            since = now - self._grown_at
            if self.limit == self._maximum:
                self.over = since >= stretch + self._way  # all of them count
            elif answers_tell and since >= self._way:
                self._grow(min(MOST_GROWTH, 2 ** (self._way / DOUBLES_IN)), self._maximum)
                self._grown_at = now
            elif share is not None and share >= PLAINLY_WORTH and since >= stretch:
                self._grow(2, self._maximum)
                self._grown_at = now
        self.over |= now >= LONGEST

    def _grow(self, factor: float, most: int) -> None:
        self.limit = max(self.limit, min(most, math.ceil(self.limit * factor)))

    def _share_by_answers(self, stretch: int) -> float | None:
        """How the quickest did, since others opened a connection first; None if they are few."""
        looks = self._looks
        if len(looks) <= stretch or looks[-1].answered - looks[-stretch - 1].answered < ENOUGH:
            return None
        return self._usual / min(look.quickest for look in looks[-stretch:])

    def _share_by_bytes(self, stretch: int) -> float | None:
        """How much a transfer brought; None until the first ones can be compared."""
        looks, begin = self._looks, len(self._looks) - 1 - stretch
        if begin < self._way:
            return None
        came = looks[-1].received - looks[begin].received
        used = looks[-1 - self._way].used - looks[begin - self._way].used
        each = came / max(1, used)
        self._best = max(self._best, each)
        return each / self._best if self._best else None


@contextmanager
def looking(look: Callable[[], bool]) -> Iterator[None]:
    """Call ``look`` every `LOOK` seconds, as long as it returns True."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def again() -> None:
        if look():
            timers[:] = [loop.call_later(LOOK, again)]

    timers.append(loop.call_later(LOOK, again))
    try:
        yield
    finally:
        timers.pop().cancel()
