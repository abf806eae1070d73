"""Is this answer a recording, and is it all of it? Decided from head, header and size alone.

The media type is passed through from upstream (API page "Get Call Recording"), so it is a hint:
``audio/wav`` in all spellings, ``audio/mpeg``, or a vague one. The bytes decide what may be kept;
text never may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentphone_async.errors import (
    NotAudioError,
    RecordingError,
    RecordingTooLargeError,
    TruncatedRecordingError,
)
from agentphone_async.protocol.display import printable, sample
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.mpeg import looks_like_mpeg
from agentphone_async.protocol.ranges import Validator
from agentphone_async.protocol.wav import Verdict, WaveFacts, inspect

HEAD_BYTES = 64 * 1024
"""How much of a body's beginning is needed to tell what it is."""

_MPEG_TYPES = frozenset({"audio/mpeg", "audio/mp3", "audio/x-mpeg", "audio/x-mp3", "audio/mpeg3"})
_VAGUE_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream"})


@dataclass(frozen=True, slots=True)
class Promise:
    """What the response head says about the body that follows.

    Attributes:
        media_type: lower case, without parameters; empty when not given.
        length: bytes, from Content-Length; None when not given or not meaningful.
        framed: whether the transport can tell a whole body from a cut-off one.
        validator: what a later range request can be bound to; None when nothing can.
    """

    media_type: str
    length: int | None
    framed: bool
    validator: Validator | None

    @property
    def is_mpeg(self) -> bool:
        """Whether it is called MPEG audio."""
        return self.media_type in _MPEG_TYPES

    @property
    def may_be_audio(self) -> bool:
        """Whether the media type leaves that open."""
        return self.media_type.startswith("audio/") or self.media_type in _VAGUE_TYPES


@dataclass(frozen=True, slots=True)
class Audio:
    """What the bytes turned out to be.

    Attributes:
        media_type: ``audio/wav`` or ``audio/mpeg`` or the server's own audio type.
        suspect: why the header and the bytes disagree, though this is what the server has; None
            for a sound file.
    """

    media_type: str
    duration_seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    suspect: str | None = None


def promise_of(headers: Mapping[str, str]) -> Promise:
    """Read the head of a 200. A Content-Length beside a content coding counts coded bytes."""
    media_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    coded = headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}
    chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    text = headers.get("Content-Length", "").strip()
    length = int(text) if text.isascii() and text.isdecimal() and not chunked else None
    return Promise(
        media_type=media_type,
        length=None if coded else length,
        framed=chunked or length is not None,
        validator=None if coded else Validator.from_headers(headers),
    )


def refuse_size(request: Request, size: int, limit: int | None) -> None:
    """Refuse what is larger than the caller allows.

    Raises:
        RecordingTooLargeError: ``size`` exceeds ``limit``.
    """
    if limit is not None and size > limit:
        raise RecordingTooLargeError(
            f"the recording of {_named(request)} has {size} bytes or more; the limit is {limit}",
            received=size,
        ).about(request)


def not_audio(request: Request, media_type: str, body: bytes) -> NotAudioError:
    """The error for a 200 that brought something else; it quotes the first bytes."""
    what = printable(media_type, 60) if media_type else "no media type"
    brought = f"{what}, {sample(body)}" if body else "an empty body"
    return NotAudioError(
        f"the answer for {_named(request)} is no audio: {brought}",
        media_type=media_type or None,
        received=len(body),
    ).about(request)


def judge(request: Request, promise: Promise, head: bytes, size: int) -> Audio:
    """Decide what a complete body is.

    Args:
        request: for messages.
        promise: what the response head said.
        head: at least the first `HEAD_BYTES` of the body, or all of it.
        size: bytes of the whole body.

    Raises:
        NotAudioError: it is empty, or nothing that can be played.
        TruncatedRecordingError: only the WAVE header can tell that bytes are missing, and it does.
    """
    if size == 0:
        raise not_audio(request, promise.media_type, b"")
    facts = inspect(head, size)
    if facts.verdict is Verdict.NOT_WAVE:
        return _judge_other(request, promise, head)
    if facts.verdict is Verdict.TRUNCATED and not promise.framed:
        raise TruncatedRecordingError(
            f"the recording of {_named(request)} was cut off: {facts.reason}",
            media_type=promise.media_type,
            received=size,
        ).about(request)
    if facts.format_tag is None and size <= len(head):
        raise not_audio(request, promise.media_type, head)  # all was seen, and nothing can play it
    return Audio(
        media_type="audio/wav",
        duration_seconds=facts.duration_seconds,
        sample_rate=facts.sample_rate,
        channels=facts.channels,
        suspect=_suspicion(facts, promise),
    )


def _suspicion(facts: WaveFacts, promise: Promise) -> str | None:
    if facts.verdict in {Verdict.WHOLE, Verdict.ODD_PAD}:
        return "called MPEG, but the bytes are WAVE" if promise.is_mpeg else None
    if facts.verdict is Verdict.STREAMED and promise.framed:
        return None
    if facts.verdict is Verdict.HEADER_ONLY and (promise.framed or facts.data_size == 0):
        return None  # a call in which nothing was recorded: header and bytes agree on that
    return facts.reason


def _judge_other(request: Request, promise: Promise, head: bytes) -> Audio:
    if looks_like_mpeg(head):
        expected = promise.is_mpeg or promise.media_type in _VAGUE_TYPES
        suspect = None if expected else f"called {promise.media_type}, but the bytes are MPEG"
        if suspect is None and not promise.framed:
            suspect = "nothing tells whether the end is missing"
        return Audio(media_type="audio/mpeg", suspect=suspect)
    raise not_audio(request, promise.media_type, head)


def beginning(chunks: Sequence[bytes]) -> bytes:
    """Enough of a body's beginning to `judge` it; copies only if the first chunk is too short."""
    if not chunks:
        return b""
    if len(chunks[0]) >= HEAD_BYTES or len(chunks) == 1:
        return chunks[0]
    head = bytearray()
    for chunk in chunks:
        head += chunk[: HEAD_BYTES - len(head)]
        if len(head) == HEAD_BYTES:
            break
    return bytes(head)


def extension_of(media_type: str) -> str:
    """The file name's extension for a media type: ``.mp3`` for MPEG audio, else ``.wav``."""
    return ".mp3" if media_type in _MPEG_TYPES else ".wav"


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
