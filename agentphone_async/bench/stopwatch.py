"""A fetcher that counts and times what passes through it, and what it takes of the machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agentphone_async.bench.figures import Step, Transfers, percentiles
from agentphone_async.errors import AgentPhoneError, DestinationError, RecordingNotFoundError
from agentphone_async.recordings.fetch import Fetched, Fetcher
from agentphone_async.sinks.interface import Sink, Target
from agentphone_async.transport.session import Session

LOOK_EVERY = 1024 * 1024
"""Bytes that arrive between two looks at the memory."""


@dataclass(slots=True)
class _Counts:
    """What is counted from the moment in which it was made."""

    began: float
    cpu_before: float
    bytes: int = 0
    requests: int = 0
    recordings: int = 0
    absent: int = 0
    failed: int = 0
    retried: int = 0
    peak_rss: int | None = None
    error: AgentPhoneError | None = None
    first_byte: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)


class Stopwatch(Fetcher):
    """Fetches as ever, and accounts for it from `start` on.

    Args:
        session, sink: as for `Fetcher`.
        max_file_size: as for `Fetcher`.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        session: Session,
        sink: Sink,
        *,
        max_file_size: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(session, sink, max_file_size=max_file_size, progress=self._arrived)
        self._clock = clock
        self._unlooked = 0
        self._answered = False
        self._error: AgentPhoneError | None = None
        self._counts = self._fresh_counts()

    def _fresh_counts(self) -> _Counts:
        return _Counts(self._clock(), time.process_time(), peak_rss=resident_bytes())

    def start(self) -> None:
        """Forget all that was counted, and count from now on."""
        self._counts = self._fresh_counts()

    @property
    def hopeless(self) -> AgentPhoneError | None:
        """The last failure, if there was never anything else, before `start` or after it."""
        return None if self._answered else self._error

    async def fetch(self, call_id: str, target: Target, elsewhere: str | None = None) -> Fetched:
        """As `Fetcher.fetch`, counted."""
        try:
            fetched = await super().fetch(call_id, target, elsewhere)
        except DestinationError:
            raise
        except AgentPhoneError as error:
            self._missed(error)
            raise
        self._answered = True
        counts = self._counts
        counts.requests += fetched.attempts
        counts.retried += fetched.attempts - 1
        counts.recordings += 1
        counts.first_byte.append(fetched.first_byte)
        counts.total.append(fetched.last_byte)
        return fetched

    def _missed(self, error: AgentPhoneError) -> None:
        counts = self._counts
        counts.requests += error.attempts
        counts.retried += max(0, error.attempts - 1)
        if isinstance(error, RecordingNotFoundError):
            self._answered = True
            counts.absent += 1
        else:
            counts.failed += 1
            self._error = counts.error = error

    def _arrived(self, size: int) -> None:
        counts = self._counts
        counts.bytes += size
        self._unlooked += size
        if self._unlooked >= LOOK_EVERY:
            self._unlooked = 0
            self._look()

    def _look(self) -> None:
        now = resident_bytes()
        if now is not None:
            self._counts.peak_rss = max(now, self._counts.peak_rss or 0)

    def step(self, transfers: Transfers) -> Step:
        """What has come since `start`."""
        self._look()
        counts = self._counts
        auto = transfers == "auto"
        return Step(
            transfers=transfers,
            settled=self.session.limits.concurrency if auto else None,
            seconds=max(self._clock() - counts.began, 1e-9),
            bytes=counts.bytes,
            requests=counts.requests,
            recordings=counts.recordings,
            absent=counts.absent,
            failed=counts.failed,
            retried=counts.retried,
            first_byte=percentiles(counts.first_byte),
            total=percentiles(counts.total),
            cpu=time.process_time() - counts.cpu_before,
            peak_rss=counts.peak_rss,
            error=counts.error,
        )


def resident_bytes() -> int | None:
    """Bytes of memory that this process has now; its peak where only that is told.

    Returns:
        None on Windows.
    """
    try:
        status = Path("/proc/self/statm").read_text(encoding="ascii")
    except OSError:
        return _peak_bytes()
    import resource  # noqa: PLC0415 - there is none on Windows

    return int(status.split()[1]) * resource.getpagesize()


def _peak_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - there is none on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
