"""How hard one host may be pressed, shared by everything that talks to it.

`HostLimits` joins the reasons to wait, checked in this order by `HostLimits.acquire`:

1. a slot: at most ``concurrency`` requests at a time, first come, first served;
2. a pause: the host said 429 or 503, so *everybody* waits;
3. an open circuit: the host cannot be reached, so one probe at a time goes out and the rest wait
   (`agentphone_async.transport.circuit`);
4. the request rate: ``tpslimit``, and the pace that the host was found to bear;
5. for bodies, `HostLimits.take_bytes`: the byte rate (``bwlimit``).

`HostLimits.close` ends all of this waiting at once, and that of the retries between attempts.

When none applies, acquiring and releasing is a counter: no lock, no task switch.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from agentphone_async.errors import RunStoppedError
from agentphone_async.transport.adaptive import AdaptiveConcurrency
from agentphone_async.transport.budget import Budget
from agentphone_async.transport.circuit import CircuitBreaker, Refusals
from agentphone_async.transport.observer import Observers
from agentphone_async.transport.pace import AdaptivePace
from agentphone_async.transport.rate import RateLimiter
from agentphone_async.transport.slow_start import START, looking
from agentphone_async.transport.stop import Stop

CAP_DOUBLES_AFTER = 5.0
"""Seconds without another shortage of file descriptors until twice as many requests may go."""

_log = logging.getLogger("agentphone_async.transport")


class HostLimits:
    """Slots, pauses, rates and outages of one host. Belongs to one event loop.

    Args:
        concurrency: requests at a time, at least 1.
        tpslimit: requests per second, listing and fetching together; None for no limit.
        bwlimit: bytes per second of bodies; None for no limit.
        outage_budget: seconds that a host that did answer before may be away, or refuse all
            requests of a kind, until everybody fails at once instead of waiting.
        first_contact_budget: the same in seconds for a host that has never answered.
        clock: monotonic seconds.
        sleep: ``asyncio.sleep`` or a virtual one that goes with ``clock``.
        rng: source of jitter.

    Attributes:
        slots: how many requests may be under way, are, and wait to be.
        refusals: what the host has said to requests of one kind, by the endpoint's name.
        limited_bytes: whether there is a ``bwlimit``.
        observers: who is told about pauses, outages and retries.
    """

    def __init__(
        self,
        concurrency: int = 16,
        *,
        tpslimit: float | None = None,
        bwlimit: float | None = None,
        outage_budget: float = 120.0,
        first_contact_budget: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._controller: AdaptiveConcurrency | None = None
        self._wanted = concurrency
        self._cap: int | None = None
        self._cap_doubles_at = 0.0
        self.slots = Budget(self._wanted)
        self._waiting_to_send = 0
        self._stop = Stop(sleep)
        self._paused_until = float("-inf")
        self._circuit = CircuitBreaker(
            clock,
            self._stop,
            budget=outage_budget,
            first_contact_budget=first_contact_budget,
            rng=rng,
        )
        self.refusals = defaultdict[str, Refusals](partial(Refusals, outage_budget))
        self._clear = True  # False when a pause or the circuit may have to be waited for
        self._pace = AdaptivePace()
        self._tpslimit = tpslimit
        self._requests = RateLimiter(tpslimit, clock, self._stop.sleep, smallest=1.0)
        self._rated = tpslimit is not None
        self._bytes = RateLimiter(bwlimit, clock, sleep)
        self.limited_bytes = bwlimit is not None
        self.received = 0
        self.observers = Observers()

    # ---------------------------------------------------------------- stopping

    @property
    def closed(self) -> bool:
        """True between `close` and `reopen`."""
        return self._stop.closed

    def close(self) -> None:
        """Let no request begin any more: whoever waits for one gets a `RunStoppedError`.

        That ends waiting for a slot, a pause, the rate, the end of an outage, or the next attempt.
        What is under way continues. Closing twice is fine.
        """
        self._stop.close()
        self.slots.send_away()

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
        """Requests that may be under way at a time.

        When it shrinks, nothing that is under way is interrupted: slots are not lent again
        until enough have come back.
        """
        return self.slots.total

    @property
    def max_concurrency(self) -> int:
        """The most that `concurrency` can become by itself: how many workers are of use."""
        return self._wanted if self._controller is None else self._controller.maximum

    def grow(self, concurrency: int) -> None:
        """Let at least this many requests be under way at a time, each with its connection."""
        if concurrency > self.max_concurrency:
            self._wanted = concurrency
            if self._controller is not None:
                self._controller.maximum = concurrency
            self._apply_limit()

    def adapt(self, maximum: int | None = None) -> None:
        """Find the number of requests at a time that the host bears, up to what is set or given."""
        if self._controller is None:
            most = maximum or self._wanted
            self._controller = AdaptiveConcurrency(start=min(START, most), maximum=most)
        elif maximum is not None:
            self._controller.maximum = max(maximum, self._controller.maximum)
        self._apply_limit()

    def growing(self, more: Callable[[], None]) -> AbstractContextManager[None]:
        """While many are asked for, look often in the beginning whether more may go at a time.

        Args:
            more: called when they may.
        """
        if self._controller is None:
            return nullcontext()
        before = self.received
        self._controller.begin()

        def look() -> bool:
            controller, limit = self._controller, self.slots.total
            if controller is None or not controller.starting:
                return False
            busy = self.slots.held - self._waiting_to_send
            controller.look(self._clock(), self.received - before, busy)
            self._apply_limit()
            if self.slots.total > limit:
                more()
            return True

        return looking(look)

    async def acquire(self, check: Callable[[], None] | None = None) -> None:
        """Take a slot and permission to send one request now.

        A cancelled waiter leaves no trace.

        Args:
            check: called after each wait; what it raises ends the waiting for the others.

        Raises:
            RunStoppedError: closed before, or meanwhile.
            BaseException: a copy of the error last given to `connection_failed`, when the host
                has been away for longer than the outage budget. Nothing is held then.
        """
        if self._stop.closed:
            raise RunStoppedError
        slots = self.slots
        free = slots.held < slots.total and not slots.waiters
        if free:
            slots.held += 1
        else:
            await slots.acquire()
        if self._rated or not (free and self._clear) or self._stop.closed:
            self._waiting_to_send += 1
            try:
                await self._wait_until_allowed(check or self._stop.check)
                self._stop.check()
            except BaseException:
                self.release()
                raise
            finally:
                self._waiting_to_send -= 1

    def release(self) -> None:
        """Give the slot back, in the task that acquired it."""
        if self._circuit.prober is not None:
            self._circuit.left()
        slots = self.slots
        if slots.held > 0 and not slots.waiters:
            slots.held -= 1
        else:
            slots.release()

    async def _wait_until_allowed(self, check: Callable[[], None]) -> None:
        while True:
            self._stop.check()
            check()
            if (left := self.paused_for) > 0:
                await self._stop.sleep(left)
                continue
            await self._circuit.passed()
            if not self._may_go():
                continue
            self._clear = self._circuit.state == "closed"
            if not self._rated:
                return
            await self._requests.take(1.0, check)
            if self._may_go():
                return

    def _may_go(self) -> bool:
        return self._paused_until <= self._clock() and self._circuit.lets_me_through()

    # ---------------------------------------------------------------- what the host answers

    @property
    def paused_for(self) -> float:
        """Seconds until requests may go again; 0.0 when there is no pause."""
        return max(0.0, self._paused_until - self._clock())

    def pause(
        self,
        seconds: float,
        *,
        learn: bool = False,
        status: int | None = None,
        sent: float | None = None,
    ) -> None:
        """Let nobody start a request for ``seconds`` from now; extends, never shortens.

        Args:
            seconds: as the host asked.
            learn: whether it was too fast for the host, so that all go slower afterwards.
            status: what it answered; for those who watch.
            sent: when the refused request was sent, by the same clock. What was under way when
                the host refused first says nothing more about its rate.
        """
        now = self._clock()
        if seconds > 0:
            news = self._paused_until <= now
            self._paused_until = max(self._paused_until, now + seconds)
            self._clear = False
            if news:
                self.observers.tell_of_pause(seconds, status)
        if learn:
            self._pace.throttled(now, pause=seconds, sent=sent)
            self._apply_rate()
            if self._controller is None:
                self._controller = AdaptiveConcurrency(start=self._wanted, maximum=self._wanted)
            busy = self.slots.held - self._waiting_to_send
            self._controller.throttled(now, pause=seconds, in_flight=busy, rate=self._pace.rate)
            self._apply_limit()

    def completed(self, size: int, took: float) -> None:
        """A request was answered in full, 404 included; before `release`.

        Args:
            size: bytes of the body.
            took: seconds that the slot was held since `acquire` returned.
        """
        now = self._clock()
        if self._controller is not None:
            busy = self.slots.held - self._waiting_to_send
            self._controller.completed(now, size, took, in_flight=busy)
            if self._controller.limit != self._wanted:
                self._apply_limit()
        if self._cap is not None and now >= self._cap_doubles_at:
            self._cap_at(2 * self._cap, now)
        self._pace.answered(now)
        if self._pace.rate is not None:
            self._apply_rate()

    def timed_out(self) -> None:
        """A request was given up as too slow, although the host is there."""
        if self._controller is not None:
            self._controller.timed_out(self._clock())
            self._apply_limit()

    def short_of_descriptors(self) -> None:
        """No file descriptor was left for a connection: continue with half as many for a while.

        A burst of such failures counts once, and every 5 s without one doubles the number again.
        """
        now = self._clock()
        if self._cap is None or now >= self._cap_doubles_at:
            self._cap_at(max(1, self.slots.held // 2), now)

    def _cap_at(self, cap: int, now: float) -> None:
        self._cap = cap if cap < self._wanted else None
        self._cap_doubles_at = now + CAP_DOUBLES_AFTER
        self._apply_limit()

    def _apply_limit(self) -> None:
        if self._controller is not None:
            self._wanted = self._controller.limit
        limit = self._wanted if self._cap is None else min(self._wanted, self._cap)
        if limit != self.slots.total:
            self.slots.total = limit
            self.slots.admit()

    def limit_rate(self, tpslimit: float | None) -> None:
        """Continue at another ``tpslimit``; it takes effect within a second."""
        self._tpslimit = tpslimit
        self._apply_rate()

    def _apply_rate(self) -> None:
        rates = [rate for rate in (self._pace.rate, self._tpslimit) if rate is not None]
        self._rated = bool(rates)
        self._requests.rate = min(rates, default=None)

    # ---------------------------------------------------------------- outages

    @property
    def in_outage(self) -> bool:
        """True while the host cannot be reached: failures now are not the item's fault."""
        return self._circuit.state != "closed"

    @property
    def outage_exhausted(self) -> bool:
        """True when the outage has outlasted its budget, so that `acquire` fails at once."""
        return self._circuit.exhausted

    def connection_worked(self) -> None:
        """A response head arrived, whatever its status: the host is there."""
        self.received += 1
        if not self._circuit.healthy:
            if self.in_outage:
                _log.info("the host answers again")
            self._circuit.worked()

    def connection_failed(self, error: BaseException) -> None:
        """No connection could be made: name, refusal, unreachable, time-out, reset.

        To be called in the task that acquired, before `release`.
        """
        known = self.in_outage
        self._circuit.failed(error)
        if self.in_outage:
            self._clear = False
        if self.in_outage and not known:
            self.observers.tell_of_outage(error)

    async def take_bytes(self, amount: int) -> None:
        """Wait until ``amount`` bytes, small against a second's allowance, are within the rate."""
        if self.limited_bytes:
            await self._bytes.take(amount)
