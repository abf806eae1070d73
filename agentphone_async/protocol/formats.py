"""Audio that is not WAVE, known by its first bytes.

Each format is known by its own mark at a fixed place, so text is never taken for one. An ``ID3``
tag proves nothing by itself: MPEG, AAC or FLAC must follow it.

Sources: RFC 9639 (FLAC), RFC 3533 and 7845 (Ogg, Opus), ISO/IEC 14496-12 (MP4), RFC 9559
(Matroska), ISO/IEC 13818-7 (ADTS), ISO/IEC 11172-3 (MPEG audio), "Audio Interchange File Format"
(AIFF, AIFC), RFC 4867 (AMR), "Apple Core Audio Format Specification" (CAF), id3.org (ID3v2).
"""

from __future__ import annotations

import math

from agentphone_async.protocol.frames import Sight, adts_frame, mpeg_frame

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
    "audio/x-ms-wma": ".wma",
}
"""The extension of a file for each media type that bytes are judged to have."""

_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")


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
    (bytes.fromhex("3026b2758e66cf11"), "audio/x-ms-wma"),
)
_PICTURES = frozenset({b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"crx "})


def _behind_tag(head: bytes, whole: float) -> str | None:
    """What follows an ID3v2 tag; of a tag that continues beyond what is seen, its first frame."""
    size = tag_size(head)
    if size is None or size >= whole:
        return None
    if size + 4 > len(head):
        return "audio/mpeg" if looks_like_tag(head, size) else None
    rest = head[size:].lstrip(b"\0")  # padding that the size leaves out
    if rest.startswith((b"fLaC", b"ID3")):
        return look_like(rest, whole - (len(head) - len(rest)))
    return _frames(rest) if rest else "audio/mpeg"


def _frames(head: bytes) -> str | None:
    if adts_frame(head) is not None:
        return "audio/aac"
    return None if mpeg_frame(head) is None else "audio/mpeg"


_PADDING = 4096
"""Zero bytes after a tag that its size leaves out; so many are skipped."""


def tag_size(head: bytes) -> int | None:
    """Bytes of the tag that begins here, its header included; None if there is none."""
    if (
        not head.startswith(b"ID3")
        or len(head) < 10
        or head[3] not in {2, 3, 4}
        or head[4] == 0xFF
        or max(head[6:10]) > 0x7F
    ):
        return None
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def looks_like_tag(head: bytes, size: int) -> bool:
    """Whether the beginning of a tag is sound as far as it is seen: by its first frame."""
    letters = 3 if head[3] == 2 else 4
    name = head[10 : 10 + letters]
    length = int.from_bytes(head[10 + letters : 10 + 2 * letters])
    return (name.isalnum() and name == name.upper() and length < size) or not any(head[10:])


def audio_start(sight: Sight) -> int:
    """Where the audio begins, behind any number of tags and their padding."""
    start = 0
    while (size := tag_size(sight.until(start, 10))) is not None:
        start += size
    if not start:
        return 0
    beyond = sight.until(start, _PADDING)
    return start + len(beyond) - len(beyond.lstrip(b"\0"))
