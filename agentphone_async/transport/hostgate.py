"""Whether the host may be asked at all now: pauses it asked for, and outages."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from agentphone_async.transport.outage import Outage
from agentphone_async.transport.stop import Stop


class HostGate:
    """Open, or closed by a pause or an outage; in an outage it lets one probe through at a time.

    Passing, the verdict and leaving belong to one task: that is how the probe is known.

    Args:
        outage: the rules of outages.
        clock: monotonic seconds.
        stop: sleeps, and ends all waiting when it is closed.
    """

    def __init__(self, outage: Outage, clock: Callable[[], float], stop: Stop) -> None:
        self.outage = outage
        self._clock = clock
        self._stop = stop
        self._paused_until = float("-inf")
        self._news: asyncio.Future[None] | None = None
        self.prober: asyncio.Task[object] | None = None
        self.open = True
        """False when passing may have to wait; looked at before every request."""

    @property
    def paused_for(self) -> float:
        """Seconds until the pause is over; 0.0 when there is none."""
        return max(0.0, self._paused_until - self._clock())

    def pause(self, seconds: float) -> None:
        """Close for ``seconds`` from now; extends a pause, never shortens it."""
        if seconds > 0:
            self._paused_until = max(self._paused_until, self._clock() + seconds)
            self.open = False

    def worked(self) -> None:
        """The host answered."""
        if self.outage.worked():
            self._end_probe()

    def failed(self, error: BaseException) -> None:
        """The host could not be reached by this task."""
        probe = self.prober is not None and self.prober is asyncio.current_task()
        self.outage.failed(self._clock(), error, probe=probe)
        if self.outage.active:
            self.open = False
        if probe:
            self._end_probe()

    def left(self) -> None:
        """This task is done with its request; if it was the probe, another may go."""
        if self.prober is not None and self.prober is asyncio.current_task():
            self.outage.dropped(self._clock())
            self._end_probe()

    def lets_me_through(self) -> bool:
        """True if this task, which has passed, may still go without waiting."""
        if self._paused_until > self._clock():
            return False
        return not self.outage.active or self.prober is asyncio.current_task()

    async def passed(self) -> None:
        """Return when there is no pause and no outage, or when this task is the due probe.

        Raises:
            RunStoppedError: the waiting was ended.
            BaseException: a copy of the outage's error, once the outage has outlasted its budget.
        """
        me = asyncio.current_task()
        outage = self.outage
        while True:
            now = self._clock()
            if (left := self._paused_until - now) > 0:
                await self._stop.sleep(left)
                continue
            if not outage.active:
                self.open = True
                return
            due = outage.probe_in(now)
            if self.prober is None and (due <= 0 or not outage.exhausted(now)):
                self.prober = me
            if self.prober is me:
                if due <= 0:
                    return
                await self._stop.sleep(due, self._next_news())
            elif outage.exhausted(now) and outage.error is not None:
                raise _copy_of(outage.error)
            else:
                await self._stop.wait(self._next_news())

    def _end_probe(self) -> None:
        self.prober = None
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    def _next_news(self) -> asyncio.Future[None]:
        """Done when the probe that is out, or is to go out next, has ended, whichever way."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        return self._news


def _copy_of(error: BaseException) -> BaseException:
    """A copy that everyone may raise and complete: no shared traceback, no shared fields."""
    try:
        duplicate = copy.copy(error)
    except TypeError:  # its constructor wants more than its args
        return error.with_traceback(None)
    return duplicate.with_traceback(None)
