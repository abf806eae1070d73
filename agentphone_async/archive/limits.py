"""The limits of a run: what has arrived is watched, and the run stopped when it is enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from agentphone_async.archive.observer import IsolatedObserver
from agentphone_async.archive.options import Limits
from agentphone_async.errors import DestinationError
from agentphone_async.recordings.stop import StopToken
from agentphone_async.sinks.disk import destination_error
from agentphone_async.transport.observer import LimitsObserver, Retry

_LOOK_EVERY = 1024 * 1024
"""Bytes that may arrive between two looks at the free space."""

_ON_THE_WAY = 2 * _LOOK_EVERY
"""Bytes that may arrive from one look until the next one has had its effect."""


class LimitsWatcher(LimitsObserver):
    """Counts what arrives, and stops at a limit.

    Args:
        folder: the archive, for its free space.
        limits: of the run.
        stop: stops what fetches recordings.
        observer: told about bytes, pauses and retries.
        free: bytes free on the destination.

    Attributes:
        transferred: bytes so far.
        reason: why it stopped, as a word and a line; None if it was not. Whether the run
            ends early for that turns out when something has to be left.
        failure: the free space could not be found out, and everything was let go of.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        stop: StopToken,
        observer: IsolatedObserver,
        free: Callable[[Path], int],
    ) -> None:
        self.transferred = 0
        self.reason: tuple[str, str] | None = None
        self.failure: DestinationError | None = None
        self._folder = folder
        self._limits = limits
        self._stop_token = stop
        self._observer = observer
        self._free = free
        self._held: Callable[[], int] = lambda: 0
        self._unlooked = 0
        self._pause_told = float("-inf")

    def watch(self, held: Callable[[], int]) -> None:
        """Recordings are about to come; ``held`` tells the bytes that are in memory."""
        self._held = held
        self._count()
        self._look()

    def arrived(self, size: int) -> None:
        """``size`` bytes have come."""
        self.transferred += size
        self._observer.bytes(size)
        self._count()
        self._unlooked += size
        if self._unlooked >= _LOOK_EVERY:
            self._look()

    def retrying(self, retry: Retry) -> None:
        """One request is going to be sent again."""
        self._observer.retrying(retry)

    def unreachable(self, error: BaseException) -> None:  # noqa: ARG002 - see LimitsObserver
        """The host cannot be reached."""
        self.paused(0.0)

    def paused(self, seconds: float, status: int | None = None) -> None:  # noqa: ARG002 - see there
        """The host asks for a pause, or (0.0) cannot be reached: said once for all who meet it."""
        now = time.monotonic()
        if now >= self._pause_told:
            self._pause_told = now + max(seconds, 1.0)
            self._observer.paused(seconds)

    def _count(self) -> None:
        """Begin nothing more if enough was transferred."""
        most = self._limits.max_transfer
        if most is not None and self.transferred >= most and not self._stop_token.closed:
            line = f"{self.transferred:,} bytes were transferred; {most:,} may be"
            self.reason = ("max_transfer", line)
            self._stop_token.close()

    def _look(self) -> None:
        """Let go of everything if what is under way would not leave enough space."""
        self._unlooked = 0
        keep = self._limits.min_free_space
        if keep is None or self._stop_token.dropping:
            return
        try:
            free = self._free(self._folder)
        except OSError as error:
            self.failure = destination_error(error, self._folder)
            self._stop_token.drop()
            return
        if free - self._held() - _ON_THE_WAY < keep:
            self.reason = ("min_free_space", f"{free:,} bytes are free; {keep:,} are to stay free")
            self._stop_token.drop()
