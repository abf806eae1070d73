"""What became of each call: values, because one bad recording must not stop a thousand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agentphone_async.errors import (
    AgentPhoneError,
    RecordingErasedError,
    RecordingGoneError,
    RecordingNotFoundError,
    RecordingNotReadyError,
    RunStoppedError,
)
from agentphone_async.protocol.display import hint

if TYPE_CHECKING:  # who fetches by id needs no models, and they take a while to import
    from agentphone_async.models import Call

GRACE = timedelta(hours=24)
"""How long after a call's end its recording may still appear. "Shortly", says the API page "Get
Call Recording", without a number; a day costs little, since only absent recordings are asked for
again."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that lies whole and verified under its name.

    Attributes:
        call_id: whose it is.
        path: where it lies; in a sink that is not a folder, its name there.
        size: bytes.
        sha256: of those bytes, in hexadecimal.
        media_type: what the bytes are: ``audio/wav``, ``audio/mpeg``, ``audio/flac`` …
        duration_seconds: seconds of audio; None where the format does not tell it cheaply.
        sample_rate: frames per second; None likewise.
        channels: None likewise.
        attempts: how many requests it took, at least 1.
        elapsed: seconds from the first request to the verified body.
        suspect: why header and bytes disagree, though the bytes are what the server has; None for
            a sound recording.
        etag: the server's validator, as it came; None if it sent none.
    """

    call_id: str
    path: Path
    size: int
    sha256: str
    media_type: str
    duration_seconds: float | None
    sample_rate: int | None
    channels: int | None
    attempts: int
    elapsed: float
    suspect: str | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Archived:
    """The recording is stored now."""

    call_id: str
    recording: Recording
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class NoRecording:
    """The server has none, and the call is too old for one to appear.

    Attributes:
        contradicted: the call itself says that it has a recording (``recordingAvailable``).
        gone: the server says that it will never have one again (410).
    """

    call_id: str
    call: Call | None = None
    contradicted: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class NotReadyYet:
    """The server has none, and it may still appear: ask again later.

    Attributes:
        retry_after: seconds after which the server wants to be asked again; None if it did not say.
        told: the server itself says "not yet" (202, 409, 423, 425); with a 404 the call's age does.
    """

    call_id: str
    call: Call | None = None
    retry_after: float | None = None
    told: bool = False


@dataclass(frozen=True, slots=True)
class AlreadyArchived:
    """A file of that name was there; what was fetched, if anything, was discarded.

    Attributes:
        sha256: of the bytes that were fetched meanwhile, in hexadecimal; None if nothing was.
    """

    call_id: str
    path: Path
    call: Call | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be fetched, for a reason of its own; ``error`` tells which."""

    call_id: str
    error: AgentPhoneError
    call: Call | None = None


Outcome = Archived | NoRecording | NotReadyYet | AlreadyArchived | Failed


def was_left(outcome: Outcome) -> bool:
    """Whether it is not a failure of the call's: the run was stopped before its turn or its end."""
    return isinstance(outcome, Failed) and isinstance(outcome.error, RunStoppedError)


def may_still_come(call: Call, now: datetime, grace: timedelta = GRACE) -> bool:
    """Whether a recording that is absent now may appear later.

    It may while the call is in progress, and for ``grace`` after its end, unless nobody ever spoke
    and the API says that there is no recording. A call without any readable date is taken for old.
    """
    if not call.finished_at(now):
        return True
    if call.never_connected and call.recording_available is False:
        return False
    ended = call.ended_at or call.started_at
    return ended is not None and now - ended < grace


def absence(
    call_id: str, call: Call | None, error: RecordingNotFoundError, grace: timedelta
) -> NoRecording | NotReadyYet:
    """What it means that the server has no recording: none yet, or none at all."""
    if isinstance(error, RecordingGoneError):
        return NoRecording(call_id, call, gone=True)
    if isinstance(error, RecordingNotReadyError):
        return NotReadyYet(call_id, call, error.retry_after, told=True)
    if call and may_still_come(call, datetime.now(UTC), grace):
        return NotReadyYet(call_id, call, error.retry_after)
    contradicted = call is not None and call.recording_available is True
    return NoRecording(call_id, call, contradicted=contradicted)


def erased(call_id: str) -> RecordingErasedError:
    """The error of a call that must not be stored here."""
    return RecordingErasedError(
        f"{hint(call_id)} was erased from this archive for good; it is not fetched into it"
    )


def without_frames(error: AgentPhoneError) -> AgentPhoneError:
    """The error without tracebacks: kept as an outcome, they would keep the transfer's buffers."""
    chain: list[BaseException] = [error]
    for link in chain:
        link.__traceback__ = None
        for other in (link.__cause__, link.__context__):
            if other is not None and other not in chain:
                chain.append(other)
    return error
