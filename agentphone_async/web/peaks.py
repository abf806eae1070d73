"""How loud a recording is, from one end to the other: enough of it to draw.

Long recordings are sampled: of each piece that becomes one line of the drawing, a part is read.
Of one that is far away, in a bucket, fewer.
Blocking, for a thread.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from agentphone_async.protocol import wav

PIECES = 600
"""Lines in the drawing."""

_HEAD = 64 * 1024
_FRAMES = 400
"""Frames that are looked at in each piece."""

_PCM, _FLOAT, _A_LAW, _MU_LAW = 1, 3, 6, 7

FAR_PIECES = 100
"""The same of a long recording of which each part costs a request."""

Read = Callable[[Sequence[tuple[int, int]]], list[bytes]]
"""Some bytes from each offset: ``read([(offset, count), …])``."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Of each channel, the loudness of each piece from 0 to 255."""

    channels: list[list[int]]


def peaks_of(read: Read, size: int, most: int = PIECES) -> Peaks | None:
    """The peaks of a WAVE file; None if it is none, or in a coding that is not read here."""
    facts = wav.inspect(read([(0, min(size, _HEAD))])[0], size)
    header, offset = facts.header, facts.header.next_offset
    channels, bits = header.channels, header.bits
    if not facts.is_audio or not bits or header.stop is not wav.Stop.DATA or channels > 8:
        return None
    loudness = _reader(header.tag, bits)
    if loudness is None:
        return None
    frame = channels * bits // 8
    there = max(0, size - offset)
    frames = min(header.data_size or there, there) // frame
    if not frames:
        return None
    pieces = min(most, frames)
    ends = [piece * frames // pieces for piece in range(pieces + 1)]
    counts = [min(last - first, _FRAMES) for first, last in pairwise(ends)]
    starts = [offset + first * frame for first in ends]
    parts = read([(start, count * frame) for start, count in zip(starts, counts, strict=False)])
    found: list[list[int]] = [[] for _ in range(channels)]
    for part in parts:
        data = part[: len(part) // frame * frame]
        for channel in range(channels):
            found[channel].append(loudness(data, channel, channels))
    return Peaks(found)


Loudness = Callable[[bytes, int, int], int]


def _reader(tag: int, bits: int) -> Loudness | None:
    if tag == _MU_LAW and bits == 8:
        return _by_table(bytes(_mu_law(code) for code in range(256)))
    if tag == _A_LAW and bits == 8:
        return _by_table(bytes(_a_law(code) for code in range(256)))
    if tag == _PCM and bits == 8:
        return _by_table(bytes(min(255, abs(code - 128) * 2) for code in range(256)))
    if tag == _PCM and bits == 24:
        return _top_byte
    kinds = {(_PCM, 16): ("h", 1 / 128), (_PCM, 32): ("i", 2**-23), (_FLOAT, 32): ("f", 255.0)}
    kind = kinds.get((tag or 0, bits))
    return None if kind is None else _by_numbers(*kind)


def _by_table(table: bytes) -> Loudness:
    return lambda data, channel, step: max(data[channel::step].translate(table), default=0)


def _top_byte(data: bytes, channel: int, step: int) -> int:
    highest = data[channel * 3 + 2 :: step * 3]
    return max((abs(code - 256 if code > 127 else code) * 2 for code in highest), default=0)


def _by_numbers(code: str, scale: float) -> Loudness:
    def loudness(data: bytes, channel: int, step: int) -> int:
        numbers = array(code)
        numbers.frombytes(data)
        if sys.byteorder == "big":
            numbers.byteswap()
        mine = numbers[channel::step]
        if not mine:
            return 0
        loudest = max(abs(max(mine)), abs(min(mine))) * scale
        return min(255, int(loudest)) if loudest == loudest else 0  # noqa: PLR0124 - not a number

    return loudness


def _mu_law(code: int) -> int:
    """ITU-T G.711, table 2a, as a loudness."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return min(255, magnitude >> 7)


def _a_law(code: int) -> int:
    """ITU-T G.711, table 1a, as a loudness."""
    code ^= 0x55
    exponent, mantissa = code >> 4 & 7, (code & 0x0F) << 4
    magnitude = mantissa + 8 if not exponent else mantissa + 0x108 << exponent - 1
    return min(255, magnitude >> 7)
