"""All files of an archive, as the disk has them; blocking, for a thread."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from agentphone_async.archive.beside.sums import SUMS_NAME
from agentphone_async.archive.catalog.schema import FILE_NAME
from agentphone_async.archive.lock import LOCK_NAME
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import is_temp

_OURS_AT_THE_TOP = frozenset(
    [LOCK_NAME, *(FILE_NAME + ending for ending in ("", "-wal", "-shm", "-journal"))]
)
_ASIDE = re.compile(
    r".+\.(?:damaged(?:-[0-9]+)?|(?:altered|suspect)-[0-9a-f]{8}(?:-[0-9]+)?)"
    rf"|{re.escape(FILE_NAME)}\.old-[0-9]+(?:-wal|-shm)?"
)
_WORKSHOP = ".agentphone-rebuild/"
_HAS_MODES = sys.platform != "win32"


@dataclass(slots=True)
class Seen:
    """A part of what is there.

    Attributes:
        paths: files, links and whatever else is no folder, relative to the archive; not those
            that are ours by their names.
        leftovers: partial files of runs, dead or alive.
        aside: files that were put aside when others took their places.
        exposed: folders that others than their owner may look into.
        unreadable: folders that cannot be looked into, and why.
    """

    paths: list[str] = field(default_factory=list)
    leftovers: list[PurePosixPath] = field(default_factory=list)
    aside: list[PurePosixPath] = field(default_factory=list)
    exposed: list[PurePosixPath] = field(default_factory=list)
    unreadable: list[tuple[PurePosixPath, str]] = field(default_factory=list)


def walk(folder: Path, at_once: int = 500) -> Generator[Seen]:
    """Go through the archive and tell what is there, so many names at a time.

    Nothing is sorted and nothing kept, so that memory does not grow with the number of files.
    Links are not followed.
    """
    seen = Seen()
    levels: list[tuple[str, os._ScandirIterator[str]]] = []
    _enter(levels, seen, "", folder)
    try:
        while levels:
            prefix, entries = levels[-1]
            entry = _next(entries, prefix, seen)
            if entry is None:
                entries.close()
                levels.pop()
                continue
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                _enter(levels, seen, f"{path}/", entry.path)
            else:
                _note(seen, entry.name, path)
            if len(seen.paths) >= at_once:
                yield seen
                seen = Seen()
        yield seen
    finally:
        for _, entries in levels:
            entries.close()


def _enter(
    levels: list[tuple[str, os._ScandirIterator[str]]], seen: Seen, prefix: str, folder: str | Path
) -> None:
    path = PurePosixPath(prefix)
    try:
        if _HAS_MODES and prefix and os.lstat(folder).st_mode & 0o077:
            seen.exposed.append(path)
        levels.append((prefix, os.scandir(folder)))
    except FileNotFoundError:
        return  # it has gone meanwhile
    except OSError as error:
        seen.unreadable.append((path, _reason(error)))


def _next(entries: os._ScandirIterator[str], prefix: str, seen: Seen) -> os.DirEntry[str] | None:
    try:
        return next(entries, None)
    except OSError as error:
        seen.unreadable.append((PurePosixPath(prefix), _reason(error)))
        return None


def _reason(error: OSError) -> str:
    return printable(error.strerror or str(error), 100)


def _note(seen: Seen, name: str, path: str) -> None:
    if is_temp(name) or path.startswith(_WORKSHOP):
        seen.leftovers.append(PurePosixPath(path))
    elif _ASIDE.fullmatch(name):
        seen.aside.append(PurePosixPath(path))
    elif name != SUMS_NAME and path not in _OURS_AT_THE_TOP:
        seen.paths.append(path)
