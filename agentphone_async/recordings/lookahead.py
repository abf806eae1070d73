"""Longest first, within a window: so that a run does not end on one straggler.

Pure: no await, no clock. Scheduling the longest job first is never worse than 4/3 of the best
possible makespan (Graham 1969), where arrival order may be almost 2.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from itertools import count
from math import isnan
from typing import Generic, TypeVar

T = TypeVar("T")


class LookAhead(Generic[T]):
    """A bounded window over a stream of calls that gives the longest first.

    Among calls of equal length, the first that came is the first that goes. A call whose length
    is not known counts as the median of those known in the window (or all are alike, if none
    is). No call is overtaken by more than ``patience`` later ones: after that it goes next,
    whatever its length, so that an infinite stream starves nothing.

    Args:
        window: items held at most, at least 1; 1 keeps the order of arrival.
        length: how long an item is, in any unit (``duration_seconds`` of a call); None if
            not known.
        patience: gives after which the oldest item's turn has come; twice the window if None.
    """

    def __init__(
        self, window: int, length: Callable[[T], float | None], *, patience: int | None = None
    ) -> None:
        if window < 1:
            raise ValueError(f"the look-ahead window must hold at least 1 call, not {window}")
        self.window = window
        self._length = length
        self._patience = 2 * window if patience is None else patience
        self._numbers = count()
        self._gives = 0
        # Ascending by (length, -number): the last is the longest, and the first to come of those.
        self._known: list[tuple[float, int]] = []
        self._unknown: deque[int] = deque()
        self._arrivals: deque[tuple[int, int]] = deque()  # (number, gives when it came)
        self._items: dict[int, T] = {}

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """True if nothing may be pushed before something is popped."""
        return len(self._items) >= self.window

    def push(self, item: T) -> None:
        """Add an item.

        Raises:
            OverflowError: the window is full; pop first.
        """
        if self.full:
            raise OverflowError(f"the look-ahead window holds {self.window} calls already")
        number = next(self._numbers)
        self._items[number] = item
        self._arrivals.append((number, self._gives))
        length = self._length(item)
        if length is None or isnan(length):  # NaN has no place in any order
            self._unknown.append(number)
        else:
            insort(self._known, (length, -number))

    def pop(self) -> T:
        """Remove and return the next item.

        Raises:
            IndexError: there is none.
        """
        if not self._items:
            raise IndexError("the look-ahead window is empty")
        number = self._overdue()
        if number is None:
            number = self._unknown.popleft() if self._unknown_first() else -self._known.pop()[1]
        self._gives += 1
        return self._items.pop(number)

    def _overdue(self) -> int | None:
        """Take the oldest item out of the order if it was overtaken too often."""
        while self._arrivals[0][0] not in self._items:
            self._arrivals.popleft()
        number, came = self._arrivals[0]
        if self._gives - came < self._patience:
            return None
        if self._unknown and self._unknown[0] == number:
            self._unknown.popleft()
        else:
            index = next(i for i, (_, key) in enumerate(self._known) if key == -number)
            del self._known[index]
        return number

    def _unknown_first(self) -> bool:
        if not self._unknown or not self._known:
            return bool(self._unknown)
        middle = self._known[len(self._known) // 2][0]
        longest, key = self._known[-1]
        return middle > longest or (middle == longest and self._unknown[0] < -key)
