"""Is this answer a recording, and is it all of it? Decided from head, header and size alone.

Bytes decide, labels hint. The media type is passed through from upstream (API page "Get Call
Recording") or made up by a proxy (``text/plain`` is nginx's default), so it decides nothing: audio
is kept as what its bytes are, and text never is, whatever it is called.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from agentphone_async.errors import (
    NotAudioError,
    RecordingError,
    RecordingTooLargeError,
    TruncatedRecordingError,
)
from agentphone_async.protocol.display import printable, sample
from agentphone_async.protocol.durations import measure
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.formats import EXTENSIONS, look_like, tag_size
from agentphone_async.protocol.ranges import Validator
from agentphone_async.protocol.wav import FORMS, Stop, Verdict, WaveFacts, inspect

Chunk: TypeAlias = bytes | bytearray
"""Some bytes of a body; of a large one, the very buffer that they were received into."""

HEAD_BYTES = 64 * 1024
"""How much of a body's beginning is needed to tell what it is; and of its end."""

FIRST_LOOK = 64
"""Bytes from which on it is decided whether a body can be audio at all, long before its end."""

ALL_EXTENSIONS = tuple(EXTENSIONS.values())
"""All that a recording's name may end with; the usual one first."""

OVER_LIMIT = "bytes or more; the limit is"
"""By which the line of a recording that is larger than the user allows is known later."""

_USUAL = struct.Struct("<4sI4s4sIHHIIHH4sI")
"""A WAVE header of 44 bytes, as nearly all recordings have it."""


@dataclass(slots=True)
class Expected:
    """What the response head says about the body that follows.

    Attributes:
        media_type: lower case, without parameters; empty when not given.
        length: bytes, from Content-Length; None when not given or not meaningful.
        framed: whether the transport can tell a whole body from a cut-off one.
        validator: what a later range request can be bound to; None when nothing can, or nobody
            has looked.
    """

    media_type: str
    length: int | None
    framed: bool
    validator: Validator | None = None

    @property
    def mark(self) -> str | None:
        """By this a part of the same body is known again; None if nothing can prove it."""
        proof = None if self.validator is None else self.validator.if_range
        return None if proof is None or self.length is None else f"{self.length} {proof}"


class Audio(NamedTuple):
    """What the bytes turned out to be.

    Attributes:
        media_type: ``audio/wav``, ``audio/mpeg``, ``audio/flac`` …: see `EXTENSIONS`.
        suspect: why the header and the bytes disagree, though this is what the server has; None
            for a sound file.
    """

    media_type: str
    duration_seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    suspect: str | None = None


def expected_body(headers: Mapping[str, str]) -> Expected:
    """Read the head of an answer. A Content-Length beside a content coding counts coded bytes."""
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    coding = headers.get("Content-Encoding")
    chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    text = headers.get("Content-Length", "").strip()
    length = int(text) if text.isascii() and text.isdecimal() and not chunked else None
    framed = chunked or length is not None
    if coding is not None and coding.strip().lower() not in {"", "identity"}:
        length = None
    return Expected(media_type, length, framed)


def refuse_size(request: Request, size: int, limit: int | None) -> None:
    """Refuse what is larger than the caller allows.

    Raises:
        RecordingTooLargeError: ``size`` exceeds ``limit``.
    """
    if limit is not None and size > limit:
        raise RecordingTooLargeError(
            f"the recording of {_named(request)} has {size} {OVER_LIMIT} {limit}",
            received=size,
        ).about(request)


def not_audio(request: Request, media_type: str, body: bytes) -> NotAudioError:
    """The error for a 200 that brought something else; it quotes the first bytes."""
    what = printable(media_type, 60) if media_type else "no media type"
    brought = f"{what}, {sample(body)}" if body else "an empty body"
    return NotAudioError(
        f"the answer for {_named(request)} is not audio: {brought}",
        media_type=media_type or None,
        received=len(body),
    ).about(request)


def refuse_other(request: Request, expected: Expected, head: bytes) -> bool:
    """Refuse, by its first bytes, what will never be audio.

    Returns:
        Whether that is settled; if not, look again when `HEAD_BYTES` are there: only what comes
        behind a tag tells.

    Raises:
        NotAudioError: it is text, or nothing known.
    """
    if head[:4] in FORMS and head[8:12] == b"WAVE":
        return True
    if look_like(head) is None:
        raise not_audio(request, expected.media_type, head)
    return (tag_size(head) or 0) + 4 <= len(head)


def judge(
    request: Request,
    expected: Expected,
    head: bytes,
    size: int,
    chunks: Sequence[Chunk] = (),
) -> Audio:
    """Decide what a complete body is.

    Args:
        request: for messages.
        expected: what the response head said.
        head: at least the first `HEAD_BYTES` of the body, or all of it.
        size: bytes of the whole body.
        chunks: the last of them, or all, for formats that tell their length elsewhere than in the
            beginning.

    Raises:
        NotAudioError: it is empty, or nothing that can be played.
        TruncatedRecordingError: only the WAVE header can tell that bytes are missing, and it does.
    """
    usual = usual_wave(head, size)
    if usual is not None:
        return usual
    if size == 0:
        raise not_audio(request, expected.media_type, b"")
    facts = inspect(head, size)
    if facts.verdict is Verdict.NOT_WAVE:
        return _judge_other(request, expected, head, size, chunks)
    if facts.verdict is Verdict.TRUNCATED and not expected.framed:
        raise TruncatedRecordingError(
            f"the recording of {_named(request)} was cut off: {facts.reason}",
            media_type=expected.media_type,
            received=size,
        ).about(request)
    if not facts.header.has_fmt and size <= len(head):
        # All was seen, and nothing can play it.
        raise not_audio(request, expected.media_type, head)
    return Audio(
        media_type="audio/wav",
        duration_seconds=facts.duration_seconds,
        sample_rate=facts.header.rate or None,
        channels=facts.header.channels or None,
        suspect=_suspicion(facts, expected),
    )


def usual_wave(head: bytes, size: int) -> Audio | None:
    """What `inspect` finds in the usual case, in one step: whole PCM behind the shortest header."""
    if len(head) < 44:
        return None
    riff, riff_size, wave, fmt, length, tag, channels, rate, _, block, bits, data, audio = (
        _USUAL.unpack_from(head)
    )
    if (
        (riff, wave, fmt, length, tag, data) != (b"RIFF", b"WAVE", b"fmt ", 16, 1, b"data")
        or not audio == size - 44 == riff_size - 36
        or audio & 1
        or not rate
        or block != channels * ((bits + 7) >> 3)
        or not 0 < block <= audio
    ):
        return None
    return Audio("audio/wav", (audio // block) / rate, rate, channels)


def _suspicion(facts: WaveFacts, expected: Expected) -> str | None:
    if facts.verdict in {Verdict.WHOLE, Verdict.ODD_PAD}:
        return None
    if facts.verdict is Verdict.STREAMED and expected.framed:
        return None
    empty = facts.header.stop is Stop.DATA and facts.header.data_size == 0
    if facts.verdict is Verdict.HEADER_ONLY and (expected.framed or empty):
        return None  # a call in which nothing was recorded: header and bytes agree on that
    return facts.reason


def _judge_other(
    request: Request, expected: Expected, head: bytes, size: int, chunks: Sequence[Chunk]
) -> Audio:
    if len(head) < size == sum(map(len, chunks)):
        head = b"".join(chunks)  # all of it is in memory: some formats are counted to their end
    media_type = look_like(head, size)
    if media_type is None:
        raise not_audio(request, expected.media_type, head)
    facts = measure(media_type, head, ending(chunks), size)
    suspect = None if expected.framed else "nothing tells whether the end is missing"
    return Audio(media_type, facts.duration_seconds, facts.sample_rate, facts.channels, suspect)


def beginning(chunks: Sequence[Chunk]) -> bytes:
    """Enough of a body's beginning to `judge` it; copies only if the first chunk is too short."""
    if not chunks:
        return b""
    if len(chunks) == 1 or len(chunks[0]) >= HEAD_BYTES:
        return bytes(chunks[0][:HEAD_BYTES])
    head = bytearray()
    for chunk in chunks:
        head += chunk[: HEAD_BYTES - len(head)]
        if len(head) == HEAD_BYTES:
            break
    return bytes(head)


def ending(chunks: Sequence[Chunk]) -> bytes:
    """The last `HEAD_BYTES` of these."""
    tail: Chunk = b""
    for chunk in reversed(chunks):
        tail = chunk[-(HEAD_BYTES - len(tail)) :] + tail
        if len(tail) >= HEAD_BYTES:
            break
    return bytes(tail)


def extension_of(media_type: str) -> str:
    """The file name's extension for a media type; that of WAVE for one that is not known."""
    return EXTENSIONS.get(media_type, ".wav")


def media_type_of(extension: str) -> str:
    """The media type of a file with this extension; that of WAVE for one that is not known."""
    return next((one for one, known in EXTENSIONS.items() if known == extension), "audio/wav")


def short(request: Request, received: int, expected: int | None) -> RecordingError:
    """The error for a body that ended before its promised length."""
    promised = f" of {expected}" if expected is not None else ""
    return TruncatedRecordingError(
        f"the recording of {_named(request)} ended after {received}{promised} bytes",
        received=received,
        expected=expected,
    ).about(request)


def _named(request: Request) -> str:
    return printable(request.call_id or request.path, 80)
