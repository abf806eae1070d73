"""Asking again, within a run, for what was not ready, until a deadline.

Also asking by id for calls that earlier runs have left open, where a run does not walk the whole
list.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence

import anyio

from agentphone_async.archive.catalog.calls import get_calls
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.recordings import (
    current_recordings,
    not_ready_in,
    owners_of,
)
from agentphone_async.archive.catalog.rows import RecordingRow
from agentphone_async.archive.files.storage import Environment
from agentphone_async.archive.names import places
from agentphone_async.archive.plan import Task, is_too_young
from agentphone_async.archive.planner import Planner, job_of, own_stem
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import AgentPhoneError, NotFoundError
from agentphone_async.models import Call
from agentphone_async.recordings.jobs import Job
from agentphone_async.recordings.pipeline import work_on
from agentphone_async.recordings.stop import StopToken
from agentphone_async.waiting import first_of

_log = logging.getLogger("agentphone_async.archive")

AT_ONCE = 8
"""Calls that are asked about at a time."""


class Poller:
    """Gives again the calls that a run has found not ready.

    Args:
        client: asks about calls that were in progress when they were listed.
        catalog: remembers which they were, so that memory does not have to.
        planner: of the run; its options say how long to wait, and for calls of which age.
        run: its number.
        environment: of the run; for its clocks.
        stop: of the run; after it, nothing more is asked about.
    """

    def __init__(
        self,
        client: AsyncAgentPhone,
        catalog: Catalog,
        planner: Planner,
        run: int,
        environment: Environment,
        stop: StopToken,
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._names = planner.names
        self._options = planner.options
        self._run = run
        self._environment = environment
        self._stop_token = stop

    async def rounds(
        self, waitable: Callable[[], int], stopped: asyncio.Event
    ) -> AsyncGenerator[AsyncGenerator[Job]]:
        """All of them again and again, with growing pauses, while any of them may come."""
        clock, left, pause = self._environment.monotonic, self._options.wait, 2.0
        deadline = clock() + left
        while left > 0 and waitable() and not stopped.is_set():
            pause = min(pause, left)
            line = "%d recordings are not ready yet; asking again in %.0f s"
            _log.info(line, waitable(), pause, extra={"seconds": pause})
            await first_of(self._environment.sleep(pause), stopped.wait())
            if stopped.is_set():
                return
            left = min(left - pause, deadline - clock())
            pause = min(pause * 1.5, 30.0)
            yield self.jobs(lambda: deadline - clock())

    async def jobs(self, over: Callable[[], float]) -> AsyncGenerator[Job]:
        """Each of them once; a call that is still in progress is left out.

        Args:
            over: tells the seconds that are left; nothing is asked when there are none.
        """
        after: str | None = None
        while not self._stop_token.closed and over() > 0:
            ids = await self._catalog.run(not_ready_in, self._run, after)
            if not ids:
                return
            after = ids[-1]
            remembered = await self._catalog.run(_remembered, ids)
            latest: dict[str, Call] = {}
            with anyio.move_on_after(over()):
                await self._ask([call for call, _ in remembered], latest)
            due = [
                (latest.get(call.id, call), known)
                for call, known in remembered
                if self._is_due(latest.get(call.id, call))
            ]
            for task in await self._catalog.run(self._placed, due):
                yield job_of(task, dated=self._options.mtime)

    def _is_due(self, call: Call) -> bool:
        """Whether a call may be asked for now; never, once the run is stopped."""
        now = self._environment.now()
        young = is_too_young(call, self._options.min_age, now)
        return not self._stop_token.closed and call.finished_at(now) and not young

    async def _ask(self, calls: Sequence[Call], latest: dict[str, Call]) -> None:
        """Ask, side by side, about those that are not over."""

        async def ask(call: Call) -> None:
            try:
                latest[call.id] = await self._stop_token.through(
                    lambda _: self._client.calls.get(call.id)
                )
            except AgentPhoneError:
                return  # it stays not ready; the next run lists it anyway

        live = [call for call in calls if not call.is_finished]
        await work_on(live, ask, at_once=min(AT_ONCE, len(live)))

    def _placed(
        self, connection: sqlite3.Connection, due: Sequence[tuple[Call, RecordingRow]]
    ) -> list[Task]:
        stems = [self._names.stem(call) for call, _ in due]
        wanted = [path for stem in stems for path in places(stem)]
        owners = owners_of(connection, wanted) if wanted else {}
        return [
            Task(call, own_stem(call, stem, owners), known, again=True)
            for (call, known), stem in zip(due, stems, strict=True)
        ]


async def ask_by_id(client: AsyncAgentPhone, ids: Sequence[str], stop: StopToken) -> list[Call]:
    """The calls of these ids as the API has them now; those that it does not have are left out.

    Raises:
        AgentPhoneError: it cannot be asked.
    """
    found: list[Call] = []

    async def ask(call_id: str) -> None:
        try:
            found.append(await stop.through(lambda _: client.calls.get(call_id)))
        except NotFoundError:
            return

    await work_on(ids, ask, at_once=min(AT_ONCE, len(ids)))
    return found


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
