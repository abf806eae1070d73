"""Walking a list by offset while it changes underneath: a pure decision after each page.

The API has no cursor, its order is undocumented, and offsets shift as calls come and go (API page
"List Calls"). So a page is only trusted if it overlaps what was already seen: then nothing that
existed throughout can lie between the two. A page that does not overlap sends the walk back, and
its calls prove nothing about other pages until one that does overlap has brought them again.
A server that repeats itself, never says that it is done, or loses its place is recognised, and
the walk ends as not complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentphone_async.protocol.id_set import IdSet

OVERLAP = 5
"""Rows of the last page that are asked for again, at most half of them; more removals than this
cost a step back."""

FRUITLESS_PAGES = 10
"""This many pages in a row without a single new call, and the server is going in circles."""


@dataclass(slots=True)
class Crawl:
    """The state of one walk. Ask for ``offset``, give the page to `take`, until ``done``.

    Attributes:
        limit: rows that are asked for at once, 1 to 100.
        offset: where the next page starts; the walk begins where it is set at first.
        done: no further page is needed.
        complete: valid once done: every call that existed throughout was seen.
        total: the last total that the server told; None while it told none.
    """

    limit: int
    offset: int = 0
    done: bool = False
    complete: bool = False
    total: int | None = None
    _seen: IdSet = field(default_factory=IdSet)
    _adrift: set[str] = field(default_factory=set)
    _fruitless: int = 0
    _second_round: bool = False
    _start: int = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.offset

    @property
    def seen(self) -> int:
        """How many different calls were seen so far."""
        return len(self._seen)

    def take(
        self, ids: Sequence[str], *, rows: int, has_more: bool | None, total: int | None
    ) -> list[int]:
        """Decide what follows from a page.

        Args:
            ids: the ids on the page, in order.
            rows: how many rows the page had, those that could not be read included.
            has_more: what the server says; None if it does not: then the walk continues until a
                page has nothing more.
            total: what the server says; None if it does not.

        Returns:
            The places, within ``ids``, of calls that were not seen before.
        """
        self.total = total if total is not None else self.total
        overlaps = self.offset == self._start or any(
            identifier in self._seen and identifier not in self._adrift for identifier in ids
        )
        new: list[int] = []
        for place, identifier in enumerate(ids):
            if self._seen.add(identifier):
                new.append(place)
        if overlaps:
            self._adrift.difference_update(ids)
        else:
            self._adrift.update(ids[place] for place in new)
        self._fruitless = 0 if new else self._fruitless + 1
        if self._fruitless >= FRUITLESS_PAGES:
            self.done = True
        elif self._second_round and not self._missing:
            self.done = self.complete = True
        elif not overlaps and self._overlap:
            self.offset = max(self._start, self.offset - self.limit)
        elif rows and (
            has_more
            or self._owes(self.offset + rows)
            or (has_more is None and self.total is None and (new or rows > self._overlap))
        ):
            self.offset += max(1, rows - self._overlap)
        else:
            self._end()
        return new

    @property
    def _overlap(self) -> int:
        return min(OVERLAP, self.limit // 2)

    @property
    def _missing(self) -> bool:
        return self.total is not None and self._start + self.seen < self.total

    def _owes(self, reached: int) -> bool:
        return self.total is not None and reached < self.total

    def _end(self) -> None:
        """At the end of the list: done, unless the total says that something slipped by."""
        if self._missing and not self._second_round:
            self._second_round = True
            self._fruitless = 0
            self.offset = self._start
            return
        self.done = True
        self.complete = not self._missing
