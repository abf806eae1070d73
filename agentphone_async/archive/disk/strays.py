"""Recordings that lie in the archive without being in its catalog."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from agentphone_async.archive.catalog.recordings import owners_of
from agentphone_async.sinks.disk import destination_errors

_CHUNK = 400


class Strays:
    """Knows, of each folder that a run puts recordings into, which files the catalog does not.

    There are some after a kill between renaming and writing the rows, or when the catalog was
    lost. A folder is read once in a run, when the first recording is to go there: asking the disk
    about each name would cost more than the catalog may.

    Args:
        folder: the archive.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[PurePosixPath, frozenset[str]] = {}

    def in_folder(self, connection: sqlite3.Connection, folder: PurePosixPath) -> frozenset[str]:
        """Names of files in a folder that the catalog did not know when the folder was read."""
        names = self._names.get(folder)
        if names is None:
            names = self._names[folder] = frozenset(self._unknown(connection, folder))
        return names

    def _unknown(self, connection: sqlite3.Connection, folder: PurePosixPath) -> Iterator[str]:
        top = self._folder / folder
        with destination_errors(top):
            try:
                entries = os.scandir(top)
            except (FileNotFoundError, NotADirectoryError):
                return
            with entries:
                names = (entry.name for entry in entries if entry.name.endswith((".wav", ".mp3")))
                while chunk := list(islice(names, _CHUNK)):
                    paths = [(folder / name).as_posix() for name in chunk]
                    known = owners_of(connection, paths)
                    for name, path in zip(chunk, paths, strict=True):
                        if path not in known:
                            yield name
