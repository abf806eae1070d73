"""What all local sinks of one client share."""

from __future__ import annotations

from pathlib import Path

from agentphone_async.sinks.leftovers import temp_names
from agentphone_async.sinks.threads import FilePool

SYNCING = 2
"""Batches that wait for the disk at the same time, in threads that no writing needs."""


class Disk:
    """What all local sinks of one client share: threads, and what is known of their folders.

    Each folder is read once, when it is first used, for what dead processes left in it and for
    names with rare extensions.

    Args:
        pool: threads to write and hash on; one of its own if not given.

    Attributes:
        pool: see above.
        syncing: threads that only wait for the disk.
        names: of temporary files.
        rare: the names with a rare extension in each folder that has been read, by its prefix;
            and of notes on kept parts.
        made: folders that were made, and whose own entry is not synced yet.
    """

    def __init__(self, pool: FilePool | None = None) -> None:
        self.pool = pool or FilePool()
        self.syncing = FilePool(SYNCING)
        self.names = temp_names()
        self.rare: dict[str, set[str]] = {}
        self.made: set[Path] = set()
        self._own_pool = pool is None

    def close(self) -> None:
        """Let the threads go."""
        self.syncing.close()
        if self._own_pool:
            self.pool.close()
