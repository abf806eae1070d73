"""Bodies that arrive compressed although nobody asked for it (RFC 9110 section 8.4).

We ask for ``identity``; some proxies compress all the same, and some name a coding that is not
there (``aws-chunked``, ``binary``, ``utf-8``). So the bytes decide: what is in a coding that can be
decoded here is decoded, what would need a library that is not installed is refused, and everything
else passes as it is, to be judged by what it is. Decoding yields bounded pieces, so that a
compression bomb meets the size limits one piece at a time.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from agentphone_async.protocol.formats import look_like

PIECE = 1024 * 1024
"""Bytes; the most that one step of decoding may yield."""

DEEPEST = 3
"""Codings on top of each other, declared or not."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_PLAIN = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"ID3", b"{", b"[", b"<")
"""How bodies begin that are not compressed, whatever raw deflate or brotli might make of them."""


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
                    raise CodingError("the compressed body continues after its end")
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


class _Brotli:
    """Brotli, if a library is installed that can bound what it yields."""

    def __init__(self, decompressor: Any) -> None:
        self._decompressor = decompressor

    def decode(self, data: bytes) -> Iterator[bytes]:
        try:
            while piece := self._decompressor.process(data, output_buffer_limit=PIECE):
                yield piece
                data = b""
        except Exception as error:  # the library has an error of its own
            raise CodingError(f"the compressed body is corrupt: {error}") from error

    def finish(self) -> None:
        if not self._decompressor.is_finished():
            raise CodingError("the compressed body was cut off")


class _Zstd:
    """Zstandard in any number of frames, if a library for it is installed."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._decompressor = make()

    def decode(self, data: bytes) -> Iterator[bytes]:
        try:
            while data or not (self._decompressor.eof or self._decompressor.needs_input):
                if self._decompressor.eof:
                    self._decompressor = self._make()
                piece = self._decompressor.decompress(data, max_length=PIECE)
                data = self._decompressor.unused_data
                if piece:
                    yield piece
        except Exception as error:  # each library has an error of its own
            raise CodingError(f"the compressed body is corrupt: {error}") from error

    def finish(self) -> None:
        if not self._decompressor.eof:
            raise CodingError("the compressed body was cut off")


def _is_plain(head: bytes) -> bool:
    """Whether these bytes are audio or text by a mark that no compressed body begins with."""
    return head.startswith(_PLAIN) or look_like(head) not in {None, "audio/mpeg", "audio/aac"}


def _gzip(head: bytes) -> _Stage | None:
    """gzip, and zlib, which some servers send under its name; and the other way round."""
    if head.startswith(_GZIP):
        return _Zlib(16 + zlib.MAX_WBITS)
    if len(head) > 1 and head[0] & 0x8F == 8 and int.from_bytes(head[:2]) % 31 == 0:
        return _Zlib(zlib.MAX_WBITS)
    return None


def _deflate(head: bytes) -> _Stage | None:
    found = _gzip(head)
    if found is not None or _is_plain(head):
        return found
    try:
        zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, 1)
    except zlib.error:
        return None
    return _Zlib(-zlib.MAX_WBITS)


def _brotli(head: bytes) -> _Stage | None:
    if _is_plain(head):
        return None
    try:
        found = importlib.import_module("brotli").Decompressor()
    except ImportError:
        found = None
    if not hasattr(found, "can_accept_more_data"):  # older ones know no bound
        raise CodingError("the body is compressed with brotli; install Brotli 1.2 or newer")
    return _Brotli(found)


def _zstd(head: bytes) -> _Stage | None:
    if not head.startswith(_ZSTD):
        return None
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return _Zstd(importlib.import_module(name).ZstdDecompressor)
        except ImportError:
            continue
    raise CodingError("the body is compressed with zstd; install backports.zstd")


_STAGES: dict[str, Callable[[bytes], _Stage | None]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
_ENOUGH = 12
"""Bytes by which all codings are known that can be known."""


class _Layer:
    """One declared coding: a stage if it is there, and nothing if not."""

    def __init__(self, coding: str) -> None:
        self._begin: Callable[[bytes], _Stage | None] | None = _STAGES[coding]
        self._head = b""
        self._stage: _Stage | None = None

    def decode(self, data: bytes, *, last: bool = False) -> Iterator[bytes]:
        if self._begin is not None:
            self._head += data
            if len(self._head) < _ENOUGH and not last:
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
            yield from self.decode(b"", last=True)
        if self._stage is not None:
            self._stage.finish()


class Decoder:
    """Decodes one body; `decode` each chunk, then `finish`.

    Args:
        codings: the ``Content-Encoding`` header. gzip is undone one time more than it says.
    """

    def __init__(self, codings: str) -> None:
        names = [name.strip() for name in codings.split(",")]
        known = [name for name in reversed(names) if name in _STAGES][:DEEPEST]
        self._layers = [_Layer(name) for name in [*known, "gzip"]]

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` decodes to, in pieces of at most `PIECE` bytes.

        Raises:
            CodingError: the data are corrupt, or continue after their end.
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
