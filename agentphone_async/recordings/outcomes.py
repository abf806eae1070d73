"""What became of each call: values, because one bad recording is no reason to stop a thousand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentphone_async.errors import AgentPhoneError
from agentphone_async.recordings.valve import LeftError

if TYPE_CHECKING:  # who fetches by id needs no models, and they take a while to import
    from agentphone_async.models import Call


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that lies whole and verified under its name.

    Attributes:
        call_id: whose it is.
        path: where it lies.
        size: bytes.
        sha256: of those bytes, in hexadecimal.
        media_type: what the bytes are: ``audio/wav``, ``audio/mpeg``.
        duration_seconds: seconds of audio; None for anything but WAVE.
        sample_rate: frames per second; None for anything but WAVE.
        channels: None for anything but WAVE.
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
    """The recording is on disk now."""

    call_id: str
    recording: Recording
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class NoRecording:
    """The server has none (404), and the call is too old for one to appear."""

    call_id: str
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class NotReadyYet:
    """The server has none, and it may still appear: ask again later."""

    call_id: str
    call: Call | None = None


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
    """Whether it is no failure of the call's: the run was stopped before its turn or its end."""
    return isinstance(outcome, Failed) and isinstance(outcome.error, LeftError)
