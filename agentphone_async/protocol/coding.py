"""Bodies that arrive compressed although nobody asked for it (RFC 9110 section 8.4).

We ask for ``identity``; some proxies compress all the same. Decoding yields bounded pieces, so that
a compression bomb meets the size limits one piece at a time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

PIECE = 1024 * 1024
"""Bytes; the most that one step of decoding may yield."""

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class CodingError(ValueError):
    """The coding is not known here, or the bytes are not in it."""


class Decoder:
    """Decodes one body; `decode` each chunk, then `finish`.

    Raises:
        CodingError: the coding is not gzip or deflate.
    """

    def __init__(self, coding: str) -> None:
        window = _WINDOWS.get(coding)
        if window is None:
            raise CodingError(f"content coding {coding[:40]!r} was not asked for")
        self._zlib = zlib.decompressobj(window)

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` decodes to, in pieces of at most `PIECE` bytes.

        Raises:
            CodingError: the data are corrupt, or go on after their end.
        """
        while data:
            if self._zlib.eof:
                raise CodingError("the compressed body goes on after its end")
            try:
                piece = self._zlib.decompress(data, PIECE)
            except zlib.error as error:
                raise CodingError(f"the compressed body is corrupt: {error}") from error
            if piece:
                yield piece
            data = self._zlib.unconsumed_tail or self._zlib.unused_data

    def finish(self) -> None:
        """Check that the body was whole.

        Raises:
            CodingError: it was cut off.
        """
        if not self._zlib.eof:
            raise CodingError("the compressed body was cut off")


def coding_of(header: str | None) -> str | None:
    """The coding in a ``Content-Encoding`` header; None for identity."""
    coding = (header or "").strip().lower()
    return None if coding in {"", "identity"} else coding
