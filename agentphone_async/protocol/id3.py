"""ID3v2 tags, which may stand before MPEG audio, AAC or FLAC (id3.org, "ID3v2.4.0 structure")."""

from __future__ import annotations

from agentphone_async.protocol.sight import Sight

__all__ = ["audio_start", "looks_like_tag", "tag_size"]

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
