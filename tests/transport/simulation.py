"""A server and its impatient client in simulated time, to judge the controllers by.

Everything that is transferred at one moment gets the same rate, so one clock of bytes per
transfer (`Simulation._served`) replaces a clock per transfer: an event costs a heap operation.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agentphone_async.transport.adaptive import AdaptiveConcurrency
from agentphone_async.transport.pace import AdaptivePace
from agentphone_async.transport.slow_start import LOOK

NEVER = math.inf
RETRY_AFTER = 1.0


class Throttle(Protocol):
    def admits(self, now: float) -> bool: ...


@dataclass
class BucketThrottle:
    """``rate`` requests a second with a burst, as nginx and API gateways do it."""

    rate: Callable[[float], float]
    burst: float
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.burst

    def admits(self, now: float) -> bool:
        self.level = min(self.burst, self.level + (now - self.at) * self.rate(now))
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass
class WindowThrottle:
    """At most ``rate`` requests in each calendar second."""

    rate: Callable[[float], float]
    second: int = -1
    count: int = 0

    def admits(self, now: float) -> bool:
        if int(now) != self.second:
            self.second, self.count = int(now), 0
        self.count += 1
        return self.count <= self.rate(now)


@dataclass
class Network:
    """One world.

    ``transfer_rate(n, now)``: bytes/s of each of ``n`` requests under way.
    ``latency``: seconds to the first byte, ±``jitter``.
    ``sizes``: draws the bytes of one recording.
    """

    transfer_rate: Callable[[int, float], float]
    latency: float = 0.1
    jitter: float = 0.2
    median_bytes: float = 300_000
    sigma: float = 0.8
    missing: float = 0.0
    throttle: Callable[[], Throttle | None] = lambda: None
    patience: float = NEVER
    """Seconds after which the client gives a request up."""


@dataclass
class Tally:
    """What happened in one stretch of time."""

    bytes: int = 0
    requests: int = 0
    throttled: int = 0
    timed_out: int = 0

    @property
    def throttled_share(self) -> float:
        return self.throttled / max(1, self.requests + self.throttled)


class Simulation:
    """Runs one client with unlimited demand against one `Network`.

    ``concurrency``: a fixed number, or the controller to be judged. ``pace``: a fixed number of
    requests a second, a controller, or None. ``items``: recordings that are wanted, or endless.
    """

    def __init__(
        self,
        network: Network,
        concurrency: int | AdaptiveConcurrency,
        *,
        pace: AdaptivePace | float | None = None,
        seed: int = 1,
        items: int | None = None,
    ) -> None:
        self.network = network
        self.control = concurrency
        self.pace = pace
        self.rng = random.Random(seed)
        self.draw = random.Random(seed + 1000)  # the recordings: the same for every client
        self.now = 0.0
        self.tally = Tally()
        self.limits_seen: list[tuple[float, int, float | None]] = []
        self._throttle = network.throttle()
        self._events: list[tuple[float, int, str, tuple[float, int]]] = []
        self._order = 0
        self._left = items
        self.most_in_flight = 0
        self._in_flight = 0
        self._in_line = 0
        self._connections = 0
        self._paused_until = 0.0
        self._allowed = 1.0  # requests, by the pace
        self._paced_at = 0.0
        self._served = 0.0  # bytes that each transfer under way since ever would have got
        self._transfers: list[tuple[float, int, float, int]] = []
        self._received = 0  # bytes of what is complete, and one for each head
        if not isinstance(concurrency, int):
            self._later(LOOK, "look")

    @property
    def limit(self) -> int:
        return self.control if isinstance(self.control, int) else self.control.limit

    def run(self, until: float) -> Tally:
        """Continue to ``until`` and return what happened since the last call."""
        self.tally = Tally()
        self._fill()
        while True:
            event_at = self._events[0][0] if self._events else NEVER
            rate = self._rate()
            transfer_at = (
                self.now + (self._transfers[0][0] - self._served) / rate
                if self._transfers
                else NEVER
            )
            at = min(event_at, transfer_at)
            if at == NEVER:
                return self.tally  # all recordings are there
            if at > until:
                self._served += (until - self.now) * rate
                self.now = until
                return self.tally
            self._served += (at - self.now) * rate
            self.now = at
            if transfer_at <= event_at:
                _, _, sent, size = heapq.heappop(self._transfers)
                self._completed(sent, size)
            else:
                _, _, kind, data = heapq.heappop(self._events)
                self._happen(kind, *data)
            self._fill()

    def _rate(self) -> float:
        return self.network.transfer_rate(max(1, len(self._transfers)), self.now)

    def _later(self, at: float, kind: str, sent: float = 0.0, size: int = 0) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, self._order, kind, (sent, size)))

    def _fill(self) -> None:
        """Lend every free slot."""
        while self._in_flight < self.limit and self._left != 0:
            if self._left is not None:
                self._left -= 1
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            self._send()

    def _send(self) -> None:
        """As `HostLimits` does it: pauses first, then the pace, one after the other."""
        if self.now < self._paused_until:
            self._later(self._paused_until, "again")
            return
        self._in_line += 1
        if self._in_line == 1:
            self._next_in_line()

    def _next_in_line(self) -> None:
        rate = self.pace.rate if isinstance(self.pace, AdaptivePace) else self.pace
        if rate is None:
            self._allowed, wait = 1.0, 0.0
        else:
            self._allowed += (self.now - self._paced_at) * rate
            self._allowed = min(1.0, self._allowed) - 1.0
            wait = max(0.0, -self._allowed / rate)
        self._paced_at = self.now
        self._later(self.now + wait, "go")

    def _go(self) -> None:
        network = self.network
        self._in_line -= 1
        if self._in_line:
            self._next_in_line()
        if self.now < self._paused_until:
            self._later(self._paused_until, "again")
            return
        latency = network.latency * self.rng.uniform(1 - network.jitter, 1 + network.jitter)
        if self._throttle is not None and not self._throttle.admits(self.now):
            self._later(self.now + latency, "throttled", self.now)
            return
        if self._in_flight - self._in_line > self._connections:
            self._connections += 1
            latency *= 2  # a new connection takes a round trip by itself
        size = 0
        if self.draw.random() >= network.missing:
            size = int(network.median_bytes * math.exp(self.draw.gauss(0, network.sigma)))
        self._later(self.now + latency, "head", self.now, size)

    def _look(self) -> None:
        """As `HostLimits.growing` does it."""
        if isinstance(self.control, int) or not self.control.starting or not self._in_flight:
            return
        partial = sum(self._served - (end - size) for end, _, _, size in self._transfers)
        busy = self._in_flight - self._in_line
        self.control.look(self.now, self._received + int(partial), busy)
        self._later(self.now + LOOK, "look")

    def _happen(self, kind: str, sent: float, size: int) -> None:
        if kind == "look":
            self._look()
        elif kind == "again":
            self._send()
        elif kind == "go":
            self._go()
        elif kind == "throttled":
            self._throttled(sent)
        elif size == 0:
            self._received += 1
            self._completed(sent, 0)
        else:
            self._received += 1
            self._order += 1
            entry = (self._served + size, self._order, sent, size)
            heapq.heappush(self._transfers, entry)

    def _completed(self, sent: float, size: int) -> None:
        self._in_flight -= 1
        took = self.now - sent
        if took > self.network.patience:  # judged at its end: the bytes were moved for nothing
            self.tally.timed_out += 1
            if isinstance(self.control, AdaptiveConcurrency):
                self.control.timed_out(self.now)
            return
        self._received += size
        self.tally.bytes += size
        self.tally.requests += 1
        if isinstance(self.control, AdaptiveConcurrency):
            before = self.control.limit
            self.control.completed(
                self.now,
                size,
                took,
                self._in_flight + 1 - self._in_line,
            )
            if self.control.limit != before:
                pace = self.pace.rate if isinstance(self.pace, AdaptivePace) else None
                self.limits_seen.append((self.now, self.control.limit, pace))
        if isinstance(self.pace, AdaptivePace):
            self.pace.answered(self.now)

    def _throttled(self, sent: float) -> None:
        self._in_flight -= 1
        if self._left is not None:
            self._left += 1  # it is asked for again
        self.tally.throttled += 1
        self._paused_until = max(self._paused_until, self.now + RETRY_AFTER)
        if isinstance(self.control, AdaptiveConcurrency):
            busy = self._in_flight - self._in_line
            rate = self.pace.rate if isinstance(self.pace, AdaptivePace) else None
            self.control.throttled(self.now, pause=RETRY_AFTER, in_flight=busy, rate=rate)
        if isinstance(self.pace, AdaptivePace):
            self.pace.throttled(self.now, pause=RETRY_AFTER, sent=sent)


MEGABYTE = 1_000_000.0


def latency_bound() -> Network:
    """Many small answers, far away: more at a time is simply more."""
    return Network(lambda n, now: 50 * MEGABYTE, latency=0.4, median_bytes=20_000, missing=0.5)


def per_connection_cap() -> Network:
    """Each connection gets 1 MB/s, whatever the others do."""
    return Network(lambda n, now: 1 * MEGABYTE)


def global_cap() -> Network:
    """20 MB/s for all together, 2 MB/s for one: about 11 at a time are enough."""
    return Network(lambda n, now: min(2 * MEGABYTE, 20 * MEGABYTE / n))


MOVES_AT = 90.0
ALLOWED = 50.0


def rate_limited(kind: str = "bucket") -> Network:
    """50 requests a second, 429 beyond; ``rising`` and ``falling`` change that in the middle."""
    make: Callable[[], Throttle] = {
        "bucket": lambda: BucketThrottle(lambda now: ALLOWED, burst=50),
        "tight bucket": lambda: BucketThrottle(lambda now: ALLOWED, burst=5),
        "window": lambda: WindowThrottle(lambda now: ALLOWED),
        "rising": lambda: BucketThrottle(
            lambda now: ALLOWED if now < MOVES_AT else 2 * ALLOWED, burst=50
        ),
        "falling": lambda: BucketThrottle(
            lambda now: ALLOWED if now < MOVES_AT else ALLOWED / 5, burst=10
        ),
    }[kind]
    return Network(lambda n, now: 5 * MEGABYTE, latency=0.15, median_bytes=100_000, throttle=make)


def _collapsing(n: int, knee: float, top: float, fall: float = 2) -> float:
    return top / n * (min(1.0, n / knee) if n <= knee else (knee / n) ** fall)


def collapse() -> Network:
    """Total throughput grows up to 20 at a time and falls fast beyond."""
    return Network(lambda n, now: _collapsing(n, 20, 20 * MEGABYTE), latency=0.05, patience=60)


def moving_up() -> Network:
    """The narrow place widens from 8 MB/s to 32 MB/s."""
    return Network(lambda n, now: min(1 * MEGABYTE, (8 if now < MOVES_AT else 32) * MEGABYTE / n))


def moving_down() -> Network:
    """The server loses most of its strength: collapse beyond 40 becomes collapse beyond 10."""
    return Network(
        lambda n, now: (
            _collapsing(n, 40, 40 * MEGABYTE, 1)
            if now < MOVES_AT
            else _collapsing(n, 10, 10 * MEGABYTE, 1)
        ),
        latency=0.05,
    )


def far_away(latency: float) -> Network:
    """Recordings of 24 kB at 2 MB/s a connection; 25 MB/s is what one process can take."""
    return Network(
        lambda n, now: min(2 * MEGABYTE, 25 * MEGABYTE / n),
        latency=latency,
        jitter=0.1,
        median_bytes=24_000,
        sigma=0.3,
    )
