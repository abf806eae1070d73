"""What is seen of a long body: its beginning and its end."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OutOfSightError", "Sight"]


class OutOfSightError(ValueError):
    """Bytes that nobody has kept, or that do not exist."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The bytes of a body that can still be looked at.

    Attributes:
        head: the first bytes.
        tail: the last bytes; may be empty, and may overlap ``head``.
        size: bytes of the whole.
    """

    head: bytes
    tail: bytes
    size: int

    @property
    def ends_with_tag(self) -> bool:
        """Whether the last 128 bytes are an ID3v1 tag."""
        last = self.tail or (self.head if len(self.head) == self.size else b"")
        return last[-128:-125] == b"TAG"

    @property
    def _tail_at(self) -> int:
        return self.size - len(self.tail)

    def at(self, offset: int, length: int) -> bytes:
        """So many bytes from ``offset`` on.

        Raises:
            OutOfSightError: they are not seen.
        """
        end = offset + length
        if offset >= 0 and end <= len(self.head):
            return self.head[offset:end]
        start = self._tail_at
        if start <= offset and end <= self.size:
            return self.tail[offset - start : end - start]
        raise OutOfSightError(f"{length} bytes at {offset} of {self.size}")

    def until(self, offset: int, most: int) -> bytes:
        """Up to ``most`` bytes from ``offset`` on, as far as they are seen."""
        if 0 <= offset < len(self.head):
            return self.head[offset : offset + most]
        start = self._tail_at
        return self.tail[offset - start :][:most] if start <= offset else b""
