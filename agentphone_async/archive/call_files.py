"""Which files in an archive are a call's: those that the catalog knows, and those it does not.

They are found, and removed, when calls are erased. Blocking, for the catalog's thread.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from agentphone_async.archive.catalog.calls import get_calls
from agentphone_async.archive.catalog.erased import Erased
from agentphone_async.archive.catalog.paths import CatalogConnection, path_of_row
from agentphone_async.archive.catalog.rows import CallRow, id_from_text, id_to_text, parsed_call
from agentphone_async.archive.catalog.settings import known_hash_key
from agentphone_async.archive.files.evidence import index_path
from agentphone_async.archive.files.on_disk import ASIDE_ENDING, size_of
from agentphone_async.archive.names import SUMS_NAME, names_of, version_stem
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.settings_file import load_settings, resolved
from agentphone_async.errors import CatalogError
from agentphone_async.protocol.recording import ALL_EXTENSIONS
from agentphone_async.recordings.naming import hashed_id, safe_component
from agentphone_async.sinks.disk import destination_errors, sync_folder
from agentphone_async.sinks.leftovers import is_temp, sweep
from agentphone_async.sinks.uploads import left_of

_ENDINGS = "|".join(map(re.escape, (*ALL_EXTENSIONS, ".call.json", ".json", ".txt")))
_ENDING = rf"(?:\.v[0-9]+)?(?:{_ENDINGS})"
_REST = re.compile(f"({_ENDING})(?:{ASIDE_ENDING})?")
_NAME = re.compile(f"(.+?){_ENDING}")
_PREFIXES = ("recording", "transcript", "event")
_AT_ONCE = 400


@dataclass(slots=True)
class CallFiles:
    """All that there is of one call.

    Attributes:
        known: the catalog has it.
        recordings, sidecars, others: its files.
        bytes: of its files.
    """

    known: bool
    recordings: list[PurePosixPath] = field(default_factory=list)
    sidecars: list[PurePosixPath] = field(default_factory=list)
    others: list[PurePosixPath] = field(default_factory=list)
    bytes: int = 0

    @property
    def paths(self) -> list[PurePosixPath]:
        """All its files."""
        return [*self.recordings, *self.sidecars, *self.others]

    def erased(self) -> Erased:
        """What the audit says of it."""
        return Erased(
            len(self.recordings),
            len(self.sidecars),
            len(self.others),
            self.bytes,
            tuple(dict.fromkeys(path.parent for path in self.paths)),
        )


def files_of(
    connection: CatalogConnection, folder: Path, ids: Sequence[str]
) -> tuple[list[CallFiles], list[PurePosixPath]]:
    """What there is of each of some calls, at most a few hundred; and where it was looked for."""
    calls = get_calls(connection, ids)
    finder = _Finder(connection, folder)
    found = finder.find({one: calls.get(one) for one in ids})
    return [found[one] for one in ids], finder.folders


def remove_files(
    _: CatalogConnection,
    folder: Path,
    some: Iterable[CallFiles],
    looked_in: Iterable[PurePosixPath],
) -> None:
    """Remove all files of some calls, for good.

    What dead processes left half written in their folders goes, too: nobody can tell whose it is.
    """
    changed: set[PurePosixPath] = set()
    for path in [path for call in some for path in call.paths]:
        with destination_errors(folder / path), suppress(FileNotFoundError):
            (folder / path).unlink()
        changed.add(path.parent)
    for one in set(looked_in):
        with destination_errors(folder / one):
            sweep(folder / one)
        changed.add(one)
    for one in changed:
        with destination_errors(folder / one), suppress(FileNotFoundError):
            sync_folder(folder / one)


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


class _Finder:
    """Finds the files of calls; each folder is read once."""

    def __init__(self, connection: CatalogConnection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self._roots: dict[PurePosixPath, dict[str, list[str]]] = {}
        said = load_settings(folder)
        self._key = known_hash_key(connection) or said.hash_key
        self._names = names_of(resolved(RunOptions(), said), self._key)

    def find(self, calls: Mapping[str, CallRow | None]) -> dict[str, CallFiles]:
        """The files of some calls; by call id."""
        known = self._known(list(calls))
        found: dict[str, dict[PurePosixPath, str]] = {}
        strangers: dict[PurePosixPath, list[tuple[str, PurePosixPath]]] = {}
        for call_id, row in calls.items():
            mine = found[call_id] = dict(known.get(call_id, {}))
            stems = self._stems(call_id, row, mine)
            for base, path in self._named(stems):
                if path not in mine:
                    strangers.setdefault(base, []).append((call_id, path))
            mine.update(dict.fromkeys(self._parts(stems, mine), "other"))
        owners = self._owners([base.as_posix() for base in strangers])
        for base, claims in strangers.items():
            for call_id, path in claims:
                if owners.get(base.as_posix(), call_id) == call_id:
                    found[call_id][path] = "other"
        return {
            call_id: self._there(mine, known=calls[call_id] is not None)
            for call_id, mine in found.items()
        }

    @property
    def folders(self) -> list[PurePosixPath]:
        """Those that were read, and in which something lies."""
        return [folder for folder, names in self._roots.items() if names]

    def _known(self, ids: Sequence[str]) -> dict[str, dict[PurePosixPath, str]]:
        """What the catalog has of them."""
        known: dict[str, dict[PurePosixPath, str]] = {}
        marks = ",".join("?" * len(ids))
        texts = [id_to_text(one) for one in ids]
        rows = self._connection.execute(
            f"SELECT call_id, path, 'recording' FROM recordings WHERE call_id IN ({marks}) "  # noqa: S608
            "AND path IS NOT NULL "
            f"UNION ALL SELECT call_id, path, 'sidecar' FROM sidecars WHERE call_id IN ({marks})",
            (*texts, *texts),
        )
        for text, path, kind in rows:
            place = path_of_row(self._connection, path)
            known.setdefault(id_from_text(text), {})[place] = kind
        return known

    def _stems(
        self, call_id: str, row: CallRow | None, known: Iterable[PurePosixPath]
    ) -> set[PurePosixPath]:
        """What the names of a call's files begin with; at the top lies what `fetch` left."""
        stems = {
            path.parent / (match[1] if (match := _NAME.fullmatch(path.name)) else path.name)
            for path in known
        }
        folders = {path.parent for path in known} | {PurePosixPath()}
        if row is not None:
            place = self._names.stem(parsed_call(row))
            stems.add(place)
            folders.add(place.parent)
        shown = {safe_component(call_id)}
        if self._key is not None:
            shown.add(hashed_id(call_id, self._key))
        for folder in folders:
            stems.update(folder / f"{prefix}-{one}" for prefix in _PREFIXES for one in shown)
        return stems

    def _named(
        self, stems: Iterable[PurePosixPath]
    ) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
        """Files that have a call's name, and the names without what says that they are bad."""
        for stem in stems:
            for name in self._in(stem.parent).get(stem.name.partition(".")[0], ()):
                rest = _REST.fullmatch(name.removeprefix(stem.name))
                if name.startswith(stem.name) and rest is not None:
                    yield stem.parent / f"{stem.name}{rest[1]}", stem.parent / name

    def _parts(
        self, stems: Iterable[PurePosixPath], known: Collection[PurePosixPath]
    ) -> Iterator[PurePosixPath]:
        """Parts of large recordings that were kept under a call's names, and the notes on them."""
        versions = range(1, len(known) + 2)
        names = {version_stem(stem, version) for stem in stems for version in versions}
        for place in names.union(known):
            if there := set(filter(is_temp, self._in(place.parent).get("", ()))):
                prefix = f"{self._folder / place.parent}/"
                for name in there.intersection(left_of(prefix, place.name)):
                    yield place.parent / name

    def _in(self, folder: PurePosixPath) -> dict[str, list[str]]:
        """The names in a folder, by what stands before their first dot."""
        names = self._roots.get(folder)
        if names is None:
            names = self._roots[folder] = {}
            try:
                path_of_row(self._connection, f"{folder}/x" if folder.parts else "x")
            except CatalogError:
                return names  # a link that leads out of the archive
            with destination_errors(self._folder / folder):
                try:
                    listed = [path.name for path in (self._folder / folder).iterdir()]
                except (FileNotFoundError, NotADirectoryError):
                    return names
            for name in listed:
                names.setdefault(name.partition(".")[0], []).append(name)
        return names

    def _owners(self, paths: Sequence[str]) -> dict[str, str]:
        owners: dict[str, str] = {}
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._connection.execute(
                f"SELECT path, call_id FROM recordings WHERE path IN ({marks}) "  # noqa: S608
                f"UNION ALL SELECT path, call_id FROM sidecars WHERE path IN ({marks})",
                (*some, *some),
            )
            owners |= {path: id_from_text(text) for path, text in rows}
        return owners

    def _there(self, mine: Mapping[PurePosixPath, str], *, known: bool) -> CallFiles:
        """Those that are there; of a link the link itself goes, not what it leads to."""
        files = CallFiles(known)
        by_kind = {"recording": files.recordings, "sidecar": files.sidecars}
        for path, kind in sorted(mine.items()):
            size = size_of(self._folder, path)
            if size is not None or (self._folder / path).is_symlink():
                by_kind.get(kind, files.others).append(path)
                files.bytes += size or 0
        return files
