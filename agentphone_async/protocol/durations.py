"""How long audio is that is not WAVE, as far as its own bytes tell it.

Sources: RFC 9639 (FLAC), RFC 3533 and 7845 (Ogg, Opus), ISO/IEC 14496-12 (MP4), RFC 9559
(Matroska), "Audio Interchange File Format" (AIFF, AIFC), "Apple Core Audio Format Specification"
(CAF); for MPEG audio, AAC and AMR see `agentphone_async.protocol.frames`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from agentphone_async.protocol.formats import audio_start
from agentphone_async.protocol.frames import (
    Frame,
    Sight,
    adts_frame,
    amr_frame,
    amr_wb_frame,
    mpeg_frame,
    row_seconds,
    vbr_seconds,
)

_W64_FORMAT = bytes.fromhex("666d7420f3acd3118cd100c04f8edb8a")
_W64_FACT = bytes.fromhex("66616374f3acd3118cd100c04f8edb8a")
_W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
_OGG_CODECS = (b"OpusHead", b"\x01vorbis", b"Speex   ", b"\x7fFLAC")
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_AIFC_SAMPLES = {b"ima4": 64, b"GSM ": 160, b"MAC3": 6, b"MAC6": 6}
"""Samples in what AIFC calls a sample frame, for codecs where it is more than one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a format's own header says; None where it does not, or not cheaply."""

    duration_seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


def measure(media_type: str, head: bytes, tail: bytes, size: int) -> Facts:
    """Length, rate and channels.

    Args:
        media_type: as `look_like` gave it.
        head: the first bytes, all of them if they are at hand.
        tail: the last bytes; may be empty.
        size: bytes of the whole.

    Never raises, whatever the bytes are.
    """
    reader = _READERS.get(media_type)
    if reader is None:
        return Facts()
    try:
        facts = reader(Sight(head, tail, size))
    except (struct.error, LookupError, ValueError, ArithmeticError, StopIteration):
        return Facts()
    seconds = facts.duration_seconds
    if seconds is not None and not 0 < seconds < 1e9:
        return Facts(None, facts.sample_rate, facts.channels)
    return facts


def _frames(
    parse: Callable[[bytes], Frame | None], header: int, mark: bytes, sight: Sight
) -> Facts:
    start = len(mark) or audio_start(sight)
    first = parse(sight.until(start, header))
    if first is None:
        return Facts()
    told = vbr_seconds(sight, start) if parse is mpeg_frame else None
    seconds = told or row_seconds(sight, start, parse, header)
    return Facts(seconds, first.rate, first.channels or None)


def _flac(sight: Sight) -> Facts:
    return _stream_info(sight.at(audio_start(sight) + 18, 8))


def _stream_info(fields: bytes) -> Facts:
    bits = int.from_bytes(fields)  # of STREAMINFO, which is always FLAC's first block
    rate, channels, samples = bits >> 44, (bits >> 41 & 7) + 1, bits & (1 << 36) - 1
    return Facts(samples / rate if samples else None, rate, channels)


def _ogg(sight: Sight) -> Facts:
    head = sight.head
    codec = min((at for mark in _OGG_CODECS if (at := head.find(mark, 0, 512)) >= 0), default=None)
    if codec is None:
        return Facts()
    mark = head[codec : codec + 8]
    skip = 0
    if mark == b"OpusHead":
        channels, skip = struct.unpack_from("<BH", head, codec + 9)
        rate = 48_000
    elif mark[:7] == b"\x01vorbis":
        channels, rate = struct.unpack_from("<BI", head, codec + 11)
    elif mark == b"Speex   ":
        rate, _mode, _bits, channels = struct.unpack_from("<4I", head, codec + 36)
    else:
        facts = _stream_info(head[codec + 27 : codec + 35])
        if facts.duration_seconds is not None:
            return facts
        rate, channels = facts.sample_rate or 0, facts.channels or 0
    return Facts(_last_granule(sight, skip, rate), rate, channels)


def _last_granule(sight: Sight, skip: int, rate: int) -> float | None:
    """Seconds up to the last page that says where it ends; those that end no packet say -1."""
    last = sight.tail or (sight.head if len(sight.head) == sight.size else b"")
    at = last.rfind(b"OggS")
    while at >= 0:
        granule: int = struct.unpack_from("<q", last, at + 6)[0]
        if granule >= 0:
            return (granule - skip) / rate if granule > skip else None
        at = last.rfind(b"OggS", 0, at)
    return None


def _mp4(sight: Sight) -> Facts:
    for kind, start, stop in _boxes(sight, 0, sight.size):
        if kind == b"moov":
            header = next(at for inner, at, _ in _boxes(sight, start, stop) if inner == b"mvhd")
            if sight.at(header, 1) == b"\x01":
                scale, length = struct.unpack(">IQ", sight.at(header + 20, 12))
            else:
                scale, length = struct.unpack(">II", sight.at(header + 12, 8))
            return Facts(length / scale)
    return Facts()


def _boxes(sight: Sight, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the content of each box."""
    while start + 8 <= stop:
        size, kind = struct.unpack(">I4s", sight.at(start, 8))
        header = 8
        if size == 1:
            size, header = int.from_bytes(sight.at(start + 8, 8)), 16
        end = start + size if size else stop
        if end < start + header:
            return
        yield kind, start + header, end
        start = end


_SEGMENT, _INFO, _SCALE, _DURATION = 0x18538067, 0x1549A966, 0x2AD7B1, 0x4489


def _matroska(sight: Sight) -> Facts:
    scale, ticks = 1_000_000, None
    for ident, start, stop in _elements(sight, 0, sight.size):
        if ident != _SEGMENT:
            continue
        for inner, at, end in _elements(sight, start, stop):
            if inner != _INFO:
                continue
            for field, value, until in _elements(sight, at, end):
                content = sight.at(value, until - value)
                if field == _SCALE:
                    scale = int.from_bytes(content)
                elif field == _DURATION:
                    ticks = struct.unpack(">f" if len(content) == 4 else ">d", content)[0]
            return Facts(None if ticks is None else ticks * scale / 1e9)
    return Facts()


def _elements(sight: Sight, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Id, begin and end of the content of each EBML element."""
    while start + 2 <= stop:
        ident, start = _number(sight, start, keep_mark=True)
        size, start = _number(sight, start, keep_mark=False)
        end = stop if size is None else start + size
        if ident is None or end > stop:
            return
        yield ident, start, end
        start = end


def _number(sight: Sight, at: int, *, keep_mark: bool) -> tuple[int | None, int]:
    """A number of 1 to 8 bytes whose length its first bits tell; None stands for "unknown"."""
    first = sight.at(at, 1)[0]
    length = 9 - first.bit_length()
    if length > 8:
        return None, at + 1
    value = int.from_bytes(sight.at(at, length))
    if not keep_mark:
        value &= (1 << 7 * length) - 1
        if value == (1 << 7 * length) - 1:
            return None, at + length
    return value, at + length


def _aiff(sight: Sight) -> Facts:
    pos = 12
    while True:
        ident, length = struct.unpack(">4sI", sight.at(pos, 8))
        if ident == b"COMM":
            break
        pos += 8 + length + (length & 1)
    channels, frames, _bits, exponent, mantissa = struct.unpack(">HIHHQ", sight.at(pos + 8, 18))
    rate = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63)
    packed = _AIFC_SAMPLES.get(sight.until(pos + 26, 4), 1) if length >= 22 else 1
    return Facts(frames * packed / rate, round(rate), channels)


def _au(sight: Sight) -> Facts:
    start, length, coding, rate, channels = struct.unpack_from(">5I", sight.head, 4)
    there = sight.size - start
    frames = min(there, length or there) // (_AU_BYTES.get(coding, 0) * channels)
    return Facts(frames / rate, rate, channels)


def _w64(sight: Sight) -> Facts:
    head = sight.head
    at, data = head.index(_W64_FORMAT), head.index(_W64_DATA)
    tag, channels, rate, per_second, block = struct.unpack_from("<HHIIH", head, at + 24)
    length = min(struct.unpack_from("<Q", head, data + 16)[0] - 24, sight.size - data - 24)
    fact = head.find(_W64_FACT, 0, data)
    if tag not in {1, 3, 6, 7} and fact >= 0:
        return Facts(struct.unpack_from("<Q", head, fact + 24)[0] / rate, rate, channels)
    if tag in {1, 3, 6, 7} and block:
        per_second = block * rate
    return Facts(length / per_second, rate, channels)


def _caf(sight: Sight) -> Facts:
    head, size = sight.head, sight.size
    at, data = head.index(b"desc"), head.find(b"data")
    rate, _flags, packet, frames, channels = struct.unpack_from(">d4xIIII", head, at + 12)
    seconds = None
    if packet and data >= 0:
        length = struct.unpack_from(">q", head, data + 4)[0]
        there = size - data - 12
        length = there if length < 0 else min(length, there)
        seconds = (length - 4) // packet * frames / rate
    return Facts(seconds, round(rate), channels)


_READERS: dict[str, Callable[[Sight], Facts]] = {
    "audio/mpeg": partial(_frames, mpeg_frame, 4, b""),
    "audio/aac": partial(_frames, adts_frame, 7, b""),
    "audio/amr": partial(_frames, amr_frame, 1, b"#!AMR\n"),
    "audio/amr-wb": partial(_frames, amr_wb_frame, 1, b"#!AMR-WB\n"),
    "audio/flac": _flac,
    "audio/ogg": _ogg,
    "audio/opus": _ogg,
    "audio/mp4": _mp4,
    "audio/webm": _matroska,
    "audio/matroska": _matroska,
    "audio/aiff": _aiff,
    "audio/aifc": _aiff,
    "audio/basic": _au,
    "audio/w64": _w64,
    "audio/x-caf": _caf,
}
