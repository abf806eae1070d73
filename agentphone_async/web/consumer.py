"""From the inbox into the archive: one reader, in rounds.

A round is a run of the archive that is fed with single calls: the event names the call, the API
says what is true of it. A recording that is not there yet is asked for again until it is. Between
rounds the archive's lock is free, so that other commands get their turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from agentphone_async.archive.archive import Archive
from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.files.sidecar_files import Sidecar, SidecarFiles, pretty, sha256_of
from agentphone_async.archive.options import Placed, RunOptions
from agentphone_async.archive.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import (
    AgentPhoneError,
    ArchiveLockedError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
)
from agentphone_async.models import Call
from agentphone_async.protocol.display import hint
from agentphone_async.recordings.pipeline import work_on
from agentphone_async.sinks.erased import Tombstones
from agentphone_async.web.inbox import Inbox
from agentphone_async.web.inbox_rows import Waiting

EVENT = "event"
"""Kind of a sidecar: what the webhook told, as ``event-{id}.json``."""

AT_ONCE = 16
"""Calls that the API is asked for at a time."""

BATCH = 64
ROUND = timedelta(seconds=30)
"""A round takes no more calls after this long."""

FIRST_PAUSE = 2.5
"""Seconds after which a recording that is not there yet is asked for again."""

EAGER = 600.0
"""Seconds after an event for which pauses stay that short; they grow with age after that."""

MOST_A_SECOND = 40
"""Calls asked for again, whatever the number that waits."""

LONGEST_PAUSE = 900.0
AFTER_ERROR = 10.0
GIVE_UP = 86400.0
"""Seconds after which a call that the API does not know counts as unknown."""

_log = logging.getLogger("agentphone_async.web")
_ENDS = {"archived": "archived", "suspect": "archived", "empty": "archived"}


class Events:
    """Writes what events told beside recordings, and marks them as done; a `SidecarWriter`.

    Args:
        files: where sidecars go.
        inbox: where events wait.
        settled: told of the calls that were dealt with, whatever came of them.
        now: Unix time.
        counts: where ``archived`` and ``without_recording`` are counted.
    """

    def __init__(
        self,
        files: SidecarFiles,
        inbox: Inbox,
        settled: Callable[[Sequence[str]], None],
        now: Callable[[], float],
        counts: Counter[str],
    ) -> None:
        self._files = files
        self._inbox = inbox
        self._settled = settled
        self._now = now
        self._counts = counts

    async def process(self, calls: Sequence[Placed]) -> None:
        """The archive has dealt with these calls.

        Raises:
            DestinationError: the disk, the catalog or the inbox failed.
        """
        ids = [placed.call.id for placed in calls]
        waiting = await self._inbox.of(ids)
        mine = [placed for placed in calls if placed.call.id in waiting]
        if mine:
            await self._write([(placed, waiting[placed.call.id]) for placed in mine])
            await self._mark(mine, waiting)
        self._settled(ids)

    async def finish(self, folders: Sequence[PurePosixPath]) -> None:
        """Nothing is left to do."""

    async def _write(self, found: Sequence[tuple[Placed, Waiting]]) -> None:
        known = await self._files.known([placed.call.id for placed, _ in found])
        files: list[Sidecar] = []
        for placed, waiting in found:
            call_id = placed.call.id
            body = pretty(waiting.facts.as_sidecar(call_id))
            path = placed.stem.parent / f"event-{self._files.named(call_id)}.json"
            row = known.get((call_id, EVENT))
            if row is None or row.path != path or row.sha256 != sha256_of(body):
                files.append(Sidecar(call_id, EVENT, path, body))
        await self._files.store(files)

    async def _mark(self, calls: Sequence[Placed], waiting: dict[str, Waiting]) -> None:
        again: list[Waiting] = []
        for state, end in (*_ENDS.items(), ("no_recording", "no_recording")):
            done = [waiting[placed.call.id] for placed in calls if placed.state == state]
            if done:
                await self._inbox.done(done, end)
                name = "archived" if end == "archived" else "without_recording"
                self._counts[name] += len(done)
        erased = [placed.call.id for placed in calls if placed.state == "erased"]
        if erased:
            await self._inbox.drop(erased)
        for placed in calls:
            if placed.state not in {*_ENDS, "no_recording", "erased"}:
                again.append(waiting[placed.call.id])
                self._counts["failures"] += placed.state != "not_ready"
        await put_off(self._inbox, again, self._now())


async def put_off(inbox: Inbox, calls: Sequence[Waiting], now: float, least: float = 0.0) -> None:
    """Look at calls again later: soon while they are young, and not too many a second."""
    by_pause: dict[float, list[str]] = {}
    crowd = len(calls) / MOST_A_SECOND
    for call in calls:
        age = now - call.received
        pause = FIRST_PAUSE if age < EAGER else min(age / 100, LONGEST_PAUSE)
        by_pause.setdefault(max(pause, crowd, least), []).append(call.call_id)
    for pause, ids in by_pause.items():
        await inbox.later(ids, now + pause)


class Consumer:
    """Archives the calls of the inbox.

    Args:
        archive: where recordings go.
        client: an open client with an API key.
        inbox: where events wait.
        options: of all runs.
        counts: where what happens is counted.
        now: Unix time.
        clock: seconds, for how long a round takes.
    """

    def __init__(
        self,
        archive: Archive | BucketArchive,
        client: AsyncAgentPhone,
        inbox: Inbox,
        options: RunOptions,
        counts: Counter[str],
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._archive = archive
        self._client = client
        self._inbox = inbox
        self._options = options
        self._counts = counts
        self._now = now
        self._clock = clock
        self._under_way: dict[str, Waiting] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take only calls that were never looked at, and end."""
        self._stopping.set()
        self._inbox.changed.set()

    async def round(self) -> None:
        """One run of the archive, with the calls that are due, and those that become due.

        Raises:
            AgentPhoneError: as `Archive.run`.
        """
        async with self._files() as files:
            pause = AFTER_ERROR
            try:
                await self._archive.run(
                    self._client,
                    Selection(),
                    self._options,
                    sidecar_writers=[self._events(files)],
                    calls=self._calls(),
                )
            except ArchiveLockedError:
                pause = 0.0
                raise
            finally:
                left = [each.call_id for each in self._under_way.values()]
                self._under_way.clear()
                with suppress(AgentPhoneError):  # they stay due, then
                    await self._inbox.later(left, self._now() + pause)

    async def poll(self, selection: Selection, options: RunOptions) -> None:
        """A run of the archive over the account's list of calls.

        Raises:
            AgentPhoneError: as `Archive.run`.
        """
        async with self._files() as files:
            report = await self._archive.run(
                self._client, selection, options, sidecar_writers=[self._events(files)]
            )
        self._counts["polls"] += 1
        _log.info("read the list of calls: %d new recordings", report.archived + report.suspect)
        for problem in report.problems:
            _log.warning("%s", problem)

    def _files(self) -> SidecarFiles:
        options = self._options
        return SidecarFiles(
            self._archive.folder,
            fsync=options.fsync,
            hash_ids=options.hash_ids,
            files=self._archive.files,
        )

    def _events(self, files: SidecarFiles) -> Events:
        return Events(files, self._inbox, self._settled, self._now, self._counts)

    def _settled(self, ids: Sequence[str]) -> None:
        for call_id in ids:
            self._under_way.pop(call_id, None)
        self._inbox.changed.set()

    async def _calls(self) -> AsyncGenerator[Call]:
        """Calls from the API, as their events are due; each again only when it was settled."""
        ends = self._clock() + ROUND.total_seconds()
        while self._clock() < ends or self._under_way:
            self._inbox.changed.clear()
            late = self._clock() >= ends
            due = [] if late else await self._due()
            for call in await self._ask(due):
                yield call
            if due:
                continue
            coming = await self._inbox.next_due()
            pause = 1.0 if coming is None else min(max(coming - self._now(), 0.05), 1.0)
            soon = coming is not None and coming - self._now() < 2 * FIRST_PAUSE
            if not self._under_way and (self._stopping.is_set() or not soon):
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._inbox.changed.wait()

    async def _due(self) -> list[Waiting]:
        due = await self._inbox.due(self._now(), BATCH, self._under_way.keys())
        if self._stopping.is_set():
            due = [each for each in due if not each.attempts]
        tombstones = Tombstones.load(self._archive.folder) if due else Tombstones()
        erased = [each.call_id for each in due if tombstones.covers(each.call_id)]
        if erased:
            await self._inbox.drop(erased)
        return [each for each in due if each.call_id not in erased]

    async def _ask(self, due: Sequence[Waiting]) -> list[Call]:
        found: list[Call] = []
        unknown: list[Waiting] = []
        failed: list[Waiting] = []

        async def ask(waiting: Waiting) -> None:
            try:
                call = await self._client.calls.get(waiting.call_id)
            except (AuthenticationError, PermissionDeniedError):
                raise
            except NotFoundError:
                unknown.append(waiting)
            except AgentPhoneError as error:
                _log.warning("cannot ask for call %s: %s", hint(waiting.call_id), error)
                failed.append(waiting)
            else:
                self._under_way[call.id] = waiting
                found.append(as_listed(call))

        if due:
            await work_on(due, ask, at_once=min(AT_ONCE, len(due)))
            await self._not_found(unknown, failed)
        return found

    async def _not_found(self, unknown: Sequence[Waiting], failed: Sequence[Waiting]) -> None:
        now = self._now()
        lost = [each for each in unknown if now - each.received > GIVE_UP]
        if lost:
            await self._inbox.done(lost, "unknown")
            self._counts["unknown"] += len(lost)
            _log.warning("the API does not know %d calls that webhooks named", len(lost))
        self._counts["failures"] += len(failed)
        again = [*(each for each in unknown if each not in lost), *failed]
        await put_off(self._inbox, again, now, AFTER_ERROR)


def as_listed(call: Call) -> Call:
    """A call as the list of calls would have it: without what was said."""
    return Call.from_json({name: each for name, each in call.raw.items() if name != "transcripts"})


def a_day_before(moment: datetime) -> Selection:
    """What the first poll of an empty archive reads: webhooks tell the rest."""
    return Selection(since=moment - timedelta(days=1))
