"""The chunk list of a RIFF file, walked as far as its first bytes show it.

Sources: "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, RIFX),
EBU Tech 3306 and ITU-R BS.2088 (RF64, BW64 and their ds64 chunk).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, auto

FORMS = frozenset({b"RIFF", b"RIFX", b"RF64", b"BW64"})

_LITTLE = (struct.Struct("<4sI"), struct.Struct("<HHIIH"), struct.Struct("<H"))
_BIG = (struct.Struct(">4sI"), struct.Struct(">HHIIH"), struct.Struct(">H"))
_DS64 = struct.Struct("<QQ")
_UNKNOWN_32 = 0xFFFFFFFF
_EXTENSIBLE = 0xFFFE
_BLOCKED = frozenset({0x0002, 0x0011, 0x0031})  # MS ADPCM, IMA ADPCM, GSM 6.10
_MIN_FMT = 14  # the oldest form, WAVEFORMAT, ends before the bits per sample
_UNPADDED_NEIGHBOURS = frozenset({b"fmt ", b"data", b"fact", b"LIST"})


class Stop(Enum):
    """Why the walk ended."""

    DATA = auto()
    """The data chunk was found."""
    END_OF_FILE = auto()
    """The file ends before it."""
    OUT_OF_SIGHT = auto()
    """The file continues, the head does not."""
    BROKEN = auto()
    """What should be a chunk is none."""


@dataclass(slots=True)
class Layout:
    """What stands in front of the audio. Sizes are in bytes, offsets from the start of the file.

    Attributes:
        big_endian: RIFX.
        riff_size: as declared, from ds64 where the form is RF64 or BW64.
        stop: why the walk ended.
        next_offset: where the next chunk should start; for `Stop.DATA`, where the audio starts.
        data_size: as declared, from ds64 where the chunk points there.
        has_fmt: the format fields below were read.
        samples: for each channel, as a fact chunk before the data says; 0 if none does.
        per_block: samples for each channel in one block of a codec that has blocks; 0 if not told.
    """

    big_endian: bool
    riff_size: int
    stop: Stop = Stop.END_OF_FILE
    next_offset: int = 12
    data_size: int = 0
    has_fmt: bool = False
    tag: int = 0
    channels: int = 0
    rate: int = 0
    byte_rate: int = 0
    block: int = 0
    bits: int = 0
    samples: int = 0
    per_block: int = 0


def read_layout(head: bytes, size: int) -> Layout:
    """Walk the chunks of a RIFF file of `size` bytes that starts with `head`, up to its data.

    `head` must hold the 12 bytes of the RIFF header. Never raises on any content.
    """
    big = head[:4] == b"RIFX"
    header, _, _ = _BIG if big else _LITTLE
    layout = Layout(big, header.unpack_from(head)[1])
    is_64 = head[:4] in (b"RF64", b"BW64")
    data_64 = _UNKNOWN_32
    seen = len(head)
    pos = 12
    while True:
        layout.next_offset = pos
        body = pos + 8
        if body > seen:
            layout.stop = Stop.END_OF_FILE if body > size else Stop.OUT_OF_SIGHT
            return layout
        ident, length = header.unpack_from(head, pos)
        if ident == b"data":
            layout.stop, layout.next_offset = Stop.DATA, body
            layout.data_size = data_64 if is_64 and length == _UNKNOWN_32 else length
            return layout
        if ident == b"fmt " and not layout.has_fmt:
            _read_format(layout, head[body : body + min(length, 40)])
        elif ident == b"fact" and length >= 4 and body + 4 <= seen:
            layout.samples = header.unpack_from(head, body - 4)[1]
        elif ident == b"ds64" and is_64 and length >= 16 and body + 16 <= seen:
            layout.riff_size, data_64 = _DS64.unpack_from(head, body)
        elif not _is_ident(ident):
            layout.stop = Stop.BROKEN
            return layout
        pos = _after(head, body, length)


def chunks_fill(head: bytes, start: int, stop: int, *, big_endian: bool) -> bool | None:
    """Whether chunks fill the bytes from `start` to `stop` exactly; None where `head` ends first.

    The pad byte of the last chunk may be missing.
    """
    header = (_BIG if big_endian else _LITTLE)[0]
    pos = start
    while pos < stop:
        if pos + 8 > stop:
            return False
        if pos + 8 > len(head):
            return None
        ident, length = header.unpack_from(head, pos)
        if not _is_ident(ident):
            return False
        if pos + 8 + length == stop:
            return True
        pos += 8 + length + (length & 1)
    return pos == stop


def _read_format(layout: Layout, body: bytes) -> None:
    if len(body) < _MIN_FMT:
        return
    _, fields, word = _BIG if layout.big_endian else _LITTLE
    layout.tag, layout.channels, layout.rate, layout.byte_rate, layout.block = fields.unpack_from(
        body
    )
    if len(body) >= 16:
        layout.bits = word.unpack_from(body, 14)[0]
    if layout.tag in _BLOCKED and len(body) >= 20:
        layout.per_block = word.unpack_from(body, 18)[0]
    if layout.tag == _EXTENSIBLE and len(body) >= 26:
        layout.tag = word.unpack_from(body, 24)[0]  # the sub-format GUID starts with the codec
    layout.has_fmt = True


def _after(head: bytes, body: int, length: int) -> int:
    end = body + length
    # Some writers forget the pad byte; a well-known name right at the end gives them away.
    if length & 1 and head[end : end + 4] not in _UNPADDED_NEIGHBOURS:
        return end + 1
    return end


def _is_ident(ident: bytes) -> bool:
    return ident.isascii() and ident.decode("ascii").isprintable()
