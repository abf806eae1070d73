"""Bodies that arrive compressed although nobody asked for it (RFC 9110 section 8.4).

We ask for ``identity``; some proxies compress all the same, and some name a coding that is not
there (``aws-chunked``, ``binary``, ``utf-8``). So the bytes decide: what is in a coding that can be
decoded here is decoded, and everything else passes as it is, to be judged by what it is. Decoding
yields bounded pieces, so that a compression bomb meets the size limits one piece at a time.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

PIECE = 1024 * 1024
"""Bytes; the most that one step of decoding may yield."""

DEEPEST = 3
"""Codings on top of each other, declared or not."""

_GZIP = b"\x1f\x8b"
_PLAIN = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b"{", b"[", b"<")
"""How bodies begin that are not compressed, whatever raw deflate might make of them."""


class CodingError(ValueError):
    """The bytes are not what their coding says."""


class _Stage(Protocol):
    """One coding being undone."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` decodes to, in pieces of at most `PIECE` bytes."""

    def finish(self) -> None:
        """Check that it was whole."""


class _Zlib:
    """gzip in any number of members, zlib, or raw deflate."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._zlib = zlib.decompressobj(window)

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._zlib.eof:
                if self._window <= zlib.MAX_WBITS or not data.startswith(_GZIP[: len(data)]):
                    raise CodingError("the compressed body goes on after its end")
                self._zlib = zlib.decompressobj(self._window)
            try:
                piece = self._zlib.decompress(data, PIECE)
            except zlib.error as error:
                raise CodingError(f"the compressed body is corrupt: {error}") from error
            if piece:
                yield piece
            data = self._zlib.unconsumed_tail or self._zlib.unused_data

    def finish(self) -> None:
        if not self._zlib.eof:
            raise CodingError("the compressed body was cut off")


class _Library:
    """A coding that an optional library knows; it must be able to bound what it yields."""

    def __init__(self, decompressor: Any, step: Callable[[Any, bytes], bytes]) -> None:
        self._decompressor = decompressor
        self._step = step

    def decode(self, data: bytes) -> Iterator[bytes]:
        try:
            piece = self._step(self._decompressor, data)
            while piece:
                yield piece
                piece = self._step(self._decompressor, b"")
        except Exception as error:  # each library has an error of its own
            raise CodingError(f"the compressed body is corrupt: {error}") from error

    def finish(self) -> None:
        done = getattr(self._decompressor, "is_finished", None)
        if not (done() if done else self._decompressor.eof):
            raise CodingError("the compressed body was cut off")


def _gzip(head: bytes) -> _Stage | None:
    return _Zlib(16 + zlib.MAX_WBITS) if head.startswith(_GZIP) else None


def _deflate(head: bytes) -> _Stage | None:
    if head.startswith(_PLAIN):
        return None
    if head[0] & 0x0F == 8 and int.from_bytes(head[:2]) % 31 == 0:
        return _Zlib(zlib.MAX_WBITS)
    try:
        zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, 1)
    except zlib.error:
        return None
    return _Zlib(-zlib.MAX_WBITS)


def _brotli(head: bytes) -> _Stage | None:
    try:
        found = importlib.import_module("brotli").Decompressor()
    except ImportError:
        return None
    if head.startswith(_PLAIN) or not hasattr(found, "can_accept_more_data"):
        return None  # older ones know no bound
    return _Library(found, lambda it, data: it.process(data, output_buffer_limit=PIECE))


def _zstd(head: bytes) -> _Stage | None:
    if not head.startswith(b"\x28\xb5\x2f\xfd"):
        return None
    for name in ("compression.zstd", "backports.zstd"):
        try:
            found = importlib.import_module(name).ZstdDecompressor()
        except ImportError:
            continue
        return _Library(
            found, lambda it, data: b"" if it.eof else it.decompress(data, max_length=PIECE)
        )
    return None


_STAGES: dict[str, Callable[[bytes], _Stage | None]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
_ENOUGH = 4
"""Bytes by which all codings are known that can be known."""


class _Layer:
    """One declared coding: a stage if it is there, and nothing if not."""

    def __init__(self, coding: str) -> None:
        self._begin = _STAGES.get(coding)
        self._head = b""
        self._stage: _Stage | None = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._begin is not None:
            self._head += data
            if len(self._head) < _ENOUGH:
                return
            data, self._head = self._head, b""
            begin, self._begin = self._begin, None
            self._stage = begin(data)
        if self._stage is None:
            yield data
        else:
            yield from self._stage.decode(data)

    def finish(self) -> Iterator[bytes]:
        if self._head:
            yield self._head  # too short to be anything
        if self._stage is not None:
            self._stage.finish()


class Decoder:
    """Decodes one body; `decode` each chunk, then `finish`.

    Args:
        codings: the ``Content-Encoding`` header. What is applied once more than it says is
            undone, too.
    """

    def __init__(self, codings: str) -> None:
        names = [name.strip() for name in codings.split(",")]
        known = [name for name in reversed(names) if name in _STAGES][:DEEPEST]
        if any(name.endswith("gzip") for name in known):
            known.append("gzip")
        self._layers = [_Layer(name) for name in known]

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` decodes to, in pieces of at most `PIECE` bytes.

        Raises:
            CodingError: the data are corrupt, or go on after their end.
        """
        yield from self._through(data, 0)

    def _through(self, data: bytes, depth: int) -> Iterator[bytes]:
        if depth < len(self._layers):
            for piece in self._layers[depth].decode(data):
                yield from self._through(piece, depth + 1)
            return
        yield data

    def finish(self) -> Iterator[bytes]:
        """Yield what is left, and check that the body was whole.

        Raises:
            CodingError: it was cut off.
        """
        for depth, layer in enumerate(self._layers):
            for piece in layer.finish():
                yield from self._through(piece, depth + 1)


def coding_of(header: str | None) -> str | None:
    """The codings in a ``Content-Encoding`` header; None for identity."""
    coding = (header or "").strip().lower()
    return None if coding in {"", "identity"} else coding
