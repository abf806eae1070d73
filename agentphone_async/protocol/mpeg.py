"""Whether bytes begin like MPEG audio (ISO/IEC 11172-3), as recordings sometimes do."""

from __future__ import annotations

__all__ = ["looks_like_mpeg"]


def looks_like_mpeg(head: bytes) -> bool:
    """Whether `head` starts with an ID3v2 tag or with an MPEG layer II or III frame header.

    Layer I is left out on purpose: nobody records calls in it, and its sync word is also the
    byte-order mark of a UTF-16 text.
    """
    if head[:3] == b"ID3":
        return len(head) >= 5 and head[3] != 0xFF and head[4] != 0xFF
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer in (1, 2) and bitrate != 15 and sample_rate != 3
