"""What a WAVE file is, told from its first bytes and its length alone.

A recording that ends early is not always reported by HTTP (a body with neither a length nor
chunking just stops), so the sizes that a WAVE file carries inside are the last witness. The
invariant of this module: **a file whose header promises more bytes than there are is never called
whole.** When in doubt it errs on that side.

Sources: "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, RIFX), RFC 2361
(codec numbers), EBU Tech 3306 and ITU-R BS.2088 (RF64, BW64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
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

HEAD_SIZE = 65_536
"""How many bytes of a file `inspect` is meant to see: enough for every header met in practice."""


class Verdict(Enum):
    """What the header and the length say together."""

    WHOLE = "whole"
    """Every byte that the header promises is there, and no other."""
    ODD_PAD = "odd_pad"
    """Whole, but for the pad byte that should follow an odd number of audio bytes."""
    STREAMED = "streamed"
    """Sound structure from a writer that did not know the length; only HTTP can tell the rest."""
    TRUNCATED = "truncated"
    """The header promises more bytes than there are."""
    SURPLUS = "surplus"
    """Bytes follow that no chunk accounts for."""
    HEADER_ONLY = "header_only"
    """A WAVE header without a single frame of audio."""
    NOT_WAVE = "not_wave"
    """Nothing that a player could make sense of as WAVE."""


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
class Header:
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

    big_endian: bool = False
    riff_size: int = 0
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


@dataclass(frozen=True, slots=True)
class WaveFacts:
    """What `inspect` found.

    Attributes:
        verdict: the judgement.
        reason: one harmless line that explains it; it never quotes bytes from the file.
        header: what stands in front of the audio.
        is_audio: the format was understood and at least one audio frame is there.
        duration_seconds: of the audio bytes that are actually there.
    """

    verdict: Verdict
    reason: str
    header: Header = field(default_factory=Header)
    is_audio: bool = False
    duration_seconds: float | None = None


_FRAMED = frozenset({0x0001, 0x0003, 0x0006, 0x0007})  # their frames all have the same size


def inspect(head: bytes, size: int) -> WaveFacts:
    """Classify a file of `size` bytes that starts with `head`.

    Args:
        head: the first bytes of the file, ideally `HEAD_SIZE` of them or all there are.
        size: the length of the whole file, in bytes.

    Chunks that lie beyond `head` are judged by the RIFF size and `size` alone. Cheap (a few
    microseconds for the usual 44-byte header) and total: it never raises, whatever the bytes.
    """
    head = bytes(head[: max(size, 0)])
    if head[:4] not in FORMS or head[8:12] != b"WAVE":
        return _without_form(head, size)
    header = _read_header(head, size)
    if header.stop is Stop.DATA:
        return _with_data(head, size, header)
    return _without_data(size, header)


def _without_form(head: bytes, size: int) -> WaveFacts:
    if head[:4] in FORMS and len(head) == size < 12 and b"WAVE".startswith(head[8:]):
        return WaveFacts(Verdict.TRUNCATED, "the file ends inside its RIFF header")
    return WaveFacts(Verdict.NOT_WAVE, "there is no RIFF/WAVE header" if head else "it is empty")


def _without_data(size: int, header: Header) -> WaveFacts:
    """The walk ended before the audio was met."""
    riff_end = _riff_end(header, size)
    missing = max(riff_end or 0, header.next_offset) - size
    has_format = _is_playable(header)
    if header.stop is Stop.BROKEN:
        verdict, reason = Verdict.NOT_WAVE, "the chunk list is broken before the audio"
    elif header.stop is Stop.END_OF_FILE and missing > 0:
        verdict, reason = Verdict.TRUNCATED, f"{missing} bytes are missing, the audio among them"
    elif header.stop is Stop.END_OF_FILE and header.next_offset < size and riff_end is None:
        verdict, reason = Verdict.TRUNCATED, "the file ends inside a chunk header"
    elif header.stop is Stop.END_OF_FILE:
        verdict = Verdict.HEADER_ONLY if has_format else Verdict.NOT_WAVE
        reason = "there is no data chunk"
    elif riff_end is None:
        verdict, reason = Verdict.STREAMED, "the audio lies beyond the head; no RIFF size is given"
    elif riff_end != size:
        verdict = Verdict.TRUNCATED if riff_end > size else Verdict.SURPLUS
        reason = f"the RIFF header promises {riff_end} bytes, {size} are there"
    elif not has_format:
        verdict, reason = Verdict.STREAMED, "neither the format nor the audio is within the head"
    else:
        verdict, reason = Verdict.WHOLE, "the RIFF size is right; the audio lies beyond the head"
    is_audio = has_format and header.stop is Stop.OUT_OF_SIGHT
    return WaveFacts(verdict, reason, header, is_audio)


def _with_data(head: bytes, size: int, header: Header) -> WaveFacts:
    if not _is_playable(header):
        return WaveFacts(Verdict.NOT_WAVE, "no usable fmt chunk comes before the audio", header)
    declared, present = header.data_size, size - header.next_offset
    if declared == 0 or _is_placeholder(declared, present):
        verdict, reason = _judge_streamed(head, size, header)
        if verdict is Verdict.HEADER_ONLY:
            present = 0
    else:
        present = min(present, declared)
        verdict, reason = _judge(head, size, header)
    duration, has_frame = _duration(header, present)
    if not has_frame and verdict not in (Verdict.TRUNCATED, Verdict.SURPLUS):
        verdict, reason = Verdict.HEADER_ONLY, "the header is followed by no audio frame"
    return WaveFacts(verdict, reason, header, has_frame, duration)


def _judge(head: bytes, size: int, header: Header) -> tuple[Verdict, str]:
    """The data chunk declares a believable size."""
    end = header.next_offset + header.data_size
    if end > size:
        return Verdict.TRUNCATED, f"{end - size} of {header.data_size} audio bytes are missing"
    odd = header.data_size & 1
    riff_end = _riff_end(header, size)
    unpadded = odd and end == size
    if riff_end is not None and riff_end > size and not (unpadded and riff_end == size + 1):
        return (
            Verdict.TRUNCATED,
            f"{riff_end - size} bytes that should follow the audio are missing",
        )
    if unpadded:
        return Verdict.ODD_PAD, "only the pad byte after the audio is missing"
    if end + odd == size:
        return Verdict.WHOLE, "all audio is there"
    return _judge_tail(head, size, header, riff_end)


def _judge_tail(
    head: bytes, size: int, header: Header, riff_end: int | None
) -> tuple[Verdict, str]:
    """More than a pad byte follows the audio."""
    end = header.next_offset + header.data_size
    odd = header.data_size & 1
    vouched = riff_end is not None and riff_end in (size, size - (header.riff_size & 1))
    filled = _chunks_fill(head, end + odd, size, big_endian=header.big_endian)
    if filled or (filled is None and vouched):
        return Verdict.WHOLE, "all audio is there, and chunks follow it"
    if odd and _chunks_fill(head, end, size, big_endian=header.big_endian):
        return Verdict.ODD_PAD, "chunks follow the audio without the pad byte"
    return Verdict.SURPLUS, f"{size - end} bytes follow the audio that are not chunks"


def _judge_streamed(head: bytes, size: int, header: Header) -> tuple[Verdict, str]:
    """The data chunk declares nothing (0), or as much as its field can hold."""
    offset = header.next_offset
    riff_end = _riff_end(header, size)
    if riff_end is not None and riff_end > size:
        return Verdict.TRUNCATED, f"{riff_end - size} of the bytes that RIFF promises are missing"
    if riff_end is not None and riff_end > offset:
        # Nothing was declared, but RIFF knows the end: an empty recording with chunks behind it?
        if header.data_size == 0 and _chunks_fill(
            head, offset, riff_end, big_endian=header.big_endian
        ):
            return Verdict.HEADER_ONLY, "the data chunk is empty"
        if riff_end < size:
            return Verdict.SURPLUS, f"{size - riff_end} bytes follow the end that RIFF declares"
    return Verdict.STREAMED, "the writer did not know how much audio would follow"


def _riff_end(header: Header, size: int) -> int | None:
    """Where the RIFF header says that the file ends, or None if it does not really say it."""
    declared = header.riff_size
    if declared == 0 or _is_placeholder(declared, size - 8):
        return None
    return declared + 8


def _is_placeholder(declared: int, there: int) -> bool:
    """Whether `declared`, which more than `there` is, stands for "as long as it takes".

    Seen in the wild: all ones (ffmpeg, speech services), the largest signed number or a round one
    near it (arecord, sox), each with or without the length of the header taken off or added.
    """
    return declared > there and (
        0xFFFFFF00 <= declared <= 0xFFFFFFFF
        or 0x7FFFF000 <= declared <= 0x80000100
        or declared >= 0x7FFFFFFFFFFFFF00
    )


def _is_playable(header: Header) -> bool:
    return header.has_fmt and header.channels > 0 and header.rate > 0


def _duration(header: Header, present: int) -> tuple[float | None, bool]:
    """Seconds in `present` bytes of audio, and whether they make up a frame at all."""
    frame = header.block
    if header.tag in _FRAMED:
        frame = header.channels * ((header.bits + 7) >> 3) or frame
        if frame:
            return (present // frame) / header.rate, present >= frame
    samples = header.samples
    if 0 < samples < 0x7FFFF000 and not _is_placeholder(header.data_size, present):
        # Writers get the byte rate of a codec wrong more often than the number of samples.
        seconds: float | None = samples / header.rate
        if header.data_size > present:
            seconds = samples * present / header.data_size / header.rate
    elif header.per_block and frame:
        seconds = present // frame * header.per_block / header.rate
    else:
        seconds = present / header.byte_rate if header.byte_rate else None
    return seconds, present >= max(frame, 1)


def _read_header(head: bytes, size: int) -> Header:
    """Walk the chunks of a RIFF file of `size` bytes that starts with `head`, up to its data.

    `head` must hold the 12 bytes of the RIFF header. Never raises on any content.
    """
    big = head[:4] == b"RIFX"
    chunk, _, _ = _BIG if big else _LITTLE
    header = Header(big, chunk.unpack_from(head)[1])
    is_64 = head[:4] in (b"RF64", b"BW64")
    data_64 = _UNKNOWN_32
    seen = len(head)
    pos = 12
    while True:
        header.next_offset = pos
        body = pos + 8
        if body > seen:
            header.stop = Stop.END_OF_FILE if body > size else Stop.OUT_OF_SIGHT
            return header
        ident, length = chunk.unpack_from(head, pos)
        if ident == b"data":
            header.stop, header.next_offset = Stop.DATA, body
            header.data_size = data_64 if is_64 and length == _UNKNOWN_32 else length
            return header
        if ident == b"fmt " and not header.has_fmt:
            _read_format(header, head[body : body + min(length, 40)])
        elif ident == b"fact" and length >= 4 and body + 4 <= seen:
            header.samples = chunk.unpack_from(head, body - 4)[1]
        elif ident == b"ds64" and is_64 and length >= 16 and body + 16 <= seen:
            header.riff_size, data_64 = _DS64.unpack_from(head, body)
        elif not _is_ident(ident):
            header.stop = Stop.BROKEN
            return header
        pos = _after(head, body, length)


def _chunks_fill(head: bytes, start: int, stop: int, *, big_endian: bool) -> bool | None:
    """Whether chunks fill the bytes from `start` to `stop` exactly; None where `head` ends first.

    The pad byte of the last chunk may be missing.
    """
    chunk = (_BIG if big_endian else _LITTLE)[0]
    pos = start
    while pos < stop:
        if pos + 8 > stop:
            return False
        if pos + 8 > len(head):
            return None
        ident, length = chunk.unpack_from(head, pos)
        if not _is_ident(ident):
            return False
        if pos + 8 + length == stop:
            return True
        pos += 8 + length + (length & 1)
    return pos == stop


def _read_format(header: Header, body: bytes) -> None:
    if len(body) < _MIN_FMT:
        return
    _, fields, word = _BIG if header.big_endian else _LITTLE
    header.tag, header.channels, header.rate, header.byte_rate, header.block = fields.unpack_from(
        body
    )
    if len(body) >= 16:
        header.bits = word.unpack_from(body, 14)[0]
    if header.tag in _BLOCKED and len(body) >= 20:
        header.per_block = word.unpack_from(body, 18)[0]
    if header.tag == _EXTENSIBLE and len(body) >= 26:
        header.tag = word.unpack_from(body, 24)[0]  # the sub-format GUID starts with the codec
    header.has_fmt = True


def _after(head: bytes, body: int, length: int) -> int:
    end = body + length
    # Some writers forget the pad byte; a well-known name right at the end gives them away.
    if length & 1 and head[end : end + 4] not in _UNPADDED_NEIGHBOURS:
        return end + 1
    return end


def _is_ident(ident: bytes) -> bool:
    return ident.isascii() and ident.decode("ascii").isprintable()
