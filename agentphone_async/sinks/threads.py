"""File work on threads of its own, in hops that cannot be torn.

The default executor is shared with name resolution, where saturated disk work looks like DNS
time-outs (python/cpython#112169); so file work gets its own pool. Cancelling an await does not stop
the thread behind it (python/cpython#107505); so `FilePool.run` waits for the thread before it lets
a cancellation pass, and whoever cleans up finds the disk at rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio

from agentphone_async.sinks.leftovers import temp_names

SYNCING = 2
"""Batches that wait for the disk at the same time, in threads that no writing needs."""

P = ParamSpec("P")
T = TypeVar("T")


class FilePool:
    """A few threads for file work.

    Args:
        threads: how many; by default one a core, but from 2 to 4. While they hash, which takes no
            interpreter lock, more of them than cores only get in each other's way.
    """

    def __init__(self, threads: int | None = None) -> None:
        if threads is None:
            threads = min(4, max(2, os.cpu_count() or 1))
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="agentphone-files")

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a thread: one hop, finished even when the caller is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            hop = loop.run_in_executor(self._executor, partial(work, *args, **kwargs))
        except RuntimeError as error:
            if "after shutdown" not in str(error):
                raise
            raise RuntimeError("this sink is closed; make another") from None
        try:
            return await asyncio.shield(hop)
        except asyncio.CancelledError:
            try:
                await wait_uncancelled(hop)
            finally:
                if not hop.cancelled():
                    hop.exception()  # seen, so that asyncio does not report it as lost
            raise

    def close(self) -> None:
        """Let the threads go; what they have begun they finish."""
        self._executor.shutdown(wait=False)


async def wait_uncancelled(work: asyncio.Future[Any]) -> None:
    """Return when ``work`` is done, whatever its result, however often the waiter is cancelled.

    Raises:
        CancelledError: the waiter was cancelled meanwhile; ``work`` is done all the same.
    """
    cancelled: asyncio.CancelledError | None = None
    # anyio repeats a cancellation at every turn of the loop; unshielded, this would spin.
    with anyio.CancelScope(shield=True):
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled


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
