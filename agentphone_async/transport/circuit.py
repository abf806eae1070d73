"""A circuit breaker for a host that is down, and the same for one that refuses all of one kind.

One shared question, not thousands of failures: closed, everybody goes; open, everybody waits; half
open, one probe at a time goes and decides for all.
"""

from __future__ import annotations

import asyncio
import copy
import math
import random
from collections.abc import Callable
from typing import Literal, TypeVar

from agentphone_async.errors import ResponseError
from agentphone_async.transport.stop import Stop

FIRST_PROBE_DELAY = 0.5
LONGEST_PROBE_DELAY = 15.0

E = TypeVar("E", bound=BaseException)


class CircuitBreaker:
    """Opens when the host cannot be reached, and closes with any answer.

    It opens after ``confirm_after`` connection failures in a row without any answer between them (a
    single reset among answers is that request's own business), or with the very first failure
    while the host has never answered. From then on one probe at a time may go out, 0.5 s after
    the first failure and then twice as long each time, up to 15 s, ±20 % jitter. When it has been
    open for ``budget`` seconds, counted from the first failure, it is `exhausted`: everybody fails
    at once, a last probe is due at that moment, and then one every 15 s.

    Passing, the verdict and leaving belong to one task: that is how the probe is known.

    Args:
        clock: monotonic seconds.
        stop: sleeps, and ends all waiting when it is closed.
        budget: seconds that a host which did answer before is waited for.
        first_contact_budget: the same for a host that has never answered; a mistyped address
            should not take two minutes to say so.
        confirm_after: failures in a row that open it for a host that did answer.
        rng: source of the jitter.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        stop: Stop,
        *,
        budget: float = 120.0,
        first_contact_budget: float = 10.0,
        confirm_after: int = 3,
        rng: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._stop = stop
        self._budget = budget
        self._first_contact_budget = first_contact_budget
        self._confirm_after = confirm_after
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._answered = False
        self._failures = 0
        self._backoff = FIRST_PROBE_DELAY
        self._since = 0.0
        self._deadline = math.inf
        self._next_probe = 0.0
        self._news = asyncio.Event()  # the probe that is out, or goes out next, has ended
        self._open = False
        self.prober: asyncio.Task[object] | None = None
        self.error: BaseException | None = None
        self.healthy = False
        """True after an answer and until the next failure: `worked` has nothing to do."""

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        """Whether everybody, nobody, or a probe may go."""
        if not self._open:
            return "closed"
        return "open" if self.prober is None else "half-open"

    @property
    def exhausted(self) -> bool:
        """True when it has been open for longer than the budget."""
        return self._open and self._clock() >= self._deadline

    # ---------------------------------------------------------------- verdicts

    def worked(self) -> None:
        """An answer arrived, whatever its status."""
        was_open = self._open
        self._answered = self.healthy = True
        self._failures = 0
        self._backoff = FIRST_PROBE_DELAY
        self._open = False
        self.error = None
        if was_open:
            self._end_probe()

    def failed(self, error: BaseException) -> None:
        """This task could not reach the host."""
        now = self._clock()
        probe = self._is_probe()
        self.healthy = False
        self.error = error
        self._failures += 1
        if self._failures == 1:
            self._since = now
        if self._open:
            if probe:
                self._backoff = min(self._backoff * 2, LONGEST_PROBE_DELAY)
                self._schedule(now)
        elif not self._answered or self._failures >= self._confirm_after:
            self._open = True
            budget = self._budget if self._answered else self._first_contact_budget
            self._deadline = self._since + budget
            self._schedule(now)
        if probe:
            self._end_probe()

    def left(self) -> None:
        """This task is done; if it was the probe, and has no verdict, another may go soon."""
        if self._is_probe():
            self._next_probe = max(self._next_probe, self._clock() + FIRST_PROBE_DELAY)
            self._end_probe()

    # ---------------------------------------------------------------- passing

    def lets_me_through(self) -> bool:
        """True if this task, which has passed, may still go without waiting."""
        return not self._open or self._is_probe()

    async def passed(self) -> None:
        """Return when it is closed, or when this task is the due probe.

        Raises:
            RunStoppedError: the waiting was ended.
            BaseException: a copy of the last error, once the budget is exhausted.
        """
        while self._open:
            due = max(0.0, self._next_probe - self._clock())
            if self.prober is None and (due <= 0 or not self.exhausted):
                self.prober = asyncio.current_task()
            if self._is_probe():
                if due <= 0:
                    return
                await self._stop.wait(self._news, due)
            elif self.exhausted and self.error is not None:
                raise copy_of(self.error)
            else:
                await self._stop.wait(self._news)

    def _is_probe(self) -> bool:
        return self.prober is not None and self.prober is asyncio.current_task()

    def _schedule(self, now: float) -> None:
        if now >= self._deadline:
            self._next_probe = now + LONGEST_PROBE_DELAY
            return
        wait = self._backoff * self._rng.uniform(0.8, 1.2)
        self._next_probe = min(now + wait, self._deadline)

    def _end_probe(self) -> None:
        self.prober = None
        self._news.set()
        self._news = asyncio.Event()


class Refusals:
    """What the host says to requests of one kind: 429, or 5xx, and whether to anything else.

    Pure state. When all that it has said for ``budget`` seconds is no, it is `exhausted`: the
    service is in maintenance, and everybody fails at once, except for one probe every 15 s. A
    wait of at least ``budget`` that the host itself asked for does not count, up to ``longest``.

    Args:
        budget: seconds.
        longest: seconds.

    Attributes:
        answers: how many were answered otherwise.
        refusals: how many were refused.
        in_a_row: how many of these since it was answered otherwise.
        rounds: refusals without any answer between them; what was under way together counts once.
        error: what all get when it is exhausted.
    """

    def __init__(self, budget: float, longest: float = 3600.0) -> None:
        self._budget = budget
        self._longest = longest
        self._since = math.inf
        self._excused = 0.0
        self._round_at = -math.inf
        self._next_probe = math.inf
        self.answers = self.refusals = self.in_a_row = self.rounds = 0
        self.error: ResponseError | None = None

    def answered(self) -> None:
        """The host said something else to a request of this kind."""
        self.answers += 1
        if self.refusals:
            self._since = math.inf
            self._excused = 0.0
            self.in_a_row = self.rounds = 0
            self.error = None

    def refused(
        self, now: float, sent: float, asked: float | None, error: ResponseError, what: str
    ) -> bool:
        """The host said no, and asked to wait so long, or did not say how long.

        Returns:
            Whether that is news: False for a request that was under way (``sent`` when) before the
            last news came, so that it belongs to the same burst.
        """
        self.refusals += 1
        self.in_a_row += 1
        self._since = min(self._since, now)
        news = sent >= self._round_at
        if news:
            self.rounds += 1
            self._round_at = now
            if asked is not None and asked >= self._budget:
                self._excused = min(self._longest, self._excused + asked)
        took = now - self._since
        if took - self._excused >= self._budget:
            self.error = type(error)(
                f"for {took:.0f} s the host has answered {error.status} to every '{what}'; "
                "it seems to be in maintenance or overloaded: try again later",
                status=error.status or 0,
                code=error.code,
                retry_after=error.retry_after,
            )
            self._next_probe = now + LONGEST_PROBE_DELAY
        return news

    def admit(self, now: float) -> bool:
        """Let a request go, unless it is known what will become of it; True for a probe.

        Raises:
            ResponseError: everything was refused for longer than the budget.
        """
        if self.error is None:
            return False
        if now < self._next_probe:
            self.check()
        self._next_probe = now + LONGEST_PROBE_DELAY
        return True

    def check(self) -> None:
        """Wait on only if it is not known yet what will become of it.

        Raises:
            ResponseError: everything was refused for longer than the budget.
        """
        if self.error is not None:
            raise copy_of(self.error)


def copy_of(error: E) -> E:
    """A copy that everyone may raise and complete: no shared traceback, no shared fields."""
    try:
        duplicate = copy.copy(error)
    except TypeError:  # its constructor wants more than its args
        return error.with_traceback(None)
    return duplicate.with_traceback(None)
