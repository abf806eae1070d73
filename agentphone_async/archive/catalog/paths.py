"""Paths from a catalog: none may lead out of the archive.

A catalog may be somebody else's work. What it names is renamed, overwritten and deleted by
`verify --repair`, so a path is judged where its row is read, before anything is done with it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from agentphone_async.errors import CatalogError
from agentphone_async.protocol.display import printable

_MOST_FOLDERS = 50_000
_NO_NAMES = frozenset({"", ".", ".."})


class CatalogConnection(sqlite3.Connection):
    """A connection that knows its archive.

    Attributes:
        folder: the archive, for links in it; None if there is none on a disk.
        writes: whether it was opened to be written.
        copy: a folder with a copy that is read in place of the catalog, to be removed.
    """

    folder: Path | None = None
    writes: bool = False
    copy: Path | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inside: set[str] = set()

    def inside(self, text: str) -> None:
        """Refuse a path that leads out of the archive; folders are looked at once.

        Raises:
            CatalogError: it is absolute, contains ``..``, or leads out of the archive by a link.
        """
        folder, _, name = text.rpartition("/")
        if folder not in self._inside:
            if not _is_plain(folder, text) or not _stays_in(self.folder, folder):
                raise _stray(text)
            if len(self._inside) > _MOST_FOLDERS:
                self._inside.clear()
            self._inside.add(folder)
        if name in _NO_NAMES or "\0" in name or _has_drive(name):
            raise _stray(text)


def path_of_row(connection: sqlite3.Connection | None, text: str) -> PurePosixPath:
    """A path from a row, as a value; every path that is read from a catalog is looked at first.

    Raises:
        CatalogError: it leads out of the archive.
    """
    refuse_strays(connection, (text,))
    return PurePosixPath(text)


def refuse_strays(connection: sqlite3.Connection | None, texts: Iterable[str]) -> None:
    """The same for many, of which no values are made: those would cost more than the rows.

    Raises:
        CatalogError: one leads out of the archive.
    """
    known = connection if isinstance(connection, CatalogConnection) else None
    for text in texts:
        if known is not None:
            known.inside(text)
        elif any(part in _NO_NAMES or _has_drive(part) for part in text.split("/")) or "\0" in text:
            raise _stray(text)


def _is_plain(folder: str, text: str) -> bool:
    if not folder:
        return "/" not in text
    return "\0" not in folder and not any(
        part in _NO_NAMES or _has_drive(part) for part in folder.split("/")
    )


def _stays_in(top: Path | None, folder: str) -> bool:
    """Whether no link on the way leads out."""
    if top is None or not folder:
        return True
    try:
        real = os.path.realpath(top)
        return os.path.commonpath([real, os.path.realpath(top / folder)]) == real
    except (OSError, ValueError):
        return False


def _has_drive(part: str) -> bool:
    return os.name == "nt" and (":" in part or "\\" in part)


def _stray(text: str) -> CatalogError:
    return CatalogError(
        f"the catalog names '{printable(text, 200)}', which is outside of the archive; nothing "
        "was done with it: move the catalog away and run 'agentphone-async catalog rebuild'"
    )
