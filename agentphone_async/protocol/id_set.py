"""A set of ids in about 10 bytes each: a walk over a million calls remembers them all."""

from __future__ import annotations

import hashlib

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
