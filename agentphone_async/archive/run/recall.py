"""Asking once more, within a run, for what was not ready."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence

from agentphone_async.archive.catalog.calls import get_calls
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import current_recordings, not_ready_in
from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.archive.names import Names
from agentphone_async.archive.run.task import Task
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import AgentPhoneError
from agentphone_async.models import Call
from agentphone_async.recordings.valve import Valve


class Recall:
    """Gives again the calls that a run has found not ready.

    Args:
        client: asks about calls that went on when they were listed.
        catalog: remembers which they were, so that memory does not have to.
        names: of the run.
        run: its number.
        is_due: whether a call may be asked for now; never, once the run is stopped.
        valve: of the run; once it is closed, nothing more is asked about.
    """

    def __init__(
        self,
        client: AsyncAgentPhone,
        catalog: Catalog,
        names: Names,
        run: int,
        is_due: Callable[[Call], bool],
        valve: Valve,
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._names = names
        self._run = run
        self._is_due = is_due
        self._valve = valve

    async def tasks(self) -> AsyncGenerator[Task]:
        """Each of them once; a call that still goes on is left out."""
        after: str | None = None
        while not self._valve.closed:
            ids = await self._catalog.run(not_ready_in, self._run, after)
            if not ids:
                return
            after = ids[-1]
            for call, known in await self._catalog.run(_remembered, ids):
                latest = call if call.is_finished else await self._latest(call)
                if self._is_due(latest):
                    yield Task(latest, self._names.stem(latest), known, again=True)

    async def _latest(self, call: Call) -> Call:
        try:
            return await self._valve.through(lambda _: self._client.calls.get(call.id))
        except AgentPhoneError:
            return call  # it stays not ready; the next run lists it anyway


def _remembered(
    connection: sqlite3.Connection, ids: Sequence[str]
) -> list[tuple[Call, RecordingRow]]:
    rows = current_recordings(connection, ids)
    calls = get_calls(connection, ids)
    return [
        (Call.from_json(json.loads(calls[call_id].raw)), rows[call_id])
        for call_id in ids
        if call_id in calls and call_id in rows
    ]
