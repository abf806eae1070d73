"""Calls are erased for good: on demand (`forget`), by age (`prune`), or not at all (`hold`).

The tombstone comes first, so that nothing brings a call back whatever happens next. Then go its
recordings in all versions, the files beside them, bad files that were kept aside, and parts of
large ones that wait for a run to go on with them; then its rows, its lines in sums and index, and
what old catalogs know of it. Each step may be the last one: whoever works on the archive next
continues (`resume`). What is left is an entry that says what was erased when, and not whose it was.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from agentphone_async.archive.call_files import (
    CallFiles,
    files_of,
    is_summed,
    remove_empty,
    remove_files,
)
from agentphone_async.archive.catalog.calls import calls_after
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.erased import (
    UNWRITTEN,
    erase_rows,
    erased_hashes,
    note_erased,
)
from agentphone_async.archive.catalog.opening import check_readable
from agentphone_async.archive.catalog.paths import refuse_strays
from agentphone_async.archive.catalog.rows import CallRow
from agentphone_async.archive.catalog.settings import (
    get_setting,
    keep_erasure_key,
    kept_erasure_key,
    set_setting,
)
from agentphone_async.archive.files.evidence import index_path
from agentphone_async.archive.files.sidecar_files import SidecarFiles
from agentphone_async.archive.lock import ArchiveLock
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.archive.settings_file import erasure_key, load_settings, update_settings
from agentphone_async.archive.tombstones import bury, compact, restore, scrub_old
from agentphone_async.errors import ConfigurationError
from agentphone_async.recordings.jobs import refuse_single
from agentphone_async.sinks.erased import Tombstones

BATCH = 200
"""Calls that are looked up at once."""

Also = Callable[[Path, Sequence[str]], int]
"""Something else that keeps what belongs to calls: erases it, and tells how much there was."""

Ask = Callable[..., Awaitable[Any]]
"""Runs a function on the catalog's connection, as `Catalog.run` does."""

Choice = Callable[[Ask, AbstractSet[str], "ErasureReport"], AsyncGenerator[list[str]]]
"""Gives batches of ids, without those that are held, which it counts."""

_FIELDS = {
    "direction": "direction",
    "status": "status",
    "agent": "agentId",
    "from": "fromNumber",
    "to": "toNumber",
    "call": "id",
}


@dataclass(slots=True)
class ErasureReport:
    """What was erased, or would be.

    Attributes:
        dry_run: nothing was changed.
        calls: whose files or rows were in the archive.
        unknown: of which nothing was there; they cannot come in later, either.
        held: that stay, because they are held.
        recordings: files, all versions.
        sidecars: files beside them.
        others: bad files that were kept aside, partial files, and entries elsewhere.
        bytes: of all these files.
    """

    dry_run: bool
    calls: int = 0
    unknown: int = 0
    held: int = 0
    recordings: int = 0
    sidecars: int = 0
    others: int = 0
    bytes: int = 0
    held_ids: list[str] = field(default_factory=list)

    def add(self, files: CallFiles) -> None:
        """Count what there is of a call."""
        there = bool(files.known or files.paths)
        self.calls += there
        self.unknown += not there
        self.recordings += len(files.recordings)
        self.sidecars += len(files.sidecars)
        self.others += len(files.others)
        self.bytes += files.bytes

    def as_dict(self) -> dict[str, object]:
        """Ready for JSON; without ids."""
        names = ("dry_run", "calls", "unknown", "held", "recordings", "sidecars", "others", "bytes")
        return {name: getattr(self, name) for name in names}


async def forget(
    dest: str | Path,
    call_ids: Iterable[str],
    *,
    dry_run: bool = True,
    wait_lock: float = 0.0,
    also: Sequence[Also] = (),
) -> ErasureReport:
    """Erase all that an archive has of some calls, and let none of it come back.

    Args:
        dest: the archive.
        call_ids: of the calls; those that are held are left, and told.
        dry_run: only find out what there is.
        wait_lock: seconds to wait for a run that is at work here.
        also: what else keeps things of calls.

    Raises:
        CatalogError: the archive is missing, or its catalog cannot be used.
        ArchiveLockedError: a run is at work here.
        DestinationError: the disk failed; the same call again continues.
    """
    report = ErasureReport(dry_run)
    await _erase(Path(dest), these(call_ids), report, "forget", wait_lock, also)
    return report


async def prune(
    dest: str | Path,
    older_than: timedelta,
    *,
    keep: Mapping[str, Sequence[str]] | None = None,
    dry_run: bool = True,
    now: datetime | None = None,
    wait_lock: float = 0.0,
    also: Sequence[Also] = (),
) -> ErasureReport:
    """`forget` every call that ended longer ago than this, unless it is held or to be kept.

    Args:
        dest: the archive.
        older_than: of a call without a known end, its beginning counts; without that, too, the
            moment at which it was listed first.
        keep: values of fields of calls that are left: ``direction``, ``status``, ``agent``,
            ``from``, ``to`` or ``call`` (an id).
        dry_run: only find out what there is.
        now: the wall clock.
        wait_lock: seconds to wait for a run that is at work here.
        also: what else keeps things of calls.

    Raises:
        ConfigurationError: there is no such field to keep by.
        AgentPhoneError: as `forget`.
    """
    before = (now or datetime.now(UTC)) - older_than
    report = ErasureReport(dry_run)
    chosen = ended_before(before, keeper(keep or {}))
    await _erase(Path(dest), chosen, report, "prune", wait_lock, also)
    return report


def these(call_ids: Iterable[str]) -> Choice:
    """Choose some calls by their ids."""
    refuse_single(call_ids, "call_ids", "use a list of ids")
    ids = list(dict.fromkeys(call_ids))

    async def batches(
        _: Ask, held: AbstractSet[str], report: ErasureReport
    ) -> AsyncGenerator[list[str]]:
        report.held_ids = [one for one in ids if one in held]
        report.held = len(report.held_ids)
        wanted = [one for one in ids if one not in held]
        for start in range(0, len(wanted), BATCH):
            yield wanted[start : start + BATCH]

    return batches


def ended_before(moment: datetime, keeps: Callable[[CallRow], bool]) -> Choice:
    """Choose all calls that ended before a moment, but those that are kept."""

    async def batches(
        ask: Ask, held: AbstractSet[str], report: ErasureReport
    ) -> AsyncGenerator[list[str]]:
        after: str | None = None
        while rows := await ask(calls_after, after, BATCH):
            after = rows[-1].id
            old = [
                row.id
                for row in rows
                if (row.ended or row.started or row.first_seen) < moment and not keeps(row)
            ]
            report.held += sum(one in held for one in old)
            yield [one for one in old if one not in held]

    return batches


async def hold(dest: str | Path, call_ids: Iterable[str], *, release: bool = False) -> int:
    """Keep calls from being erased and pruned, or release them; how many changed their state.

    Raises:
        CatalogError: there is no archive.
        ArchiveLockedError: another program is at work here.
    """
    refuse_single(call_ids, "call_ids", "use a list of ids")
    folder = Path(dest)
    check_readable(folder)
    with ArchiveLock(folder) as lock:
        lock.acquire()
        held = load_settings(folder).held
        ids = list(dict.fromkeys(call_ids))
        if release:
            after = tuple(one for one in held if one not in set(ids))
        else:
            after = (*held, *(one for one in ids if one not in set(held)))
        update_settings(folder, held=after)
    return abs(len(after) - len(held))


async def resume(folder: Path, catalog: Catalog, also: Sequence[Also] = ()) -> bool:
    """Continue with an erasure that was broken off; True if there was one. The lock is held."""
    await _restore(folder, catalog)
    tombstones = Tombstones.load(folder)
    if not tombstones and await catalog.run(get_setting, UNWRITTEN) in {None, ""}:
        return False
    done = await catalog.run(erased_hashes)
    if done.issuperset(tombstones.hashes) and not await catalog.run(get_setting, UNWRITTEN):
        return False
    report = ErasureReport(dry_run=False)
    erasure = _Erasure(folder, catalog, report, "forget", also)
    after: str | None = None
    while rows := await catalog.run(calls_after, after, BATCH):
        after = rows[-1].id
        await erasure.take([row.id for row in rows if tombstones.covers(row.id)])
    if tombstones.key is not None:
        await catalog.transaction(keep_erasure_key, tombstones.key)
    await catalog.transaction(note_erased, set(tombstones.hashes) - done, datetime.now(UTC))
    await erasure.finish()
    return True


async def _restore(folder: Path, catalog: Catalog) -> None:
    """Each of catalog and tombstones outlives the loss of the other."""
    hashes = await catalog.run(erased_hashes)
    key = await catalog.run(kept_erasure_key)
    restore(folder, hashes, key, datetime.now(UTC))


async def _erase(
    folder: Path,
    choice: Choice,
    report: ErasureReport,
    reason: str,
    wait_lock: float,
    also: Sequence[Also],
) -> None:
    check_readable(folder)  # no archive, no lock file
    held = frozenset(load_settings(folder).held)
    if report.dry_run:
        async with await Catalog.open(folder, write=False) as catalog:
            async for ids in choice(catalog.run, held, report):
                await _Erasure(folder, catalog, report, reason, also).look(ids)
        return
    lock = ArchiveLock(folder)
    await lock.wait(wait_lock, asyncio.sleep)
    with lock:
        async with await Catalog.open(folder) as catalog:
            await _restore(folder, catalog)
            erasure = _Erasure(folder, catalog, report, reason, also)
            async for ids in choice(catalog.run, held, report):
                await erasure.take(ids)
            await erasure.finish()
            await resume(folder, catalog, also)
        await compact(folder)


class _Erasure:
    def __init__(
        self,
        folder: Path,
        catalog: Catalog,
        report: ErasureReport,
        reason: str,
        also: Sequence[Also],
    ) -> None:
        self._folder = folder
        self._catalog = catalog
        self._report = report
        self._reason = reason
        self._also = also

    async def look(self, ids: Sequence[str]) -> tuple[list[CallFiles], list[PurePosixPath]]:
        """Find out, and count, what there is of some calls, and where it was looked for."""
        found, looked_in = await self._catalog.run(files_of, self._folder, ids)
        for one in found:
            self._report.add(one)
        return found, looked_in

    async def take(self, ids: Sequence[str]) -> None:
        """Erase files and rows of some calls."""
        if not ids:
            return
        catalog, folder, now = self._catalog, self._folder, datetime.now(UTC)
        hashes = await catalog.run(lambda _: bury(folder, ids, now))
        key = await catalog.run(lambda _: erasure_key(folder))
        await catalog.transaction(keep_erasure_key, key)
        found, looked_in = await self.look(ids)
        await catalog.run(remove_files, folder, found, looked_in)
        for each in self._also:
            self._report.others += await catalog.run(lambda _, each=each: each(folder, ids))  # type: ignore[misc]
        await catalog.run(lambda db: db.execute("PRAGMA secure_delete = ON").fetchall())
        audit = {hashed: one.erased() for hashed, one in zip(hashes, found, strict=True)}
        await catalog.transaction(erase_rows, ids, audit, self._reason, now)

    async def finish(self) -> None:
        """Bring sums and index up to date, and let old catalogs forget, too."""
        said = await self._catalog.run(get_setting, UNWRITTEN)
        folders = [PurePosixPath(folder) for folder in json.loads(said or "[]")]
        telling = [path for one in folders for path in (one / SUMS_NAME, index_path(one))]
        await self._catalog.run(refuse_strays, [str(path) for path in telling])
        async with SidecarFiles(self._folder, catalog=self._catalog) as files:
            await files.write_sums(one for one in folders if is_summed(self._folder, one))
        await self._catalog.run(remove_empty, self._folder, folders)
        await self._catalog.run(lambda _: scrub_old(self._folder))
        await self._catalog.transaction(set_setting, UNWRITTEN, "")


def keeper(keep: Mapping[str, Sequence[str]]) -> Callable[[CallRow], bool]:
    """Tells of a call whether any of these values keeps it from being pruned."""
    unknown = [name for name in keep if name not in _FIELDS]
    if unknown:
        raise ConfigurationError(
            f"calls cannot be kept by {unknown[0]!r}; use one of {', '.join(_FIELDS)}"
        )

    for name, values in keep.items():
        refuse_single(values, f"keep[{name!r}]", "use a list of values")

    def kept(row: CallRow) -> bool:
        call = json.loads(row.raw)
        return any(
            str(call.get(_FIELDS[name]) or "").casefold() in {value.casefold() for value in values}
            for name, values in keep.items()
        )

    return kept
