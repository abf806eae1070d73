"""What a WAVE file is, told from its first bytes and its length alone.

A recording that ends early is not always reported by HTTP (a body with neither a length nor
chunking just stops), so the sizes that a WAVE file carries inside are the last witness. The
invariant of this module: **a file whose header promises more bytes than there are is never called
whole.** When in doubt it errs on that side; `WaveFacts.audio_complete` tells whether what is
missing is audio or only what follows it.

Sources: "Multimedia Programming Interface and Data Specifications 1.0" (RIFF WAVE), RFC 2361
(codec numbers), EBU Tech 3306 and ITU-R BS.2088 (RF64, BW64).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from agentphone_async.protocol.riff import FORMS, Layout, Stop, chunks_fill, read_layout

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


@dataclass(frozen=True, slots=True)
class WaveFacts:
    """What `inspect` found. Fields that the head does not tell are None.

    Attributes:
        verdict: the judgement.
        reason: one harmless line that explains it; it never quotes bytes from the file.
        is_audio: the format was understood and at least one audio frame is there.
        sample_rate: frames a second (Hz).
        channels: 1 is mono.
        bits_per_sample: 0 for codecs that have none.
        format_tag: codec number, already looked up inside WAVE_FORMAT_EXTENSIBLE.
        codec: a name for `format_tag`, such as "PCM" or "mu-law".
        duration_seconds: of the audio bytes that are actually there.
        data_offset: where the audio begins, in bytes from the start of the file.
        data_size: bytes of audio that the header declares, however implausible.
        audio_complete: every declared audio byte is there (False where their number is unknown).
    """

    verdict: Verdict
    reason: str
    is_audio: bool = False
    sample_rate: int | None = None
    channels: int | None = None
    bits_per_sample: int | None = None
    format_tag: int | None = None
    codec: str | None = None
    duration_seconds: float | None = None
    data_offset: int | None = None
    data_size: int | None = None
    audio_complete: bool = False


_CODECS = {
    0x0001: "PCM",
    0x0002: "MS ADPCM",
    0x0003: "IEEE float",
    0x0006: "A-law",
    0x0007: "mu-law",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0040: "G.721 ADPCM",
    0x0050: "MPEG",
    0x0055: "MP3",
    0x0064: "G.726 ADPCM",
    0x0065: "G.722 ADPCM",
}
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
    layout = read_layout(head, size)
    if layout.stop is Stop.DATA:
        return _with_data(head, size, layout)
    return _without_data(size, layout)


def _without_form(head: bytes, size: int) -> WaveFacts:
    if head[:4] in FORMS and len(head) == size < 12 and b"WAVE".startswith(head[8:]):
        return WaveFacts(Verdict.TRUNCATED, "the file ends inside its RIFF header")
    return WaveFacts(Verdict.NOT_WAVE, "there is no RIFF/WAVE header" if head else "it is empty")


def _without_data(size: int, layout: Layout) -> WaveFacts:
    """The walk ended before the audio was met."""
    riff_end = _riff_end(layout, size)
    missing = max(riff_end or 0, layout.next_offset) - size
    has_format = _is_playable(layout)
    if layout.stop is Stop.BROKEN:
        verdict, reason = Verdict.NOT_WAVE, "the chunk list is broken before the audio"
    elif layout.stop is Stop.END_OF_FILE and missing > 0:
        verdict, reason = Verdict.TRUNCATED, f"{missing} bytes are missing, the audio among them"
    elif layout.stop is Stop.END_OF_FILE and layout.next_offset < size and riff_end is None:
        verdict, reason = Verdict.TRUNCATED, "the file ends inside a chunk header"
    elif layout.stop is Stop.END_OF_FILE:
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
    is_audio = has_format and layout.stop is Stop.OUT_OF_SIGHT
    return _facts(verdict, reason, layout, is_audio=is_audio)


def _with_data(head: bytes, size: int, layout: Layout) -> WaveFacts:
    if not _is_playable(layout):
        reason = "no usable fmt chunk comes before the audio"
        return WaveFacts(
            Verdict.NOT_WAVE, reason, data_offset=layout.next_offset, data_size=layout.data_size
        )
    offset, declared = layout.next_offset, layout.data_size
    there = size - offset
    if declared == 0 or _is_placeholder(declared, there):
        known, present = False, there
        verdict, reason = _judge_streamed(head, size, layout)
        if verdict is Verdict.HEADER_ONLY:
            known, present = True, 0
    else:
        known, present = there >= declared, min(there, declared)
        verdict, reason = _judge(head, size, layout)
    duration, has_frame = _duration(layout, present)
    if not has_frame and verdict not in (Verdict.TRUNCATED, Verdict.SURPLUS):
        verdict, reason = Verdict.HEADER_ONLY, "the header is followed by no audio frame"
    return _facts(
        verdict,
        reason,
        layout,
        is_audio=has_frame,
        duration=duration,
        with_data=True,
        audio_complete=known,
    )


def _judge(head: bytes, size: int, layout: Layout) -> tuple[Verdict, str]:
    """The data chunk declares a believable size."""
    end = layout.next_offset + layout.data_size
    if end > size:
        return Verdict.TRUNCATED, f"{end - size} of {layout.data_size} audio bytes are missing"
    odd = layout.data_size & 1
    riff_end = _riff_end(layout, size)
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
    return _judge_tail(head, size, layout, riff_end)


def _judge_tail(
    head: bytes, size: int, layout: Layout, riff_end: int | None
) -> tuple[Verdict, str]:
    """More than a pad byte follows the audio."""
    end = layout.next_offset + layout.data_size
    odd = layout.data_size & 1
    vouched = riff_end is not None and riff_end in (size, size - (layout.riff_size & 1))
    filled = chunks_fill(head, end + odd, size, big_endian=layout.big_endian)
    if filled or (filled is None and vouched):
        return Verdict.WHOLE, "all audio is there, and chunks follow it"
    if odd and chunks_fill(head, end, size, big_endian=layout.big_endian):
        return Verdict.ODD_PAD, "chunks follow the audio without the pad byte"
    return Verdict.SURPLUS, f"{size - end} bytes follow the audio that are not chunks"


def _judge_streamed(head: bytes, size: int, layout: Layout) -> tuple[Verdict, str]:
    """The data chunk declares nothing (0), or as much as its field can hold."""
    offset = layout.next_offset
    riff_end = _riff_end(layout, size)
    if riff_end is not None and riff_end > size:
        return Verdict.TRUNCATED, f"{riff_end - size} of the bytes that RIFF promises are missing"
    if riff_end is not None and riff_end > offset:
        # Nothing was declared, but RIFF knows the end: an empty recording with chunks behind it?
        if layout.data_size == 0 and chunks_fill(
            head, offset, riff_end, big_endian=layout.big_endian
        ):
            return Verdict.HEADER_ONLY, "the data chunk is empty"
        if riff_end < size:
            return Verdict.SURPLUS, f"{size - riff_end} bytes follow the end that RIFF declares"
    return Verdict.STREAMED, "the writer did not know how much audio would follow"


def _riff_end(layout: Layout, size: int) -> int | None:
    """Where the RIFF header says that the file ends, or None if it does not really say it."""
    declared = layout.riff_size
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


def _is_playable(layout: Layout) -> bool:
    return layout.has_fmt and layout.channels > 0 and layout.rate > 0


def _duration(layout: Layout, present: int) -> tuple[float | None, bool]:
    """Seconds in `present` bytes of audio, and whether they make up a frame at all."""
    frame = layout.block
    if layout.tag in _FRAMED:
        frame = layout.channels * ((layout.bits + 7) >> 3) or frame
        if frame:
            return (present // frame) / layout.rate, present >= frame
    samples = layout.samples
    if 0 < samples < 0x7FFFF000 and not _is_placeholder(layout.data_size, present):
        # Writers get the byte rate of a codec wrong more often than the number of samples.
        seconds: float | None = samples / layout.rate
        if layout.data_size > present:
            seconds = samples * present / layout.data_size / layout.rate
    elif layout.per_block and frame:
        seconds = present // frame * layout.per_block / layout.rate
    else:
        seconds = present / layout.byte_rate if layout.byte_rate else None
    return seconds, present >= max(frame, 1)


def _facts(
    verdict: Verdict,
    reason: str,
    layout: Layout,
    *,
    is_audio: bool,
    duration: float | None = None,
    with_data: bool = False,
    audio_complete: bool = False,
) -> WaveFacts:
    if not layout.has_fmt:
        return WaveFacts(verdict, reason)
    return WaveFacts(
        verdict,
        reason,
        is_audio,
        layout.rate,
        layout.channels,
        layout.bits,
        layout.tag,
        _CODECS.get(layout.tag) or f"codec 0x{layout.tag:04x}",
        duration,
        layout.next_offset if with_data else None,
        layout.data_size if with_data else None,
        audio_complete,
    )
