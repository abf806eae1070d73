"""The last door before a transfer: stops, limits, and what is already known of the recording."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio

from agentphone_async.archive.observer import IsolatedObserver
from agentphone_async.archive.options import Limits
from agentphone_async.archive.task import LeftError
from agentphone_async.errors import AgentPhoneError
from agentphone_async.recordings.fetch import Fetched, Fetcher
from agentphone_async.sinks.interface import Sink, Target
from agentphone_async.transport.session import Session

_LOOK_EVERY = 1024 * 1024
"""Bytes that may arrive between two looks at the free space."""

Stop = Callable[[str, str], None]
"""Stops the run: a word and a line that say why."""


def free_space(folder: Path) -> int:
    """Bytes that are free for us on the file system where ``folder`` is or will be."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    return shutil.disk_usage(folder).free


class Gate(Fetcher):
    """A fetcher that knows when to begin no more, and when to let go of what it has begun.

    Args:
        session, sink: as for `Fetcher`.
        folder: the archive, for its free space.
        limits: of the run.
        stop: called when a limit is reached.
        observer: told about bytes and pauses.
        transferred: bytes so far in this run.
        free: bytes free on the destination.
    """

    def __init__(
        self,
        session: Session,
        sink: Sink,
        *,
        folder: Path,
        limits: Limits,
        stop: Stop,
        observer: IsolatedObserver,
        transferred: int = 0,
        free: Callable[[Path], int] = free_space,
    ) -> None:
        super().__init__(
            session,
            sink,
            max_file_size=limits.max_file_size,
            progress=self._arrived,
        )
        self.closed = False
        self.transferred = transferred
        self._folder = folder
        self._limits = limits
        self._stop = stop
        self._observer = observer
        self._free = free
        self._scopes: set[anyio.CancelScope] = set()
        self._under_way: dict[asyncio.Task[object], int] = {}
        self._unpublished: dict[str, int] = {}
        self._unlooked = 0
        self._pause_told = 0.0

    def drop(self) -> None:
        """Let go of everything that is under way."""
        for scope in tuple(self._scopes):
            scope.cancel()

    def settled(self, call_id: str) -> None:
        """A recording is published or given up: what it took of the disk shows there now."""
        self._unpublished.pop(call_id, None)

    async def fetch(self, call_id: str, target: Target) -> Fetched:
        """As `Fetcher.fetch`, unless the run is stopped.

        Raises:
            LeftError: the run is stopped, or stopped while this was under way.
        """
        self._admit(call_id)
        self._tell_pause()
        me = asyncio.current_task()
        if me is None:
            raise RuntimeError("a transfer runs in a task")
        self._under_way[me] = 0
        try:
            with anyio.CancelScope() as scope:
                self._scopes.add(scope)
                fetched = await super().fetch(call_id, target)
                self._unpublished[call_id] = self._under_way[me]
                return fetched
        finally:
            self._scopes.discard(scope)
            del self._under_way[me]
        raise self._left(call_id)

    def _admit(self, call_id: str) -> None:
        most = self._limits.max_transfer
        if not self.closed and most is not None and self.transferred >= most:
            self._stop("max_transfer", f"{self.transferred} bytes were transferred; {most} may be")
        if not self.closed and self._limits.min_free_space is not None:
            self._look()
        if self.closed:
            raise self._left(call_id)

    def _left(self, call_id: str) -> AgentPhoneError:
        error = LeftError("the run was stopped")
        error.call_id = call_id
        return error

    def _arrived(self, size: int) -> None:
        self.transferred += size
        self._observer.bytes(size)
        if self._limits.min_free_space is None:
            return
        me = asyncio.current_task()
        if me in self._under_way:
            self._under_way[me] += size
        self._unlooked += size
        if self._unlooked >= _LOOK_EVERY:
            self._look()
            if self.closed:
                raise self._left("")

    def _look(self) -> None:
        """Stop everything if what is under way would not leave enough space."""
        self._unlooked = 0
        keep = self._limits.min_free_space or 0
        coming = sum(self._under_way.values()) + sum(self._unpublished.values())
        free = self._free(self._folder)
        if free - coming < keep:
            self._stop("min_free_space", f"{free} bytes are free; {keep} are to stay free")
            self.drop()

    def _tell_pause(self) -> None:
        limits = self.session.limits
        if limits.in_outage or limits.paused_for > 0:
            now = asyncio.get_running_loop().time()
            if now >= self._pause_told:
                self._pause_told = now + max(limits.paused_for, 1.0)
                self._observer.paused(limits.paused_for)


def is_writable(folder: Path) -> bool:
    """Whether files may be made in a folder, or in the nearest one above that is there."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)
