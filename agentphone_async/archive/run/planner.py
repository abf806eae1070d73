"""A batch of listed calls meets the catalog and the disk; blocking, for the catalog's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.catalog.calls import changed_calls, store_calls
from agentphone_async.archive.catalog.catalog import in_transaction
from agentphone_async.archive.catalog.owed import owing
from agentphone_async.archive.catalog.recordings import (
    STATE,
    current_columns,
    recording_row,
    store_recordings,
)
from agentphone_async.archive.catalog.rows import OPEN
from agentphone_async.archive.catalog.runs import use_folders
from agentphone_async.archive.disk.strays import Strays
from agentphone_async.archive.disk.truth import make_durable
from agentphone_async.archive.run.batch import Batch, Plan, Terms
from agentphone_async.archive.selection.selection import Selection
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
        self._strays = Strays(terms.folder)
        self._folders: set[PurePosixPath] = set()

    def plan(self, connection: sqlite3.Connection, calls: Sequence[Call], now: datetime) -> Plan:
        """Decide about a batch, and write down what follows without a request.

        What was found on the disk without being in the catalog is read, judged and adopted: a run
        was killed between renaming a file and writing its row.

        Raises:
            DestinationError: the disk failed.
        """
        batch = Batch(self._terms, self._strays, connection, now)
        rows = current_columns(connection, [call.id for call in calls])
        lacking = owing(connection, [call.id for call in calls]) if self._terms.placing else set()
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
        folders = {task.stem.parent for task in batch.plan.tasks} - self._folders
        run = self._terms.run
        if run is not None and (store or batch.rows or folders):
            make_durable(self._terms.folder, batch.plan.adopted)

            def write() -> None:
                store_calls(connection, store, now)
                store_recordings(connection, batch.rows)
                use_folders(connection, run, folders)

            in_transaction(connection, write)
            self._folders |= folders
        return batch.plan

    def _wants(self, call: Call, row: Sequence[Any] | None, lacking: Collection[str]) -> bool:
        """Whether it is selected, or remembered from another run as unfinished."""
        if self._selection.wants(call):
            return True
        unfinished = call.id in lacking or (row is not None and row[STATE] in OPEN)
        return unfinished and self._any_day.wants(call)
