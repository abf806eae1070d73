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
from functools import partial
from typing import Any, TypeAlias

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


class _Brotli:
    """Brotli's decompressor, with the methods that those of the standard library have."""

    unused_data = b""
    needs_input = True

    def __init__(self) -> None:
        try:
            found = importlib.import_module("brotli").Decompressor()
        except ImportError:
            found = None
        if not hasattr(found, "can_accept_more_data"):  # older ones know no bound
            raise CodingError("the body is compressed with brotli; install Brotli 1.2 or newer")
        self._decompressor: Any = found

    @property
    def eof(self) -> bool:
        return bool(self._decompressor.is_finished())

    def decompress(self, data: bytes, most: int) -> bytes:
        piece: bytes = self._decompressor.process(data, output_buffer_limit=most)
        self.needs_input = not piece
        return piece


_Make: TypeAlias = Callable[[], Any]
"""Makes a decompressor as `zlib` has it, or as ``compression.zstd`` has it."""


def _zlib(window: int) -> _Make:
    return partial(zlib.decompressobj, window)


def _is_plain(head: bytes) -> bool:
    """Whether these bytes are audio or text by a mark that no compressed body begins with."""
    return head.startswith(_PLAIN) or look_like(head) not in {None, "audio/mpeg", "audio/aac"}


def _gzip(head: bytes) -> _Make | None:
    """gzip, and zlib, which some servers send under its name; and the other way round."""
    if head.startswith(_GZIP):
        return _zlib(16 + zlib.MAX_WBITS)
    if len(head) > 1 and head[0] & 0x8F == 8 and int.from_bytes(head[:2]) % 31 == 0:
        return _zlib(zlib.MAX_WBITS)
    return None


def _deflate(head: bytes) -> _Make | None:
    found = _gzip(head)
    if found is not None or _is_plain(head):
        return found
    try:
        zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, 1)
    except zlib.error:
        return None
    return _zlib(-zlib.MAX_WBITS)


def _brotli(head: bytes) -> _Make | None:
    return None if _is_plain(head) else _Brotli


def _zstd(head: bytes) -> _Make | None:
    if not head.startswith(_ZSTD):
        return None
    for name in ("compression.zstd", "backports.zstd"):
        try:
            make: _Make = importlib.import_module(name).ZstdDecompressor
        except ImportError:
            continue
        return make
    raise CodingError("the body is compressed with zstd; install backports.zstd")


_CODINGS: dict[str, Callable[[bytes], _Make | None]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
_ENOUGH = 12
"""Bytes by which all codings are known that can be known."""


class _Layer:
    """One declared coding, undone if it is there. gzip's members and zstd's frames may be many."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._begun = False
        self._head = b""
        self._make: _Make | None = None
        self._decompressor: Any = None
        self._what = "is corrupt"

    def decode(self, data: bytes, *, last: bool = False) -> Iterator[bytes]:
        if not self._begun:
            self._head += data
            if len(self._head) < _ENOUGH and not last:
                return
            self._begun, data = True, self._head
            self._make = _CODINGS[self._coding](data)
            self._decompressor = self._make() if self._make is not None else None
        if self._make is None:
            yield data
            return
        pending = False
        while data or pending:
            if self._decompressor.eof:
                self._decompressor, self._what = self._make(), "continues after its end"
            decompressor = self._decompressor
            try:
                piece = decompressor.decompress(data, PIECE)
            except Exception as error:  # each library has an error of its own
                raise CodingError(f"the compressed body {self._what}: {error}") from error
            if piece:
                yield piece
            data = getattr(decompressor, "unconsumed_tail", b"") or decompressor.unused_data
            pending = not (decompressor.eof or getattr(decompressor, "needs_input", True))

    def finish(self) -> Iterator[bytes]:
        if not self._begun and self._head:
            yield from self.decode(b"", last=True)
        if self._make is not None and not self._decompressor.eof:
            raise CodingError("the compressed body was cut off")


class Decoder:
    """Decodes one body; `decode` each chunk, then `finish`.

    Args:
        codings: the ``Content-Encoding`` header. gzip is undone one time more than it says.
    """

    def __init__(self, codings: str) -> None:
        names = [name.strip() for name in codings.split(",")]
        known = [name for name in reversed(names) if name in _CODINGS][:DEEPEST]
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
