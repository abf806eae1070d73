"""A batch of listed calls meets the catalog and the disk; blocking, for the catalog's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.catalog.calls import changed_calls, pending_of, store_calls
from agentphone_async.archive.catalog.recordings import current_columns, store_recordings
from agentphone_async.archive.catalog.rows import OPEN, STATE, recording_row
from agentphone_async.archive.catalog.runs import use_folders
from agentphone_async.archive.files import Untracked, make_durable
from agentphone_async.archive.run.batch import Batch, Plan, Terms
from agentphone_async.archive.selection.selection import Selection
from agentphone_async.archive.tombstones import Tombstones
from agentphone_async.models import Call


class Planner:
    """Plans batches of one run.

    Args:
        terms: what holds for all of them.
        selection: which calls are wanted.
    """

    def __init__(self, terms: Terms, selection: Selection) -> None:
        self._terms = terms
        self._selection = selection
        self._any_day = replace(selection, since=None, until=None)
        self._has_range = selection.since is not None or selection.until is not None
        self._untracked = Untracked(terms.folder)
        self._tombstones = Tombstones.load(terms.folder)
        self._folders: set[PurePosixPath] = set()

    def plan(self, connection: sqlite3.Connection, calls: Sequence[Call], now: datetime) -> Plan:
        """Decide about a batch; `Plan.rows` and `Plan.calls` are to be written by `store`.

        What was found on the disk without being in the catalog is read, judged and adopted: a run
        was killed between renaming a file and writing its row.

        Raises:
            DestinationError: the disk failed.
        """
        if self._tombstones:
            calls = [call for call in calls if not self._tombstones.covers(call.id)]
        batch = Batch(self._terms, self._untracked, connection, now)
        rows = current_columns(connection, [call.id for call in calls])
        lacking = (
            pending_of(connection, [call.id for call in calls]) if self._terms.placing else set()
        )
        wanted = [call for call in calls if self._wants(call, rows.get(call.id), lacking)]
        batch.plan.selected = len(wanted)
        if self._has_range:
            batch.plan.undated = sum(
                call.started_at is None and self._any_day.wants(call) for call in calls
            )
        if not wanted:
            return batch.plan
        store, changed = changed_calls(connection, wanted, now)
        for call in wanted:
            row = rows.get(call.id)
            if row is None or not batch.keep(call, row):
                known = None if row is None else recording_row(row)
                batch.decide(call, known, changed=call.id in changed)
        batch.finish()
        plan = batch.plan
        if self._terms.run is not None:
            plan.folders = {task.stem.parent for task in plan.tasks} - self._folders
            plan.calls = store
            make_durable(self._terms.folder, plan.adopted)
        return plan

    def store(self, connection: sqlite3.Connection, plan: Plan, now: datetime) -> None:
        """Write down what follows from a plan without a request."""
        if self._terms.run is None:
            return
        store_calls(connection, plan.calls, now)
        store_recordings(connection, plan.rows)
        use_folders(connection, self._terms.run, plan.folders)
        self._folders |= plan.folders

    def _wants(self, call: Call, row: Sequence[Any] | None, lacking: Collection[str]) -> bool:
        """Whether it is selected, or remembered from another run as unfinished."""
        if self._selection.wants(call):
            return True
        unfinished = call.id in lacking or (row is not None and row[STATE] in OPEN)
        return unfinished and self._any_day.wants(call)
