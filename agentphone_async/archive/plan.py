"""What is to be done about a call in this run? A pure decision, from the call and its row.

"Not ready" is not "never": the API answers 404 for both, so only the call's age tells them apart.
A recording that is not ready, or failed, is asked for again in every run; one that does not exist
only on demand, or when the call itself has changed since. Where the list says that a recording
exists and the server answers 404, it is disputed: asked for again with growing pauses, for months.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.archive.files.on_disk import Found
from agentphone_async.archive.names import end_of, stem_of, target_of, version_stem
from agentphone_async.archive.options import Placed, RunOptions
from agentphone_async.models import Call, RecordingState
from agentphone_async.recordings.outcomes import Outcome, may_still_come
from agentphone_async.sinks.interface import Target

GONE = "the server says that it is gone for good (410)"

DISPUTED_FOR = timedelta(days=90)
"""How long a recording that the list promises is asked for again."""

_DAY, _WEEK = timedelta(days=1), timedelta(days=7)


class Step(enum.Enum):
    """What to do next about a call."""

    KEEP = "keep"
    """It is archived; the disk has to agree."""
    FETCH = "fetch"
    NOT_READY = "not_ready"
    """Do not ask now; a later run will."""
    DISPUTED = "disputed"
    """Do not ask now; a run after its pause will."""
    NO_RECORDING = "no_recording"
    """Do not ask any more."""


def next_step(
    call: Call, known: RecordingRow | None, *, changed: bool, options: RunOptions, now: datetime
) -> Step:
    """What to do about a call that is wanted.

    Args:
        call: as the server lists it now.
        known: its recording's row; None if there is none.
        changed: the call's JSON differs from the one that the catalog has.
        options: this run's.
        now: the wall clock, aware.
    """
    if known is not None and known.on_disk:
        return Step.FETCH if options.refresh and call.finished_at(now) else Step.KEEP
    if not call.finished_at(now) or is_too_young(call, options.min_age, now):
        return Step.NOT_READY
    if options.recheck:
        return Step.FETCH
    answered = None if known is None or changed else _answered(known, now)
    if answered is not None:
        return answered
    if may_come(call, now, options.grace):
        return Step.FETCH
    if known is not None and known.state == "no_recording" and not changed:
        asked = known.attempts > 0  # if not, the call's own word was taken for it
        if asked or not options.probe_all:
            return Step.NO_RECORDING
    if call.recording_state is RecordingState.UNAVAILABLE and not options.probe_all:
        return Step.NO_RECORDING
    return Step.FETCH


def _answered(known: RecordingRow, now: datetime) -> Step | None:
    """What an earlier answer says about asking now; None if nothing."""
    if known.state == "disputed" and known.ask_after is not None and now < known.ask_after:
        return Step.DISPUTED
    if known.state == "no_recording" and known.last_error == GONE:
        return Step.NO_RECORDING
    return None


def may_come(call: Call, now: datetime, grace: timedelta) -> bool:
    """Whether a recording that is absent now may appear later.

    Not where nobody ever talked, and the list says that there is none.
    """
    if call.never_connected and call.recording_state is RecordingState.UNAVAILABLE:
        return False
    return may_still_come(call, now, grace)


def is_too_young(call: Call, min_age: timedelta, now: datetime) -> bool:
    """Whether a call ended less than ``min_age`` ago."""
    ended = call.ended_at or call.started_at
    return bool(min_age) and ended is not None and now - ended < min_age


def disputed_until(since: datetime, now: datetime) -> datetime | None:
    """When a disputed recording is asked for again; None if it was asked for long enough."""
    age = now - since
    if age >= DISPUTED_FOR:
        return None
    return now + (_DAY if age < _WEEK else _WEEK)


@dataclass(slots=True)
class Task:
    """A recording that is to be fetched.

    Attributes:
        call: whose it is.
        stem: where it goes, relative to the archive and without extension.
        known: its row so far; None if there is none.
        aside: an unsound file that lay at its place and was renamed.
        again: this run has counted the call as not ready already.
    """

    call: Call
    stem: PurePosixPath
    known: RecordingRow | None
    aside: Found | None = None
    again: bool = False

    def target(self, *, dated: bool) -> Target:
        """The place, for a sink: of another one if not the bytes come that were archived before.

        A file that is ``dated`` gets the end of its call as time of modification.
        """
        moment = end_of(self.call) if dated else None
        target = target_of(self.stem, moment)
        if self.had is None:
            return target
        return target._replace(
            expected_sha256=self.had, name_if_changed=target_of(self._next_version(), moment)
        )

    @property
    def had(self) -> str | None:
        """SHA-256 of the version that was archived last; None if none ever was."""
        if self.known is None or self.known.path is None:
            return None
        return self.known.sha256

    def _next_version(self) -> PurePosixPath:
        """Where other bytes go: beside those that were archived, as the next version."""
        if self.known is None or self.known.path is None:
            raise ValueError("there is no earlier version")
        first = stem_of(self.known.path)
        ending = f".v{self.known.version}"
        if self.known.version > 1 and first.name.endswith(ending):
            first = first.parent / first.name.removesuffix(ending)
        return version_stem(first, self.known.version + 1)


@dataclass(slots=True)
class Plan:
    """What is to be done about a batch of calls.

    Attributes:
        selected: how many of its calls are wanted.
        undated: how many of those have no readable beginning.
        settled: what calls came to that need no request.
        placed: those calls again, with their places.
        tasks: the others.
        adopted: files that were found on the disk, and belong to the catalog now.
        calls: what the catalog is to be told of calls, each with its JSON text,
        rows: and of recordings,
        folders: and of folders that the run has begun to use,
        unknown: and ids of calls that are not wanted, and were not listed before.
        news: ids of wanted calls that the catalog did not know.
        disputed: how many calls are not asked for now, because they were lately.
    """

    selected: int = 0
    undated: int = 0
    settled: list[Outcome] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    adopted: list[PurePosixPath] = field(default_factory=list)
    calls: list[tuple[Call, str]] = field(default_factory=list)
    rows: list[RecordingRow] = field(default_factory=list)
    folders: set[PurePosixPath] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    disputed: int = 0

    @property
    def writes(self) -> bool:
        """Whether the catalog is to be told anything."""
        return bool(self.calls or self.rows or self.folders or self.unknown)


def adopted_version(known: RecordingRow | None, path: PurePosixPath) -> int:
    """The version of a file that was found at a path: the next one if it is another path."""
    if known is None:
        return 1
    another = known.path is not None and known.path != path
    return known.version + 1 if another else known.version
