"""A batch of outcomes becomes rows; blocking, for the catalog's thread."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from agentphone_async.archive.catalog.recordings import (
    current_recordings,
    owners_of,
    store_recordings,
)
from agentphone_async.archive.catalog.rows import RecordingRow, State
from agentphone_async.archive.files import examine, make_durable, quarantine, size_of
from agentphone_async.archive.names import stem_of, target_of
from agentphone_async.archive.options import Placed
from agentphone_async.archive.run.batch import adopted_row
from agentphone_async.archive.run.plan import is_too_young
from agentphone_async.archive.run.task import Task
from agentphone_async.errors import RecordingError
from agentphone_async.protocol.absence import may_still_come
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
    Outcome,
    was_left,
)
from agentphone_async.sinks.disk import remove

Settled = tuple[Outcome, Placed, Task]


@dataclass(frozen=True, slots=True)
class Entries:
    """What a batch of outcomes came to, and its rows."""

    settled: list[Settled]
    rows: list[RecordingRow]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Writes what became of the calls of one run.

    Attributes:
        folder: the archive.
        run: the run's number.
        grace: how long after a call's end a recording may still appear.
        min_age: calls younger than this are left for later.
        began: when the run did, by the clock of the file system.
    """

    folder: Path
    run: int
    grace: timedelta
    min_age: timedelta
    began: float = field(default_factory=time.time)

    def settle(
        self, connection: sqlite3.Connection, batch: Sequence[tuple[Task, Outcome]], now: datetime
    ) -> Entries:
        """What a batch of outcomes comes to, and the rows that `store` is to write.

        The bytes are on the disk for good when this is called. Calls that were left because the
        run was stopped get no row, and are not in the result.

        Raises:
            DestinationError: the disk failed.
        """
        settled: list[Settled] = []
        rows: list[RecordingRow] = []
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
                rows.append(row)
                state = row.state
            settled.append((outcome, self._placed(task, row, state), task))
        make_durable(self.folder, found)
        return Entries(settled, rows)

    def store(self, connection: sqlite3.Connection, entries: Entries) -> list[Settled]:
        """Write the rows of a batch."""
        store_recordings(connection, entries.rows)
        return entries.settled

    def tidy(self, settled: Sequence[Settled]) -> None:
        """Remove what was put aside and turned out to be the same; once the rows are written."""
        for outcome, _, task in settled:
            self._tidy(task, outcome)

    def _row(
        self, task: Task, outcome: Outcome, now: datetime
    ) -> tuple[Outcome, RecordingRow | None]:
        """The outcome as the run counts it, and its row; None to leave the row as it is."""
        match outcome:
            case Archived():
                return outcome, self._archived_row(task, outcome, now)
            case Failed(error=error):
                if task.known is not None and task.known.on_disk:
                    return outcome, None  # what was archived before is still there
                row = self._plain_row(task, "failed", now, attempts=error.attempts)
                return outcome, replace(row, last_error=str(error))
        call = task.call
        if task.known is not None and task.known.on_disk and task.known.path is not None:
            # The server has it no more; we do.
            return AlreadyArchived(call.id, self.folder / task.known.path, call), None
        if may_still_come(call, now, self.grace) or is_too_young(call, self.min_age, now):
            return NotReadyYet(call.id, call), self._plain_row(task, "not_ready", now)
        return NoRecording(call.id, call), self._plain_row(task, "no_recording", now)

    def _archived_row(self, task: Task, outcome: Archived, now: datetime) -> RecordingRow:
        recording = outcome.recording
        known = task.known
        path = self._inside(recording.path)
        version, attempts, created = 1, 0, now
        if known is not None:
            attempts, created = known.attempts, known.created
            another = known.path is not None and known.path != path
            version = known.version + 1 if another else known.version
        return RecordingRow(
            call_id=task.call.id,
            state="archived" if recording.suspect is None else "suspect",
            created=created,
            updated=now,
            version=version,
            path=path,
            size=recording.size,
            sha256=recording.sha256,
            media_type=recording.media_type,
            sample_rate=recording.sample_rate,
            channels=recording.channels,
            duration=recording.duration_seconds,
            etag=recording.etag,
            attempts=attempts + recording.attempts,
            last_error=recording.suspect,
            run=self.run,
        )

    def _plain_row(
        self, task: Task, state: State, now: datetime, *, attempts: int = 1
    ) -> RecordingRow:
        """A row without a file; what was known of a lost one stays, to compare the next with."""
        known = task.known or RecordingRow(task.call.id, state, now, now)
        return replace(
            known,
            state=state,
            updated=now,
            attempts=known.attempts + attempts,
            last_error=None,
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
        stem = stem_of(self._inside(outcome.path))
        there = [
            path for path in target_of(stem).candidates() if size_of(self.folder, path) is not None
        ]
        known = current_recordings(connection, [task.call.id]).get(task.call.id)
        if known is not None and known.on_disk and known.path in there:
            # Unchanged since last time; or another process has archived it meanwhile.
            return AlreadyArchived(outcome.call_id, self.folder / known.path, task.call), None
        for path in there:
            found = examine(self.folder, path, task.call.id)
            if found is not None and (found.sound or found.sha256 in {task.had, outcome.sha256}):
                row = adopted_row(task.call.id, task.known, found, now, self.run)
                return AlreadyArchived(outcome.call_id, self.folder / path, task.call), row
            if self._is_left_over(connection, path):
                quarantine(self.folder, path)
        error = RecordingError(
            f"a file that is no whole recording was in the way at {stem.name}; run again"
        )
        error.call_id = task.call.id
        failed = Failed(task.call.id, error, task.call)
        return self._row(task, failed, now)

    def _is_left_over(self, connection: sqlite3.Connection, path: PurePosixPath) -> bool:
        """Whether a file that the catalog does not know is older than this run: one was killed."""
        try:
            written = (self.folder / path).lstat().st_mtime
        except OSError:
            return False
        return written < self.began and not owners_of(connection, [path.as_posix()])

    def _placed(self, task: Task, row: RecordingRow | None, state: str) -> Placed:
        known = row or task.known
        stem = task.stem if known is None or known.path is None else stem_of(known.path)
        return Placed(task.call, stem, state)

    def _inside(self, path: Path) -> PurePosixPath:
        """A path of an outcome, relative to the archive."""
        return PurePosixPath(path.relative_to(self.folder))

    def _tidy(self, task: Task, outcome: Outcome) -> None:
        """What was put aside and turns out to be the very same bytes is not needed any more."""
        aside = task.aside
        if (
            aside is not None
            and isinstance(outcome, Archived)
            and outcome.recording.sha256 == aside.sha256
        ):
            remove(os.fspath(self.folder / aside.path))
