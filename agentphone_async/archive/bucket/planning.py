"""Walking the list once, and writing what is to be done as shards."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from agentphone_async.archive.bucket.archive import BucketArchive
from agentphone_async.archive.bucket.manifest import dump
from agentphone_async.archive.bucket.shards import Plan, Shards, new_plan_name
from agentphone_async.archive.bucket.store import Store
from agentphone_async.archive.catalog.recordings import current_columns
from agentphone_async.archive.catalog.rows import ON_DISK, STATE
from agentphone_async.archive.selection import Selection
from agentphone_async.client import AsyncAgentPhone
from agentphone_async.errors import ConfigurationError
from agentphone_async.models import Call
from agentphone_async.sinks.threads import FilePool

SHARD_SIZE = 2_000
"""Calls of one shard: few enough to lose one, enough to hide what a shard costs besides."""

SHARD_BYTES = 32 * 1024**2
"""Bytes of their JSON, at most: whoever takes a shard has it in memory."""

_BATCH = 250
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Walks:
    """Which lists are walked; the account's if none is named.

    Attributes:
        numbers: ids of phone numbers.
        agents: ids of agents.
        each: all of the account's, of one kind.
    """

    numbers: Sequence[str] = ()
    agents: Sequence[str] = ()
    each: Literal["number", "agent"] | None = None

    @property
    def are_several(self) -> bool:
        """Whether it is not the account's list that is walked."""
        return bool(self.numbers or self.agents or self.each)

    async def listings(self, client: AsyncAgentPhone, problems: list[str]) -> list[Any]:
        """The lists, to be walked one after the other; ``problems`` gets what hides some."""
        numbers, agents = list(self.numbers), list(self.agents)
        if self.each == "number":
            numbers += await _all_ids(client.numbers.list, problems)
        if self.each == "agent":
            agents += await _all_ids(client.agents.list, problems)
        lists: list[Any] = [client.numbers.list_calls(one) for one in dict.fromkeys(numbers)]
        lists += [client.agents.list_calls(one) for one in dict.fromkeys(agents)]
        return lists if self.are_several else [client.calls.list()]


async def _all_ids(page: Callable[[int, int], Awaitable[Any]], problems: list[str]) -> list[str]:
    """The ids of everything that is listed in pages."""
    ids: list[str] = []
    rows = 0
    while True:
        found = await page(_PAGE, rows)
        ids += [one.id for one in found.data]
        problems += [str(problem) for problem in found.problems]
        rows += len(found.data) + len(found.problems)
        if not ((found.data or found.problems) and found.has_more):
            return ids


@dataclass(slots=True)
class Planned:
    """What became of planning.

    Attributes:
        plan: what was written.
        listed: different calls that were listed.
        total: how many there are, as the server says of the whole account; None if it does not.
        complete: every walk saw its list to the end.
        problems: rows that could not be read.
    """

    plan: Plan
    listed: int = 0
    total: int | None = None
    complete: bool = True
    problems: list[str] = field(default_factory=list)

    @property
    def lacking(self) -> int:
        """How many calls the account has that no walk has seen."""
        return max(0, (self.total or 0) - self.listed)


async def write_plan(
    archive: BucketArchive,
    client: AsyncAgentPhone,
    selection: Selection | None = None,
    *,
    shard_size: int = SHARD_SIZE,
    walks: Walks | None = None,
    archived: bool = False,
    zone: tzinfo | None = None,
) -> Planned:
    """List calls once and write those that are selected and not archived yet, in shards.

    Args:
        archive: where; made if it is not there.
        client: with an API key.
        selection: which calls; all by default.
        shard_size: calls a shard.
        walks: several lists instead of the account's, which is slow at its end if it has
            millions. What they give together is compared with the account's total.
        archived: take calls whose recordings are archived, too.
        zone: in which workers write the dates in names; UTC by default.

    Raises:
        AgentPhoneError: a page could not be fetched; shards that were written belong to no plan.
    """
    if shard_size < 1:
        raise ConfigurationError(f"shard_size is {shard_size}; it takes at least 1 call")
    now = datetime.now(UTC)
    problems: list[str] = []
    listings = await (walks or Walks()).listings(client, problems)
    async with archive.opened(make=True):
        writer = _Writer(
            archive, selection or Selection(), new_plan_name(now), shard_size, archived=archived
        )
        for listing in listings:
            await writer.take(listing)
        if walks is not None and walks.are_several:
            total = (await client.calls.list(limit=1)).total
        else:
            total = listings[0].total
        plan = await writer.finish(now, zone)
    return Planned(
        plan,
        writer.listed,
        total,
        all(listing.complete for listing in listings),
        problems + [str(problem) for listing in listings for problem in listing.problems],
    )


class _Writer:
    """Gathers calls, and writes a shard whenever there are enough."""

    def __init__(
        self,
        archive: BucketArchive,
        selection: Selection,
        name: str,
        shard_size: int,
        *,
        archived: bool,
    ) -> None:
        self._archived = archived
        self.target = Shards(archive.bucket)
        self.pool = FilePool(1)
        self.name = name
        self.shards = self.calls = self.listed = 0
        self._archive = archive
        self._selection = selection
        self._size = shard_size
        self._seen: set[int] = set()
        self._waiting: list[bytes] = []
        self._bytes = 0

    async def take(self, listing: AsyncIterable[Call]) -> None:
        """All calls of one list."""
        batch: list[Call] = []
        async with aclosing(aiter(listing)) as calls:  # type: ignore[type-var]
            async for call in calls:
                mark = hash(call.id)
                if mark in self._seen:
                    continue
                self._seen.add(mark)
                self.listed += 1
                if self._selection.wants(call):
                    batch.append(call)
                if len(batch) >= _BATCH:
                    await self._add(batch)
                    batch = []
        await self._add(batch)
        await self._write()

    async def finish(self, now: datetime, zone: tzinfo | None) -> Plan:
        """Write the plan of all shards."""
        about = {name: _text(self._selection, name) for name in ("since", "until")}
        about["zone"] = getattr(zone, "key", None)
        if await self._archive.do(Store.fetch_tombstones):  # erased since the list was begun
            await self._archive.do(lambda store: self.target.scrub(store.tombstones))
        plan = Plan(self.name, self.shards, self.calls, now.isoformat(), about)
        await self.pool.run(self.target.finish, plan)
        self.pool.close()
        return plan

    async def _add(self, batch: Sequence[Call]) -> None:
        ids = [call.id for call in batch]
        passed_over = await self._archive.do(_passed_over, ids, archived=self._archived)
        for call in batch:
            if call.id not in passed_over:
                line = dump(call.without_tokens())
                if len(self._waiting) == self._size or self._bytes + len(line) > SHARD_BYTES:
                    await self._write()
                self._waiting.append(line)
                self._bytes += len(line)

    async def _write(self) -> None:
        """Write what is waiting as a shard, if anything is."""
        if self._waiting:
            await self.pool.run(self.target.write, self.name, self.shards, self._waiting)
            self.shards += 1
            self.calls += len(self._waiting)
            self._waiting, self._bytes = [], 0


def _passed_over(store: Store, ids: Sequence[str], *, archived: bool) -> set[str]:
    """Those of some calls that were erased, and those that are archived unless they are wanted."""
    erased = {call_id for call_id in ids if store.tombstones.covers(call_id)}
    if archived or not ids:
        return erased
    rows = current_columns(store.connection, ids)
    return erased | {call_id for call_id, row in rows.items() if row[STATE] in ON_DISK}


def _text(selection: Selection, name: str) -> str | None:
    moment = getattr(selection, name)
    return None if moment is None else moment.isoformat()
