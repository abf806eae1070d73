"""How hard one host may be pressed, shared by everything that talks to it.

`HostLimits` joins the reasons to wait, checked in this order by `HostLimits.acquire`:

1. a slot: at most ``concurrency`` requests at a time, first come, first served;
2. a pause: the host said 429 or 503, so *everybody* waits;
3. an outage: the host cannot be reached, so one probe at a time goes out and the rest wait
   (`agentphone_async.transport.outage`);
4. the request rate: ``tpslimit``, and the pace that the host was found to bear;
5. for bodies, `HostLimits.take_bytes`: the byte rate (``bwlimit``).

`HostLimits.close` ends all of this waiting at once, and that of the retries between attempts.

When none applies, acquiring and releasing is a counter: no lock, no task switch.

The order of calls around one request, all in one task::

    await limits.acquire()            # may raise the outage's error
    try:
        response = await ...          # the request
        limits.connection_worked()    # any response head, whatever its status
        ...                           # the body
        limits.completed(size, took)   # or throttled(), timed_out()
    except ConnectionFailedError as error:
        limits.connection_failed(error)
        # while limits.in_outage, this failure is the host's, not this item's: no attempt spent
    finally:
        limits.release()
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from agentphone_async.errors import RunStoppedError
from agentphone_async.transport.adaptive import AdaptiveConcurrency
from agentphone_async.transport.hostgate import HostGate
from agentphone_async.transport.outage import Outage
from agentphone_async.transport.pace import AdaptivePace
from agentphone_async.transport.stop import Stop
from agentphone_async.transport.timetable import Timetable
from agentphone_async.transport.turnstile import ScheduledTurnstile, Turnstile, local_now


class HostLimits:
    """Slots, pauses, rates and outages of one host. Belongs to one event loop.

    Args:
        concurrency: requests at a time, at least 1; or a controller that finds the number.
        pace: learns the request rate that the host bears from its 429s; None for not learning.
        tpslimit: requests per second, listing and fetching together; None for no limit.
        bwlimit: bytes per second of bodies, or a timetable of them; None for no limit.
        outage_budget: seconds that a host that did answer before may be away until everybody
            fails at once instead of waiting.
        first_contact_budget: the same in seconds for a host that has never answered.
        clock: monotonic seconds.
        sleep: ``asyncio.sleep`` or a virtual one that goes with ``clock``.
        wall_clock: local date and time, for timetables.
        rng: source of jitter.
    """

    def __init__(
        self,
        concurrency: int | AdaptiveConcurrency = 16,
        *,
        pace: AdaptivePace | None = None,
        tpslimit: float | None = None,
        bwlimit: float | Timetable | None = None,
        outage_budget: float = 120.0,
        first_contact_budget: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        wall_clock: Callable[[], datetime] = local_now,
        rng: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._controller = concurrency if isinstance(concurrency, AdaptiveConcurrency) else None
        self._limit = _checked(
            concurrency.limit if isinstance(concurrency, AdaptiveConcurrency) else concurrency
        )
        self._held = 0
        self._at_gates = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._outage = Outage(
            budget=outage_budget, first_contact_budget=first_contact_budget, rng=rng
        )
        self._stop = Stop(sleep)
        self._gate = HostGate(self._outage, clock, self._stop)
        self._pace = pace
        self._tpslimit = tpslimit
        self._requests = Turnstile(tpslimit, clock, self._stop.sleep, smallest=1.0)
        self._rated = tpslimit is not None
        if isinstance(bwlimit, Timetable):
            self._bytes: Turnstile = ScheduledTurnstile(bwlimit, clock, sleep, wall_clock)
            self.limited_bytes = bwlimit.limits
        else:
            self._bytes = Turnstile(bwlimit, clock, sleep)
            self.limited_bytes = bwlimit is not None
        self.listeners: set[Callable[[float], None]] = set()
        """Told when the host asks for a pause of so many seconds, or (0.0) cannot be reached."""

    # ---------------------------------------------------------------- stopping

    @property
    def closed(self) -> bool:
        """True between `close` and `reopen`."""
        return self._stop.closed

    def close(self) -> None:
        """Let no request begin any more: whoever waits for one gets a `RunStoppedError`.

        That ends waiting for a slot, a pause, the rate, the end of an outage, or the next attempt.
        What is under way goes on. Closing twice is fine.
        """
        self._stop.close()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(RunStoppedError())

    def reopen(self) -> None:
        """Let requests begin again."""
        self._stop.reopen()

    async def sleep(self, seconds: float) -> None:
        """Sleep until another attempt.

        Raises:
            RunStoppedError: closed before, or meanwhile.
        """
        await self._stop.sleep(seconds)

    # ---------------------------------------------------------------- slots

    @property
    def concurrency(self) -> int:
        """Requests that may be under way at a time; assigning takes effect at once.

        When it shrinks, nothing that is under way is interrupted: slots are not lent again
        until enough have come back. A controller takes an assigned number as its new maximum.
        """
        return self._limit

    @concurrency.setter
    def concurrency(self, limit: int) -> None:
        self._limit = _checked(limit)
        if self._controller is not None:
            self._controller.cap(limit)
        self._admit()

    @property
    def max_concurrency(self) -> int:
        """The most that `concurrency` can become by itself: how many workers are of use."""
        return self._limit if self._controller is None else self._controller.maximum

    def adapt(self) -> None:
        """From now on find the number of requests at a time, and the pace, that the host bears.

        Doing it again changes nothing.
        """
        if self._controller is None:
            self._controller = AdaptiveConcurrency(maximum=self._limit)
            self._pace = self._pace or AdaptivePace()
            self._obey(self._controller)

    @property
    def held(self) -> int:
        """Slots that are lent now."""
        return self._held

    @property
    def waiting(self) -> int:
        """Tasks that wait for a slot now."""
        return len(self._waiters)

    async def acquire(self) -> None:
        """Take a slot and permission to send one request now.

        A cancelled waiter leaves no trace: slot, place and probe go to the next one.

        Raises:
            RunStoppedError: closed before, or meanwhile.
            BaseException: a copy of the error last given to `connection_failed`, when the host
                has been away for longer than the outage budget. Nothing is held then.
        """
        self._stop.check()
        if self._held < self._limit and not self._waiters:
            self._held += 1
        else:
            await self._slot()
        if self._rated or not self._gate.open or self._stop.closed:
            self._at_gates += 1
            try:
                await self._pass_gates()
                self._stop.check()
            except BaseException:
                self.release()
                raise
            finally:
                self._at_gates -= 1

    def release(self) -> None:
        """Give the slot back, in the task that acquired it."""
        if self._gate.prober is not None:
            self._gate.left()
        if self._held <= 0:
            raise RuntimeError("a slot was released that nobody had acquired")
        self._held -= 1
        if self._waiters:
            self._admit()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """`acquire` on entering, `release` on leaving."""
        await self.acquire()
        try:
            yield
        finally:
            self.release()

    async def _slot(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if not waiter.done() or waiter.cancelled():
                with suppress(ValueError):  # closing has removed it
                    self._waiters.remove(waiter)
            elif waiter.exception() is None:
                self._held -= 1  # granted in the same moment as cancelled: pass it on
            self._admit()
            raise

    def _admit(self) -> None:
        waiters = self._waiters
        while self._held < self._limit and waiters:
            if waiters[0].done():  # cancelled; it removes itself and calls here again
                return
            waiters.popleft().set_result(None)
            self._held += 1

    async def _pass_gates(self) -> None:
        while True:
            await self._gate.passed()
            if not self._rated:
                return
            await self._requests.passed(1.0)
            if self._gate.lets_me_through():
                return

    # ---------------------------------------------------------------- what the host answers

    @property
    def paused_for(self) -> float:
        """Seconds until requests may go again; 0.0 when there is no pause."""
        return self._gate.paused_for

    def pause(self, seconds: float) -> None:
        """Let nobody start a request for ``seconds`` from now; extends, never shortens."""
        self._gate.pause(seconds)

    def completed(self, size: int, took: float) -> None:
        """A request was answered in full, 404 included; before `release`.

        Args:
            size: bytes of the body.
            took: seconds that the slot was held since `acquire` returned.
        """
        if self._controller is None and self._pace is None:
            return
        now = self._clock()
        if self._controller is not None:
            busy = self._held - self._at_gates
            self._controller.completed(now, size, took, in_flight=busy)
            self._obey(self._controller)
        if self._pace is not None:
            self._pace.answered(now)
            self._keep(self._pace)

    def throttled(self, pause: float) -> None:
        """The host answered 429 or 503: nobody asks it for ``pause`` seconds, and all slow down.

        `pause` alone waits without drawing conclusions.
        """
        self.warned(pause)
        now = self._clock()
        if self._controller is not None:
            self._controller.throttled(now, pause=pause)
            self._obey(self._controller)
        if self._pace is not None:
            self._pace.throttled(now, pause=pause)
            self._keep(self._pace)

    def warned(self, pause: float) -> None:
        """Somebody was asked to wait, here or in another process, or (0.0) finds no host.

        The pause is everybody's, and all listeners hear of it.
        """
        self.pause(pause)
        for listener in tuple(self.listeners):
            listener(pause)

    def timed_out(self) -> None:
        """A request was given up as too slow, although the host is there."""
        if self._controller is not None:
            self._controller.timed_out(self._clock())
            self._obey(self._controller)

    def _obey(self, controller: AdaptiveConcurrency) -> None:
        if controller.limit != self._limit:
            self._limit = controller.limit
            self._admit()

    def _keep(self, pace: AdaptivePace) -> None:
        if pace.rate is None:
            return
        self._rated = True
        self._requests.rate = (
            pace.rate if self._tpslimit is None else min(pace.rate, self._tpslimit)
        )

    @property
    def request_rate(self) -> float | None:
        """Requests per second that are allowed now, set or learned; None for no limit."""
        return self._requests.rate

    @property
    def limited_requests(self) -> bool:
        """Whether a ``tpslimit`` was set."""
        return self._tpslimit is not None

    async def take_request(self) -> None:
        """Wait until a request that is made elsewhere, in another process, is within the rate."""
        await self._requests.passed(1.0)

    # ---------------------------------------------------------------- outages

    @property
    def in_outage(self) -> bool:
        """True while the host cannot be reached: failures now are not the item's fault."""
        return self._outage.active

    @property
    def outage_exhausted(self) -> bool:
        """True when the outage has outlasted its budget, so that `acquire` fails at once."""
        return self._outage.exhausted(self._clock())

    @property
    def outage_error(self) -> BaseException | None:
        """Why the host could not be reached last time, while it cannot be; for display."""
        return self._outage.error if self._outage.active else None

    def connection_worked(self) -> None:
        """A response head arrived, whatever its status: the host is there."""
        if not self._outage.healthy:
            self._gate.worked()

    def connection_failed(self, error: BaseException) -> None:
        """No connection could be made: name, refusal, unreachable, time-out, reset.

        To be called in the task that acquired, before `release`.
        """
        known = self.in_outage
        self._gate.failed(error)
        if self.in_outage and not known:
            self.warned(0.0)

    # ---------------------------------------------------------------- bytes

    async def take_bytes(self, amount: int) -> None:
        """Wait until ``amount`` bytes of a body are within the byte rate.

        Costs nothing worth mentioning without a ``bwlimit``; check `limited_bytes` first to
        save even the call. Ask in steps that are small against a second's allowance.
        """
        if self.limited_bytes:
            await self._bytes.passed(amount)


def _checked(concurrency: int) -> int:
    if concurrency < 1:
        raise ValueError(f"at least 1 request at a time is needed, not {concurrency}")
    return concurrency
