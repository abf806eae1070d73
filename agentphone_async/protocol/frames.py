"""Audio that is a row of frames, each with a header: MPEG audio, AAC in ADTS, AMR.

Such a file says nowhere how long it is (MPEG may, in its first frame), so its frames are counted:
all of them if all are seen; else their number follows from the size, if all are alike. Where
neither holds, there is no honest answer.

Sources: ISO/IEC 11172-3 and 13818-3 (MPEG audio), ISO/IEC 13818-7 (ADTS), RFC 4867 (AMR), "VBR
headers" as LAME and Fraunhofer write them (Xing, Info, VBRI).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple


class OutOfSightError(ValueError):
    """Bytes that nobody has kept, or that do not exist."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The bytes of a body that can still be looked at.

    Attributes:
        head: the first bytes.
        tail: the last bytes; may be empty, and may overlap ``head``.
        size: bytes of the whole.
    """

    head: bytes
    tail: bytes
    size: int

    @property
    def ends_with_tag(self) -> bool:
        """Whether the last 128 bytes are an ID3v1 tag."""
        last = self.tail or (self.head if len(self.head) == self.size else b"")
        return last[-128:-125] == b"TAG"

    @property
    def _tail_at(self) -> int:
        return self.size - len(self.tail)

    def at(self, offset: int, length: int) -> bytes:
        """So many bytes from ``offset`` on.

        Raises:
            OutOfSightError: they are not seen.
        """
        end = offset + length
        if offset >= 0 and end <= len(self.head):
            return self.head[offset:end]
        start = self._tail_at
        if start <= offset and end <= self.size:
            return self.tail[offset - start : end - start]
        raise OutOfSightError(f"{length} bytes at {offset} of {self.size}")

    def until(self, offset: int, most: int) -> bytes:
        """Up to ``most`` bytes from ``offset`` on, as far as they are seen."""
        if 0 <= offset < len(self.head):
            return self.head[offset : offset + most]
        start = self._tail_at
        return self.tail[offset - start :][:most] if start <= offset else b""


MOST = 30_000
"""Frames that are counted at most (some 30 ms); more of one length are computed."""

_ENOUGH = 10
"""Frames of one rate that speak for those that are not seen."""


class Frame(NamedTuple):
    """What the header of one frame says.

    Attributes:
        size: bytes of the frame, header included.
        samples: for each channel.
        rate: samples a second.
        channels: 1 is mono.
        bytes_per_second: of frames like this one; None if the next ones are not like it.
    """

    size: int
    samples: int
    rate: int
    channels: int
    bytes_per_second: float | None


_BITRATES = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 0): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by (version, layer); MPEG 2 and 2.5 have one table for both layers."""

_MPEG_RATES = (44_100, 48_000, 32_000)
_ADTS_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000,
               11_025, 8_000, 7_350)  # fmt: skip


def mpeg_frame(head: bytes) -> Frame | None:
    """A frame of layer II or III from its first 4 bytes; None if it is none.

    Layer I is left out on purpose: nobody records calls in it, and its sync word is also the
    byte-order mark of a UTF-16 text.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)  # version 3 is MPEG 1, 0 is 2.5
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer not in {2, 3} or bitrate == 15 or rate == 3:
        return None
    channels = 1 if head[3] >> 6 == 3 else 2
    hertz = _MPEG_RATES[rate] >> (0 if version == 3 else 1 if version == 2 else 2)
    samples = 576 if layer == 3 and version != 3 else 1152
    if not bitrate:
        return Frame(0, samples, hertz, channels, None)  # "free format": of any length
    per_second = _BITRATES[(1, layer) if version == 3 else (2, 0)][bitrate - 1] * 125
    size = samples * per_second // hertz + (head[2] >> 1 & 1)
    return Frame(size, samples, hertz, channels, per_second)


def adts_frame(head: bytes) -> Frame | None:
    """A frame of AAC from its first 7 bytes; of size 0 if it does not say its size in them."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return None
    channels = (head[2] & 1) << 2 | head[3] >> 6
    rate = _ADTS_RATES[head[2] >> 2 & 15]
    if len(head) < 7:
        return Frame(0, 1024, rate, channels, None)
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return Frame(size if size > 7 else 0, 1024 * ((head[6] & 3) + 1), rate, channels, None)


def _amr_frame(sizes: tuple[int, ...], rate: int, head: bytes) -> Frame | None:
    if not head or head[0] & 0x83:
        return None
    kind = head[0] >> 3 & 15
    size = 1 + (sizes[kind] if kind < len(sizes) else 0)
    return Frame(size, rate // 50, rate, 1, size * 50.0)


amr_frame = partial(_amr_frame, (12, 13, 15, 17, 19, 20, 26, 31, 5), 8_000)
"""A frame of 20 ms of narrow-band AMR from its first byte."""

amr_wb_frame = partial(_amr_frame, (17, 23, 32, 36, 40, 46, 50, 58, 60, 5), 16_000)
"""The same of wide-band AMR."""


def row_seconds(
    sight: Sight, start: int, parse: Callable[[bytes], Frame | None], header: int
) -> float | None:
    """Seconds in all frames from ``start`` to the end; None if that cannot be told.

    Args:
        sight: what is seen of the file.
        start: where the first frame begins.
        parse: reads a frame's header.
        header: bytes of one.
    """
    end = sight.size - (128 if sight.ends_with_tag else 0)
    paces: set[float | None] = set()
    seconds, pos, count = 0.0, start, 0
    try:
        while pos + header <= end and count < MOST:
            frame = parse(sight.at(pos, header))
            if frame is None or not frame.size:
                return None
            count += 1
            pos += frame.size
            seconds += frame.samples / frame.rate
            paces.add(frame.bytes_per_second)
    except OutOfSightError:
        pass
    if pos + header > end:
        return seconds or None
    alike = count >= _ENOUGH and len(paces) == 1
    pace = paces.pop() if alike else None
    return None if pace is None else (end - start) / pace


def vbr_seconds(sight: Sight, start: int) -> float | None:
    """What the first frame of an MPEG file says about the whole of it, in a Xing or VBRI header."""
    head = sight.at(start, 4)
    first = mpeg_frame(head)
    if first is None:
        return None
    mpeg_1 = head[1] >> 3 & 3 == 3
    side = (17 if first.channels == 1 else 32) if mpeg_1 else (9 if first.channels == 1 else 17)
    try:
        xing = sight.at(start + 4 + side, 12)
        vbri = sight.at(start + 36, 18)
        lame = sight.until(start + 4 + side + 120, 24)
    except OutOfSightError:
        return None
    samples = 0
    if xing[:4] in {b"Xing", b"Info"} and xing[7] & 1:
        samples = int.from_bytes(xing[8:]) * first.samples
        if lame[:4] in {b"LAME", b"Lavc", b"Lavf"}:  # the silence that the encoder put around
            silence = int.from_bytes(lame[21:24])
            samples -= (silence >> 12) + (silence & 0xFFF)
    elif vbri[:4] == b"VBRI":
        samples = int.from_bytes(vbri[14:]) * first.samples
    return samples / first.rate if samples > 0 else None
