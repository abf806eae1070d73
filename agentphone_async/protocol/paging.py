"""Walking a list by offset while it changes underneath: a pure decision after each page.

The API has no cursor, its order is undocumented, and offsets shift as calls come and go (API page
"List Calls"). So a page is only trusted if it overlaps what was already seen: then nothing that
existed throughout can lie between the two. A page that does not overlap sends the walk back, and
its calls prove nothing about other pages until one that does overlap has brought them again.
A server that repeats itself, never says that it is done, or loses its place is recognised, and
the walk ends as not complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

OVERLAP = 5
"""Rows of the last page that are asked for again, at most half of them; more removals than this
cost a step back."""

FRUITLESS_PAGES = 10
"""This many pages in a row without a single new call, and the server is going in circles."""


_FEW = 4096
"""Ids that are kept as they are; a list that is longer is kept as digests."""

_DIGEST = 8
_BUCKETS = 4096


class IdSet:
    """Ids that were added; none is ever taken out.

    Of many, only digests are kept, 64 bits in one of 4,096 buckets: that two of a million ids
    share one has a chance of one in ten billion.
    """

    __slots__ = ("_buckets", "_count", "_few")

    def __init__(self) -> None:
        self._few: set[str] | None = set()
        self._buckets: dict[int, bytearray] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, identifier: str) -> bool:
        if self._few is not None:
            return identifier in self._few
        bucket, digest = _place(identifier)
        held = self._buckets.get(bucket)
        return held is not None and _holds(held, digest)

    def add(self, identifier: str) -> bool:
        """Add an id; True if it was not there."""
        if self._few is not None:
            if identifier in self._few:
                return False
            self._few.add(identifier)
            self._count += 1
            if self._count > _FEW:
                few, self._few = self._few, None
                for each in few:
                    self._add(*_place(each))
            return True
        if not self._add(*_place(identifier)):
            return False
        self._count += 1
        return True

    def _add(self, bucket: int, digest: bytes) -> bool:
        held = self._buckets.get(bucket)
        if held is None:
            self._buckets[bucket] = bytearray(digest)
            return True
        if _holds(held, digest):
            return False
        held += digest
        return True


def _place(identifier: str) -> tuple[int, bytes]:
    data = hashlib.blake2b(
        identifier.encode("utf-8", "surrogatepass"), digest_size=_DIGEST + 2
    ).digest()
    return int.from_bytes(data[:2], "big") % _BUCKETS, data[2:]


def _holds(held: bytearray, digest: bytes) -> bool:
    place = held.find(digest)
    while place >= 0 and place % _DIGEST:
        place = held.find(digest, place + 1)
    return place >= 0


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
