"""A batch of outcomes becomes rows, on the catalog's thread, and then counts in the report."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from agentphone_async.archive.catalog.recordings import (
    current_recordings,
    owners_of,
    store_recordings,
)
from agentphone_async.archive.catalog.rows import RecordingRow, State, with_file
from agentphone_async.archive.files.storage import Files
from agentphone_async.archive.names import stem_of, target_of
from agentphone_async.archive.observer import IsolatedObserver
from agentphone_async.archive.options import Placed
from agentphone_async.archive.plan import (
    GONE,
    Task,
    adopted_version,
    disputed_until,
    is_too_young,
    may_come,
)
from agentphone_async.archive.planner import adopted_row
from agentphone_async.archive.prefetch import NewestFirst, Prefetcher
from agentphone_async.archive.report import MOST_KEPT, Report
from agentphone_async.errors import RecordingError
from agentphone_async.models import RecordingState
from agentphone_async.protocol.display import printable
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
    Outcome,
    was_left,
)

DISPUTED = "the list of calls says that it exists, and the server answers 404"
DISPUTED_WITHOUT_URL = (
    "the list of calls says that it exists, without an address: the recording add-on may be off"
)


class Settled(NamedTuple):
    """What a call came to.

    Attributes:
        outcome: as the run counts it.
        placed: the call and its place.
        task: what was asked.
        row: what the catalog was told; None if nothing has changed.
    """

    outcome: Outcome
    placed: Placed
    task: Task
    row: RecordingRow | None


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes what became of the calls of one run.

    Attributes:
        files: where recordings lie.
        run: the run's number.
        grace: how long after a call's end a recording may still appear.
        min_age: calls younger than this are left for later.
        began: when the run did, by the clock of the file system.
    """

    files: Files
    run: int
    grace: timedelta
    min_age: timedelta
    began: float = field(default_factory=time.time)

    def judge(
        self, connection: sqlite3.Connection, batch: Sequence[tuple[Task, Outcome]], now: datetime
    ) -> list[Settled]:
        """What a batch of outcomes comes to; the rows are for `store`.

        The bytes are on the disk for good when this returns. Calls that were left because the run
        was stopped are not in the result.

        Raises:
            DestinationError: the disk failed.
        """
        settled: list[Settled] = []
        found: list[PurePosixPath] = []
        for task, came in batch:
            if was_left(came):
                continue
            if isinstance(came, AlreadyArchived):
                outcome, row = self._taken(connection, task, came, now)
                if row is not None and row.on_disk and row.path is not None:
                    found.append(row.path)
            else:
                outcome, row = self._row(task, came, now)
            state: str = task.known.state if row is None and task.known else "archived"
            if row is not None:
                state = row.state
            settled.append(Settled(outcome, self._placed(task, row, state), task, row))
        self.files.make_durable(found)
        return settled

    def store(self, connection: sqlite3.Connection, settled: Sequence[Settled]) -> None:
        """Write the rows of a batch."""
        store_recordings(connection, [one.row for one in settled if one.row is not None])

    def tidy(self, settled: Sequence[Settled]) -> None:
        """Remove what was put aside and turned out to be the same, once the rows are written."""
        for one in settled:
            aside = one.task.aside
            if (
                aside is not None
                and isinstance(one.outcome, Archived)
                and one.outcome.recording.sha256 == aside.sha256
            ):
                self.files.remove(aside.path)

    def _row(
        self, task: Task, outcome: Outcome, now: datetime
    ) -> tuple[Outcome, RecordingRow | None]:
        """The outcome as the run counts it, and its row; None to leave the row as it is."""
        match outcome:
            case Archived():
                return outcome, self._archived_row(task, outcome, now)
            case NoRecording(gone=True):
                if task.known is not None and task.known.on_disk:
                    return outcome, None
                row = self._plain_row(task, "no_recording", now)
                return NoRecording(task.call.id, task.call), row._replace(last_error=GONE)
            case NotReadyYet(told=True) if task.known is None or not task.known.on_disk:
                return outcome, self._plain_row(task, "not_ready", now)
            case Failed(error=error):
                if task.known is not None and task.known.on_disk:
                    return outcome, None  # what was archived before is still there
                row = self._plain_row(task, "failed", now, attempts=error.attempts)
                return outcome, row._replace(last_error=str(error))
        return self._absent(task, now)

    def _absent(self, task: Task, now: datetime) -> tuple[Outcome, RecordingRow | None]:
        """The server has no recording: not yet, never, or against the word of its list?"""
        call, known = task.call, task.known
        if known is not None and known.on_disk and known.path is not None:
            # The server has it no more; we do.
            return AlreadyArchived(call.id, self.files.root / known.path, call), None
        if may_come(call, now, self.grace) or is_too_young(call, self.min_age, now):
            return NotReadyYet(call.id, call), self._plain_row(task, "not_ready", now)
        if call.recording_state is RecordingState.AVAILABLE or call.recording_available:
            since = now if known is None or known.disputed is None else known.disputed
            again = disputed_until(since, now)
            if again is not None:
                row = self._plain_row(task, "disputed", now)
                why = DISPUTED if call.recording_url else DISPUTED_WITHOUT_URL
                row = row._replace(disputed=since, ask_after=again, last_error=why)
                return NotReadyYet(call.id, call), row
        return NoRecording(call.id, call), self._plain_row(task, "no_recording", now)

    def _archived_row(self, task: Task, outcome: Archived, now: datetime) -> RecordingRow:
        recording = outcome.recording
        known = task.known
        path = self._inside(recording.path)
        base = known or RecordingRow(task.call.id, "archived", now, now)
        return with_file(
            base,
            path,
            recording.size,
            recording.sha256,
            recording,
            now,
            version=adopted_version(known, path),
            etag=recording.etag,
            attempts=base.attempts + recording.attempts,
            run=self.run,
        )

    def _plain_row(
        self, task: Task, state: State, now: datetime, *, attempts: int = 1
    ) -> RecordingRow:
        """A row without a file; what was known of a lost one stays, to compare the next with."""
        known = task.known or RecordingRow(task.call.id, state, now, now)
        return known._replace(
            state=state,
            updated=now,
            attempts=known.attempts + attempts,
            last_error=None,
            ask_after=None,
            run=self.run,
        )

    def _taken(
        self,
        connection: sqlite3.Connection,
        task: Task,
        outcome: AlreadyArchived,
        now: datetime,
    ) -> tuple[Outcome, RecordingRow | None]:
        """The name was taken when the recording was to be published: by what?"""
        root, files = self.files.root, self.files
        stem = stem_of(self._inside(outcome.path))
        there = [path for path in target_of(stem).candidates() if files.size_of(path) is not None]
        known = current_recordings(connection, [task.call.id]).get(task.call.id)
        if known is not None and known.on_disk and known.path in there:
            # Unchanged since last time; or another process has archived it meanwhile.
            return AlreadyArchived(outcome.call_id, root / known.path, task.call), None
        owners = owners_of(connection, [path.as_posix() for path in there])
        kept: PurePosixPath | None = None
        for path in there:
            if owners.get(path.as_posix(), task.call.id) != task.call.id:
                continue  # another call's
            found = files.examine(path, task.call.id)
            if found is not None and (found.sound or found.sha256 in {task.had, outcome.sha256}):
                row = adopted_row(task.call.id, task.known, found, now, self.run)
                return AlreadyArchived(outcome.call_id, root / path, task.call), row
            if path.as_posix() not in owners and files.written_before(path, self.began):
                kept = files.quarantine(path)  # of a run that was killed
        error = RecordingError(_obstacle(root, stem, kept))
        error.call_id = task.call.id
        failed = Failed(task.call.id, error, task.call)
        return self._row(task, failed, now)

    def _placed(self, task: Task, row: RecordingRow | None, state: str) -> Placed:
        known = row or task.known
        stem = task.stem
        if task.known is not None and known is not None and known.path is not None:
            stem = stem_of(known.path)
        return Placed(task.call, stem, state)

    def _inside(self, path: Path) -> PurePosixPath:
        """A path of an outcome, relative to the archive."""
        text, top = str(path), str(self.files.root)
        if os.sep != "/":
            text, top = path.as_posix(), self.files.root.as_posix()
        prefix = "" if top == "." else top.rstrip("/") + "/"
        return PurePosixPath(text.removeprefix(prefix))


def _obstacle(root: Path, stem: PurePosixPath, kept: PurePosixPath | None) -> str:
    """What was in the way of a recording, and what is to be done about it."""
    if kept is not None:
        return (
            "a file that is not a whole recording was in the way; it is kept as "
            f"{printable(kept.as_posix(), 300)}, and the next run fetches the recording"
        )
    for path in target_of(stem).candidates():
        at = root / path
        if at.is_symlink() or at.exists():
            what = "a symbolic link" if at.is_symlink() else "a folder" if at.is_dir() else "a file"
            shown = printable(path.as_posix(), 300)
            return f"{what} that is not this recording is in the way at {shown}; move it away"
    return f"something was in the way at {printable(stem.name, 300)} and has gone; run again"


class Results:
    """Counts outcomes into the report of a run, and tells the observer.

    Args:
        report: of the run.
        observer: told about every call once.
        waits: calls that are not ready are told only when the waiting is over.
    """

    def __init__(self, report: Report, observer: IsolatedObserver, *, waits: bool) -> None:
        self._report = report
        self._observer = observer
        self._waits = waits
        self._waited_for: dict[str, Outcome] = {}

    def count(self, outcome: Outcome) -> None:
        """Count and tell what a call came to."""
        self._report.count(outcome)
        if isinstance(outcome, NotReadyYet) and self._waits:
            self._waited_for[outcome.call_id] = outcome
            return
        self._waited_for.pop(outcome.call_id, None)
        self._observer.settled(outcome)

    def count_settled(self, settled: Settled) -> None:
        """The same for one that was asked for, perhaps not for the first time."""
        report = self._report
        if settled.task.again:
            report.not_ready -= 1
        row, known = settled.row, settled.task.known
        if row is not None and row.state == "disputed":
            report.disputed += 1
            report.disputed_first += known is None or known.disputed is None
            report.disputed_without_url += settled.task.call.recording_url is None
        self.count(settled.outcome)

    def tell_the_rest(self) -> None:
        """The waiting is over."""
        for outcome in self._waited_for.values():
            self._observer.settled(outcome)
        self._waited_for.clear()

    def end_of_list(
        self, prefetcher: Prefetcher, order: NewestFirst, *, proved: bool, stopped: bool
    ) -> bool:
        """Say how the walk of the list ended; True if it saw all that is asked for."""
        report = self._report
        report.listing = "recent" if proved else "full"
        report.unreadable = len(prefetcher.problems)
        for problem in prefetcher.problems[:MOST_KEPT]:
            report.add_problem(str(problem))
        if stopped:
            report.error = prefetcher.error
            return proved or prefetcher.complete
        if prefetcher.cut_off and order.seen_since is not None:
            return self._cut_off(prefetcher, order.seen_since, order.since)
        report.error = prefetcher.error
        if prefetcher.error is not None:
            report.stop_reason = "listing"
            report.stopped_because = f"the list of calls broke off: {prefetcher.error}"
            return False
        if proved or prefetcher.complete:
            return True
        report.add_problem(
            "the server's list of calls went in circles or lost some; the next run may find more"
        )
        return False

    def _cut_off(
        self, prefetcher: Prefetcher, seen_since: datetime, since: datetime | None
    ) -> bool:
        """The server cuts its list off: days that were seen whole are complete."""
        line = (
            f"the server lists no more than its newest {prefetcher.listed:,} calls, and refused "
            f"the next page: {prefetcher.error}; calls since {seen_since.isoformat()} were seen"
        )
        self._report.add_problem(line)
        if since is not None and since >= seen_since:
            return True
        self._report.seen_since = seen_since
        return False
