"""Audio that is not WAVE: known by its first bytes, with a length where a few lines can tell it.

Each format is known by its own mark at a fixed place, so text is never taken for one. An ``ID3``
tag proves nothing by itself: MPEG, AAC or FLAC must follow it.

Sources: RFC 9639 (FLAC), RFC 3533 and 7845 (Ogg, Opus), ISO/IEC 14496-12 (MP4), RFC 9559
(Matroska), ISO/IEC 13818-7 (ADTS), ISO/IEC 11172-3 (MPEG audio), "Audio Interchange File Format"
(AIFF, AIFC), RFC 4867 (AMR), "Apple Core Audio Format Specification" (CAF), id3.org (ID3v2).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["EXTENSIONS", "Facts", "look_like", "measure"]

EXTENSIONS = {
    "audio/wav": ".wav",
    "audio/mpeg": ".mp3",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "audio/opus": ".opus",
    "audio/mp4": ".m4a",
    "audio/webm": ".webm",
    "audio/matroska": ".mka",
    "audio/aac": ".aac",
    "audio/aiff": ".aiff",
    "audio/aifc": ".aifc",
    "audio/basic": ".au",
    "audio/w64": ".w64",
    "audio/amr": ".amr",
    "audio/amr-wb": ".awb",
    "audio/x-caf": ".caf",
}
"""The extension of a file for each media type that bytes are judged to have."""

_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_FORMAT = bytes.fromhex("666d7420f3acd3118cd100c04f8edb8a")
_W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
_OGG_CODECS = (b"OpusHead", b"\x01vorbis", b"Speex   ", b"\x7fFLAC")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a format's own header says; None where it does not, or not cheaply."""

    duration_seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None


def look_like(head: bytes, size: float = math.inf) -> str | None:
    """The media type of audio that begins with ``head``; None for everything else.

    WAVE is left to `agentphone_async.protocol.wav`.

    Args:
        head: the first bytes, 64 at least if there are so many.
        size: bytes of the whole, as far as is known.
    """
    for mark, media_type in _MARKS:
        if head.startswith(mark):
            return media_type
    if head.startswith(b"FORM") and head[8:12] in {b"AIFF", b"AIFC"}:
        return f"audio/{head[8:12].decode().lower()}"
    if head[:2] == b"\0\0" and head[4:8] == b"ftyp":
        return None if head[8:12] in _PICTURES else "audio/mp4"
    if head.startswith(b"OggS"):
        return "audio/opus" if b"OpusHead" in head[:128] else "audio/ogg"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "audio/webm" if b"webm" in head[:64] else "audio/matroska"
    if head.startswith(b"ID3"):
        return _behind_tag(head, size)
    return _frames(head)


_MARKS = (
    (b"fLaC", "audio/flac"),
    (b".snd\0\0", "audio/basic"),
    (_W64, "audio/w64"),
    (b"#!AMR-WB\n", "audio/amr-wb"),
    (b"#!AMR\n", "audio/amr"),
    (b"caff\0\1", "audio/x-caf"),
)
_PICTURES = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"crx "})


def _behind_tag(head: bytes, whole: float) -> str | None:
    """What follows an ID3v2 tag; of a tag that goes on beyond what is seen, its first frame."""
    if len(head) < 10 or head[3] not in {2, 3, 4} or head[4] == 0xFF or max(head[6:10]) > 0x7F:
        return None
    size = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    size += 10 if head[5] & 0x10 else 0
    if size >= whole:
        return None
    if size + 4 <= len(head):
        rest = head[size:].lstrip(b"\0")  # padding that the size leaves out
        if rest.startswith(b"fLaC"):
            return "audio/flac"
        return _frames(rest) if rest else "audio/mpeg"
    letters = 3 if head[3] == 2 else 4
    name = head[10 : 10 + letters]
    length = int.from_bytes(head[10 + letters : 10 + 2 * letters])
    is_frame = name.isalnum() and name == name.upper() and length < size
    return "audio/mpeg" if is_frame or not any(head[10:]) else None


def _frames(head: bytes) -> str | None:
    """MPEG audio of layer II or III, or AAC in ADTS frames, by the header of a frame.

    Layer I is left out on purpose: nobody records calls in it, and its sync word is also the
    byte-order mark of a UTF-16 text.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac" if head[2] >> 2 & 15 < 13 else None
    bitrate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    is_mpeg = version != 1 and layer in (1, 2) and bitrate != 15 and sample_rate != 3
    return "audio/mpeg" if is_mpeg else None


def measure(media_type: str, head: bytes, tail: bytes, size: int) -> Facts:
    """What the header says about length, rate and channels.

    Args:
        media_type: as `look_like` gave it.
        head: the first bytes.
        tail: the last bytes.
        size: bytes of the whole.

    Never raises, whatever the bytes are.
    """
    reader = _READERS.get(media_type)
    if reader is None:
        return Facts()
    try:
        facts = reader(head, tail, size)
    except (struct.error, IndexError, ValueError, OverflowError, ZeroDivisionError):
        return Facts()
    seconds = facts.duration_seconds
    if seconds is not None and not 0 < seconds < 1e9:
        return Facts(None, facts.sample_rate, facts.channels)
    return facts


def _flac(head: bytes, _: bytes, __: int) -> Facts:
    bits = int.from_bytes(head[18:26])  # of STREAMINFO, which is always the first block
    rate, channels, samples = bits >> 44, (bits >> 41 & 7) + 1, bits & (1 << 36) - 1
    return Facts(samples / rate if samples else None, rate, channels)


def _ogg(head: bytes, tail: bytes, _: int) -> Facts:
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
        return _flac(head[codec + 9 :], b"", 0)
    last = tail.rfind(b"OggS")
    granule = struct.unpack_from("<q", tail, last + 6)[0] if last >= 0 else -1
    return Facts((granule - skip) / rate if granule > skip else None, rate, channels)


def _mp4(head: bytes, tail: bytes, _: int) -> Facts:
    for part in (head, tail):
        at = part.find(b"mvhd")
        if at >= 0:
            layout = ">16xIQ" if part[at + 4] == 1 else ">8xII"
            scale, length = struct.unpack_from(layout, part, at + 8)
            return Facts(length / scale)
    return Facts()


def _matroska(head: bytes, _: bytes, __: int) -> Facts:
    scale = 1_000_000
    if (at := head.find(b"\x2a\xd7\xb1")) >= 0:
        scale = int.from_bytes(head[at + 4 : at + 4 + (head[at + 3] & 7)])
    seconds = None
    if (at := head.find(b"\x44\x89")) >= 0 and head[at + 2] in {0x84, 0x88}:
        layout = ">f" if head[at + 2] == 0x84 else ">d"
        seconds = struct.unpack_from(layout, head, at + 3)[0] * scale / 1e9
    return Facts(seconds)


def _aiff(head: bytes, _: bytes, __: int) -> Facts:
    at = head.index(b"COMM")
    channels, frames, _bits, exponent, mantissa = struct.unpack_from(">HIHHQ", head, at + 8)
    rate = mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63)
    return Facts(frames / rate, round(rate), channels)


_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


def _au(head: bytes, _: bytes, size: int) -> Facts:
    start, length, coding, rate, channels = struct.unpack_from(">5I", head, 4)
    there = size - start
    frames = min(there, length or there) // (_AU_BYTES.get(coding, 0) * channels)
    return Facts(frames / rate, rate, channels)


def _w64(head: bytes, _: bytes, size: int) -> Facts:
    at, data = head.index(_W64_FORMAT), head.index(_W64_DATA)
    _tag, channels, rate, per_second = struct.unpack_from("<HHII", head, at + 24)
    length = struct.unpack_from("<Q", head, data + 16)[0] - 24
    return Facts(min(length, size - data - 24) / per_second, rate, channels)


def _caf(head: bytes, _: bytes, size: int) -> Facts:
    at, data = head.index(b"desc"), head.find(b"data")
    rate, _flags, packet, frames, channels = struct.unpack_from(">d4xIIII", head, at + 12)
    seconds = None
    if packet and data >= 0:
        length = struct.unpack_from(">q", head, data + 4)[0]
        there = size - data - 12
        length = there if length < 0 else min(length, there)
        seconds = (length - 4) // packet * frames / rate
    return Facts(seconds, round(rate), channels)


_READERS: dict[str, Callable[[bytes, bytes, int], Facts]] = {
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
