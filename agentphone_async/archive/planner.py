"""A batch of listed calls meets the catalog and the disk; blocking, for the catalog's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.catalog.calls import (
    changed_calls,
    first_sights,
    note_listed,
    pending_of,
    store_calls,
    unlisted,
)
from agentphone_async.archive.catalog.recordings import (
    current_columns,
    owners_of,
    store_recordings,
)
from agentphone_async.archive.catalog.rows import (
    ON_DISK,
    OPEN,
    PATH,
    SIZE,
    STATE,
    RecordingRow,
    State,
    recording_row,
    with_file,
)
from agentphone_async.archive.catalog.runs import use_folders
from agentphone_async.archive.files.on_disk import Found
from agentphone_async.archive.files.storage import Files
from agentphone_async.archive.names import all_places, folders_of, names_of, places, stem_of
from agentphone_async.archive.options import Placed, RunOptions
from agentphone_async.archive.plan import Plan, Step, Task, adopted_version, next_step
from agentphone_async.archive.selection import Selection
from agentphone_async.models import Call
from agentphone_async.recordings.jobs import Job
from agentphone_async.recordings.naming import digest
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    NoRecording,
    NotReadyYet,
    Outcome,
)
from agentphone_async.sinks.erased import Tombstones


class Planner:
    """Plans batches of one run.

    Args:
        files: where recordings lie.
        options: which calls are asked for, and how files are named.
        selection: which calls are wanted.
        key: hashes ids in names; None for plain names.
        run: the run's number; None in a dry run, where nothing is changed.
        placing: whether anybody wants to know where calls have their places.
        tombstones: of calls that were erased, and do not come back.
    """

    def __init__(
        self,
        files: Files,
        options: RunOptions,
        selection: Selection,
        *,
        key: bytes | None = None,
        run: int | None = None,
        placing: bool = False,
        tombstones: Tombstones | None = None,
    ) -> None:
        self.names = names_of(options, key)
        self.files = files
        self.options = options
        self.run = run
        self.placing = placing
        self._tombstones = tombstones
        self._selection = selection
        self._any_day = replace(selection, since=None, until=None)
        self._folders: set[PurePosixPath] = set()
        self._untracked: dict[str, frozenset[str]] = {}

    def plan(self, connection: sqlite3.Connection, calls: Sequence[Call], now: datetime) -> Plan:
        """Decide about a batch; what follows from it is to be written by `store`.

        What was found on the disk without being in the catalog is read, judged and adopted: a run
        was killed between renaming a file and writing its row.

        Raises:
            DestinationError: the disk failed.
        """
        if self._tombstones:
            calls = [call for call in calls if not self._tombstones.covers(call.id)]
        ids = [call.id for call in calls]
        rows = current_columns(connection, ids)
        lacking = pending_of(connection, ids) if self.placing else set()
        seen = first_sights(connection, [call.id for call in calls if call.started_at is None])
        batch = _Batch(self, self._untracked, connection, now)
        plan = batch.plan
        wanted = [
            call for call in calls if self._wants(call, rows.get(call.id), lacking, seen, now)
        ]
        plan.selected = len(wanted)
        plan.undated = sum(call.started_at is None for call in wanted)
        if len(wanted) < len(calls) and self.run is not None:
            chosen = {call.id for call in wanted}
            plan.unknown = unlisted(connection, [one for one in ids if one not in chosen])
        if not wanted:
            return plan
        store, changed, plan.news = changed_calls(connection, wanted, now)
        for call in wanted:
            row = rows.get(call.id)
            if row is None or not batch.keep(call, row):
                known = None if row is None else recording_row(row, connection)
                batch.decide(call, known, changed=call.id in changed)
        batch.finish()
        if self.run is not None:
            plan.folders = folders_of(task.stem for task in plan.tasks) - self._folders
            plan.calls = store
            self.files.make_durable(plan.adopted)
        return plan

    def store(self, connection: sqlite3.Connection, plan: Plan, now: datetime) -> None:
        """Write down what follows from a plan without a request."""
        if self.run is None:
            return
        store_calls(connection, plan.calls, now)
        store_recordings(connection, plan.rows)
        use_folders(connection, self.run, plan.folders)
        note_listed(connection, plan.unknown)
        self._folders |= plan.folders

    def _wants(
        self,
        call: Call,
        row: Sequence[Any] | None,
        lacking: Collection[str],
        seen: Mapping[str, datetime],
        now: datetime,
    ) -> bool:
        """Whether it is selected, or remembered from another run as unfinished.

        A call without a readable beginning is dated by its end, or by when it was first seen:
        that is now if no run has met it, so that it is passed over by no run that goes up to now.
        """
        began = call.started_at or call.ended_at or seen.get(call.id, now)
        if self._selection.contains(began) or (call.started_at is None and row is None):
            return self._any_day.wants(call)
        unfinished = call.id in lacking or (row is not None and row[STATE] in OPEN)
        return unfinished and self._any_day.wants(call)


class _Batch:
    """One batch on its way through `Planner.plan`; nothing is written into the catalog here."""

    def __init__(
        self,
        planner: Planner,
        untracked: dict[str, frozenset[str]],
        connection: sqlite3.Connection,
        now: datetime,
    ) -> None:
        self.plan = Plan()
        self._planner = planner
        self._untracked = untracked
        self._placeless: list[tuple[Call, RecordingRow | None]] = []
        self._connection = connection
        self._now = now

    def keep(self, call: Call, row: Sequence[Any]) -> bool:
        """Settle a call that is archived, as its row and the disk agree; the usual case."""
        planner = self._planner
        state, path = row[STATE], row[PATH]
        if state not in ON_DISK or planner.options.refresh:
            return False
        if planner.files.size_of(path) != row[SIZE]:
            return False
        self.plan.settled.append(AlreadyArchived(call.id, planner.files.root / path, call))
        if planner.placing:
            self.plan.placed.append(Placed(call, stem_of(PurePosixPath(path)), state))
        return True

    def decide(self, call: Call, known: RecordingRow | None, *, changed: bool) -> None:
        """Put a wanted call where it belongs."""
        planner = self._planner
        match next_step(call, known, changed=changed, options=planner.options, now=self._now):
            case Step.KEEP | Step.FETCH if known is not None and known.path is not None:
                self._compare(call, known, known.path)
            case Step.NOT_READY:
                self._note(call, known, "not_ready")
                self._settle(NotReadyYet(call.id, call), call, known, "not_ready")
            case Step.DISPUTED:
                self.plan.disputed += 1
                self._settle(NotReadyYet(call.id, call), call, known, "disputed")
            case Step.NO_RECORDING:
                self._note(call, known, "no_recording")
                self._settle(NoRecording(call.id, call), call, known, "no_recording")
            case _:
                self._placeless.append((call, known))

    def _compare(self, call: Call, known: RecordingRow, path: PurePosixPath) -> None:
        """It was archived: the disk has to agree, or it is fetched again."""
        files = self._planner.files
        size = files.size_of(path)
        if known.on_disk and size == known.size and not self._planner.options.refresh:
            outcome = AlreadyArchived(call.id, files.root / path, call)
            self._settle(outcome, call, known, known.state)
            return
        task = Task(call, stem_of(path), known)
        if not known.on_disk or size != known.size:
            task.known = self._lost(known, path, gone=size is None)
            if size is not None and self._adopt(call, task, path):
                return
        self.plan.tasks.append(task)

    def _lost(self, known: RecordingRow, path: PurePosixPath, *, gone: bool) -> RecordingRow:
        """What the catalog claims is not there (any more): it must not keep claiming it."""
        what = "is gone" if gone else "was altered"
        lost = known._replace(
            state="failed",
            last_error=f"the file {path.name} {what}" if known.on_disk else known.last_error,
            updated=self._now,
            run=self._planner.run,
        )
        if known.on_disk:
            self.plan.rows.append(lost)
        return lost

    def finish(self) -> None:
        """Look where the recordings that have no place yet are to go."""
        stems = [self._planner.names.stem(call) for call, _ in self._placeless]
        wanted = [path for stem in stems for path in places(stem)]
        owners = owners_of(self._connection, wanted) if wanted else {}
        own = [
            own_stem(call, stem, owners)
            for (call, _), stem in zip(self._placeless, stems, strict=True)
        ]
        untracked = self._untracked_among(own)
        for (call, known), stem in zip(self._placeless, own, strict=True):
            self._look(call, known, stem, untracked)
        self._placeless.clear()

    def _look(
        self,
        call: Call,
        known: RecordingRow | None,
        stem: PurePosixPath,
        untracked: Mapping[str, frozenset[str]],
    ) -> None:
        """It is to be fetched, unless a sound file lies there already."""
        task = Task(call, stem, known)
        names = untracked.get(str(stem).rpartition("/")[0], frozenset())
        for place in all_places(stem) if names else ():
            path = PurePosixPath(place)
            if (
                path.name in names
                and self._planner.files.size_of(path) is not None
                and self._adopt(call, task, path)
            ):
                return
        self.plan.tasks.append(task)

    def _untracked_among(self, stems: Iterable[PurePosixPath]) -> dict[str, frozenset[str]]:
        """Recordings that the catalog does not know; a folder is read once in a run at most."""
        folders: dict[str, list[str]] = {}
        for stem in stems:
            folder, _, name = str(stem).rpartition("/")
            folders.setdefault(folder, []).append(name)
        for folder, names in folders.items():
            if folder not in self._untracked:
                files = self._planner.files
                found = files.untracked(self._connection, PurePosixPath(folder), names)
                if found is not None:
                    self._untracked[folder] = found
        return self._untracked

    def _adopt(self, call: Call, task: Task, path: PurePosixPath) -> bool:
        """Take a file that proves itself whole into the catalog; put any other one aside."""
        planner = self._planner
        outcome = AlreadyArchived(call.id, planner.files.root / path, call)
        if planner.run is None:  # a dry run reads nothing and moves nothing
            known = task.known
            if known is None or known.sha256 is None:
                self._settle(outcome, call, known, "archived")
                return True
            return False
        found = planner.files.examine(path, call.id)
        if found is None:
            return False
        same = task.had == found.sha256 or found.vouched is True
        if not same and (task.had is not None or not found.sound):
            task.aside = replace(found, path=planner.files.quarantine(found.path))
            return False
        row = adopted_row(call.id, task.known, found, self._now, planner.run)
        self.plan.rows = [old for old in self.plan.rows if old.call_id != call.id] + [row]
        self.plan.adopted.append(path)
        self._settle(outcome, call, row, row.state)
        return True

    def _note(self, call: Call, known: RecordingRow | None, state: State) -> None:
        """Write a state down, if it is news or belongs to this run's waiting."""
        if known is None:
            row = RecordingRow(call.id, state, self._now, self._now, run=self._planner.run)
            self.plan.rows.append(row)
        elif known.state != state or state == "not_ready":
            self.plan.rows.append(
                known._replace(
                    state=state,
                    updated=self._now,
                    run=self._planner.run,
                    last_error=None,
                    ask_after=None,
                )
            )

    def _settle(self, outcome: Outcome, call: Call, known: RecordingRow | None, state: str) -> None:
        self.plan.settled.append(outcome)
        if self._planner.placing:
            stem = None if known is None or known.path is None else stem_of(known.path)
            placed = Placed(call, stem or self._planner.names.stem(call), state)
            self.plan.placed.append(placed)


def own_stem(call: Call, stem: PurePosixPath, owners: Mapping[str, str]) -> PurePosixPath:
    """A place that no other call has: another template may have given it away."""
    if not owners or all(owners.get(path, call.id) == call.id for path in places(stem)):
        return stem
    return stem.parent / f"{stem.name}~{digest(call.id)}"


def adopted_row(
    call_id: str, known: RecordingRow | None, found: Found, now: datetime, run: int | None
) -> RecordingRow:
    """The row of a file that was found whole."""
    base = known or RecordingRow(call_id, "archived", now, now)
    version = adopted_version(known, found.path)
    return with_file(
        base, found.path, found.size, found.sha256, found.audio, now, version=version, run=run
    )


def job_of(task: Task, *, dated: bool) -> Job:
    """What the downloader is to do; a file that is ``dated`` gets the time of its call's end."""
    call = task.call
    return Job(call.id, call, task.target(dated=dated), task, call.duration_seconds)
