"""What there is of calls that are to be erased; blocking, for the catalog's thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agentphone_async.archive.call_files import CallFiles
from agentphone_async.archive.catalog.calls import get_calls
from agentphone_async.archive.catalog.erased import Erased
from agentphone_async.archive.catalog.paths import CatalogConnection
from agentphone_async.archive.catalog.rows import CallRow
from agentphone_async.archive.files.evidence import index_path
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.sinks.disk import destination_errors, sync_folder
from agentphone_async.sinks.leftovers import sweep

BATCH = 200
"""Calls that are looked up at once."""


@dataclass(slots=True)
class Lot:
    """All that there is of one call.

    Attributes:
        known: the catalog has it.
        recordings, sidecars, others: its files.
        looked_in: the folders in which it, and others with it, may have had some.
        bytes: of its files.
    """

    known: bool
    recordings: list[PurePosixPath]
    sidecars: list[PurePosixPath]
    others: list[PurePosixPath]
    looked_in: Sequence[PurePosixPath] = ()
    bytes: int = 0

    def erased(self) -> Erased:
        """What the audit says of it."""
        return Erased(
            len(self.recordings),
            len(self.sidecars),
            len(self.others),
            self.bytes,
            tuple(dict.fromkeys(path.parent for path in self.paths)),
        )

    @property
    def paths(self) -> list[PurePosixPath]:
        """All its files."""
        return [*self.recordings, *self.sidecars, *self.others]


def lots_of(connection: CatalogConnection, folder: Path, ids: Sequence[str]) -> list[Lot]:
    """What there is of each of some calls, in their order."""
    calls: dict[str, CallRow] = {}
    for start in range(0, len(ids), BATCH):
        calls |= get_calls(connection, ids[start : start + BATCH])
    files = CallFiles(connection, folder)
    found = files.of({one: calls.get(one) for one in ids})
    folders = files.folders
    lots: list[Lot] = []
    for one in ids:
        lot = Lot(one in calls, [], [], [], folders)
        for path, kind, size in found.get(one, ()):
            lot.bytes += size
            by_kind = {"recording": lot.recordings, "sidecar": lot.sidecars}
            by_kind.get(kind, lot.others).append(path)
        lots.append(lot)
    return lots


def remove_files(_: CatalogConnection, folder: Path, lots: Sequence[Lot]) -> None:
    """Remove all files of some calls, for good.

    What dead processes left half written in their folders goes, too: nobody can tell whose it is.
    """
    changed: set[PurePosixPath] = set()
    for lot in lots:
        for path in lot.paths:
            with destination_errors(folder / path), suppress(FileNotFoundError):
                (folder / path).unlink()
            changed.add(path.parent)
    for one in {place for lot in lots for place in lot.looked_in}:
        with destination_errors(folder / one):
            sweep(folder / one)
        changed.add(one)
    for one in changed:
        with destination_errors(folder / one), suppress(FileNotFoundError):
            sync_folder(folder / one)


def told_in(folders: Iterable[PurePosixPath]) -> Iterator[PurePosixPath]:
    """Where something tells of the files in these folders."""
    for one in folders:
        yield one / SUMS_NAME
        yield index_path(one)


def is_summed(folder: Path, below: PurePosixPath) -> bool:
    """Whether something tells of the files in a folder."""
    return (folder / below / SUMS_NAME).exists() or (folder / index_path(below)).exists()


def remove_empty(_: CatalogConnection, folder: Path, some: Iterable[PurePosixPath]) -> None:
    """Remove folders in which nothing is left."""
    for below in some:
        for path in (below, index_path(below).parent):
            for part in [path, *path.parents]:
                if part.parts:
                    with suppress(OSError):
                        (folder / part).rmdir()
