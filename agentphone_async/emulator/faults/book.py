"""Which fault hits a request: rules in the order in which they were added, and the log."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random

from agentphone_async.emulator.clock import RateLimiter
from agentphone_async.emulator.faults.fault import Fault
from agentphone_async.emulator.routes import Match, Route
from agentphone_async.emulator.seeding import rng

_LOGGED = 100_000


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """One line of the fault log: what was done to which request.

    Attributes:
        number: Counts all faults since the start, from 1.
        wait: Seconds until a request may come again, where a ``rate_limit`` refuses this one.
    """

    number: int
    fault: Fault
    route: Route
    call_id: str
    wait: float = 0.0

    @property
    def refused_with(self) -> int | None:
        """The status of the refusal; None when the request is carried out."""
        if self.fault.recording_url is not None and self.route == "recording":
            return 404
        return None if self.fault.carries_out else self.fault.answered or 500


@dataclass(slots=True)
class Rule:
    """A fault in force, with what it has to remember."""

    fault: Fault
    dice: Random
    limiter: RateLimiter = field(default_factory=RateLimiter)
    active: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)

    def fires(self, call_id: str) -> bool:
        """Whether it hits a request that it is for; counts it."""
        fault, key = self.fault, call_id if self.fault.per_call else ""
        if fault.times is not None and self.fired[key] >= fault.times:
            return False
        if self.skipped[key] < fault.skip:
            self.skipped[key] += 1
            return False
        if fault.probability < 1.0 and self.dice.random() >= fault.probability:
            return False
        self.fired[key] += 1
        return True


class FaultBook:
    """The rules in force, and the log of what they did.

    Args:
        seed: What the dice of ``probability`` follow from.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rules: list[Rule] = []
        self._added = 0
        self._fired = 0
        self.log: deque[FaultEvent] = deque(maxlen=_LOGGED)

    def add(self, fault: Fault) -> None:
        """Put a rule behind all others."""
        self._added += 1
        self._rules.append(Rule(fault, rng("fault", self._seed, self._added)))

    def clear(self) -> None:
        """Take all rules away; the log stays."""
        self._rules.clear()

    def strike(self, found: Match, now: float, held: list[Rule]) -> FaultEvent | None:
        """What goes wrong with a request, if anything does.

        Args:
            found: What the request asks for.
            now: The monotonic clock, for rates.
            held: Takes the rules that count the request until `release` is called with it.
        """
        for rule in self._rules:
            fault, wait = rule.fault, 0.0
            if not fault.concerns(found.route, found.identity, found.query):
                continue
            if fault.concurrency_limit is not None and rule.active < fault.concurrency_limit:
                rule.active += 1
                held.append(rule)
                continue
            if fault.rate_limit is not None:
                wait = rule.limiter.admit(now, fault.rate_limit)
                if wait <= 0:
                    continue
            if rule.fires(found.identity):
                self._fired += 1
                event = FaultEvent(self._fired, fault, found.route, found.identity, wait)
                self.log.append(event)
                return event
        return None

    @staticmethod
    def release(held: list[Rule]) -> None:
        """A request is over that rules have counted."""
        for rule in held:
            rule.active -= 1
