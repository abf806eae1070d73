"""Where the calls of one batch belong: what the catalog says of each, and what the disk says."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from agentphone_async.archive.catalog.recordings import owners_of
from agentphone_async.archive.catalog.rows import ON_DISK, PATH, SIZE, STATE, RecordingRow, State
from agentphone_async.archive.files import Found, Untracked, examine, quarantine, size_of
from agentphone_async.archive.names import Names, places, stem_of
from agentphone_async.archive.options import Placed
from agentphone_async.archive.run.plan import Policy, Step, next_step
from agentphone_async.archive.run.task import Task
from agentphone_async.models import Call
from agentphone_async.recordings.naming import digest
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    NoRecording,
    NotReadyYet,
    Outcome,
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What all batches of a run have in common.

    Attributes:
        folder: the archive.
        policy: which calls are asked for.
        names: where recordings go.
        run: the run's number; None in a dry run, where nothing is changed.
        placing: whether anybody wants to know where calls have their places.
    """

    folder: Path
    policy: Policy
    names: Names
    run: int | None
    placing: bool = True


@dataclass(slots=True)
class Plan:
    """What is to be done about a batch.

    Attributes:
        selected: how many of its calls are wanted.
        undated: how many lie in no range of days, because their beginning cannot be read.
        settled: what calls came to that need no request.
        placed: those calls again, with their places.
        tasks: the others.
        adopted: files that were found on the disk, and belong to the catalog now.
        calls: what the catalog is to be told of calls, each with its JSON text,
        rows: and of recordings,
        folders: and of folders that the run has begun to use.
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

    @property
    def writes(self) -> bool:
        """Whether the catalog is to be told anything."""
        return bool(self.calls or self.rows or self.folders)


class Batch:
    """One batch on its way through `Planner.plan`; nothing is written into the catalog here.

    Attributes:
        plan: what was decided so far.
    """

    def __init__(
        self, terms: Terms, untracked: Untracked, connection: sqlite3.Connection, now: datetime
    ) -> None:
        self._terms = terms
        self._untracked = untracked
        self._placeless: list[tuple[Call, RecordingRow | None]] = []
        self._connection = connection
        self._now = now
        self.plan = Plan()

    def keep(self, call: Call, row: Sequence[Any]) -> bool:
        """Settle a call that is archived, as its row and the disk agree; the usual case."""
        terms = self._terms
        state, path = row[STATE], row[PATH]
        if state not in ON_DISK or terms.policy.refresh:
            return False
        if size_of(terms.folder, path) != row[SIZE]:
            return False
        self.plan.settled.append(AlreadyArchived(call.id, terms.folder / path, call))
        if terms.placing:
            self.plan.placed.append(Placed(call, stem_of(PurePosixPath(path)), state))
        return True

    def decide(self, call: Call, known: RecordingRow | None, *, changed: bool) -> None:
        """Put a wanted call where it belongs."""
        terms = self._terms
        match next_step(call, known, changed=changed, policy=terms.policy, now=self._now):
            case Step.KEEP | Step.FETCH if known is not None and known.path is not None:
                self._compare(call, known, known.path)
            case Step.NOT_READY:
                self._note(call, known, "not_ready")
                self._settle(NotReadyYet(call.id, call), call, known, "not_ready")
            case Step.NO_RECORDING:
                self._note(call, known, "no_recording")
                self._settle(NoRecording(call.id, call), call, known, "no_recording")
            case _:
                self._placeless.append((call, known))

    def _compare(self, call: Call, known: RecordingRow, path: PurePosixPath) -> None:
        """It was archived: the disk has to agree, or it is fetched again."""
        folder = self._terms.folder
        size = size_of(folder, path)
        if known.on_disk and size == known.size and not self._terms.policy.refresh:
            self._settle(AlreadyArchived(call.id, folder / path, call), call, known, known.state)
            return
        task = Task(call, stem_of(path), known)
        if not known.on_disk or size != known.size:
            task.known = self._lost(known, path, gone=size is None)
            if size is not None and self._adopt(call, task, path):
                return
        self.plan.tasks.append(task)

    def _lost(self, known: RecordingRow, path: PurePosixPath, *, gone: bool) -> RecordingRow:
        """What the catalog claims is not there (any more): it must not go on claiming it."""
        what = "is gone" if gone else "was altered"
        lost = replace(
            known,
            state="failed",
            last_error=f"the file {path.name} {what}" if known.on_disk else known.last_error,
            updated=self._now,
            run=self._terms.run,
        )
        if known.on_disk:
            self.plan.rows.append(lost)
        return lost

    def finish(self) -> None:
        """Look where the recordings that have no place yet are to go."""
        stems = [self._terms.names.stem(call) for call, _ in self._placeless]
        wanted = [path for stem in stems for path in places(stem)]
        owners = owners_of(self._connection, wanted) if wanted else {}
        for (call, known), stem in zip(self._placeless, stems, strict=True):
            self._look(call, known, stem, owners)
        self._placeless.clear()

    def _look(
        self,
        call: Call,
        known: RecordingRow | None,
        stem: PurePosixPath,
        owners: Mapping[str, str],
    ) -> None:
        """It is to be fetched, unless a sound file lies there already."""
        if any(owners.get(path, call.id) != call.id for path in places(stem)):
            # Another template has given that place to another call.
            stem = stem.parent / f"{stem.name}~{digest(call.id)}"
        task = Task(call, stem, known)
        untracked = self._untracked.in_folder(self._connection, stem.parent)
        for place in places(stem) if untracked else ():
            path = PurePosixPath(place)
            if (
                path.name in untracked
                and size_of(self._terms.folder, path) is not None
                and self._adopt(call, task, path)
            ):
                return
        self.plan.tasks.append(task)

    def _adopt(self, call: Call, task: Task, path: PurePosixPath) -> bool:
        """Take a file that proves itself whole into the catalog; put any other one aside."""
        terms = self._terms
        if terms.run is None:  # a dry run reads nothing and moves nothing
            known = task.known
            if known is None or known.sha256 is None:
                outcome = AlreadyArchived(call.id, terms.folder / path, call)
                self._settle(outcome, call, known, "archived")
                return True
            return False
        found = examine(terms.folder, path, call.id)
        if found is None:
            return False
        same = task.had == found.sha256
        if found.sound or same:
            if task.had is not None and not same:
                return self._reject(task, found)
            row = adopted_row(call.id, task.known, found, self._now, terms.run)
            self.plan.rows = [old for old in self.plan.rows if old.call_id != call.id] + [row]
            self.plan.adopted.append(path)
            outcome = AlreadyArchived(call.id, terms.folder / path, call)
            self._settle(outcome, call, row, row.state)
            return True
        return self._reject(task, found)

    def _reject(self, task: Task, found: Found) -> bool:
        aside = quarantine(self._terms.folder, found.path)
        task.aside = replace(found, path=aside)
        return False

    def _note(self, call: Call, known: RecordingRow | None, state: State) -> None:
        """Write a state down, if it is news or belongs to this run's waiting."""
        if known is None:
            row = RecordingRow(call.id, state, self._now, self._now, run=self._terms.run)
            self.plan.rows.append(row)
        elif known.state != state or state == "not_ready":
            self.plan.rows.append(
                replace(
                    known,
                    state=state,
                    updated=self._now,
                    run=self._terms.run,
                    last_error=None,
                )
            )

    def _settle(self, outcome: Outcome, call: Call, known: RecordingRow | None, state: str) -> None:
        self.plan.settled.append(outcome)
        if self._terms.placing:
            stem = None if known is None or known.path is None else stem_of(known.path)
            placed = Placed(call, stem or self._terms.names.stem(call), state)
            self.plan.placed.append(placed)


def adopted_row(
    call_id: str, known: RecordingRow | None, found: Found, now: datetime, run: int | None
) -> RecordingRow:
    """The row of a file that was found whole."""
    audio = found.audio
    base = known or RecordingRow(call_id, "archived", now, now)
    again = known is not None and known.path is not None and known.path != found.path
    return replace(
        base,
        state="archived" if audio is not None and audio.suspect is None else "suspect",
        version=base.version + 1 if again else base.version,
        path=found.path,
        size=found.size,
        sha256=found.sha256,
        media_type=audio.media_type if audio else base.media_type,
        sample_rate=audio.sample_rate if audio else None,
        channels=audio.channels if audio else None,
        duration=audio.duration_seconds if audio else None,
        updated=now,
        last_error=audio.suspect if audio else "its header does not prove that it is whole",
        run=run,
    )
