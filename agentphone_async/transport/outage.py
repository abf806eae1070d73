"""A link or a host that is down: one shared question, not thousands of failures.

Pure state, no await: `agentphone_async.transport.limits` asks it and does the waiting.
"""

from __future__ import annotations

import math
import random

FIRST_PROBE_DELAY = 0.5
LONGEST_PROBE_DELAY = 15.0


class Outage:
    """Counts connection failures in a row and decides when to knock again.

    An outage begins with ``confirm_after`` failures in a row without any answer between them
    (a single reset among answers is that request's own business), or with the very first
    failure while the host has never answered. From then on one probe at a time may go out,
    0.5 s after the first failure and then twice as long each time, up to 15 s, ±20 % jitter.
    It ends with any answer. When it has lasted ``budget`` seconds, counted from its first
    failure, it is `exhausted`: a last probe is due at that moment, then one every 15 s.

    Args:
        budget: seconds that an outage of a host that did answer before is waited out.
        first_contact_budget: the same for a host that has never answered; a mistyped address
            should not take two minutes to say so.
        confirm_after: failures in a row that make an outage of a host that did answer.
        rng: source of the jitter.
    """

    __slots__ = (
        "_answered",
        "_backoff",
        "_budget",
        "_confirm_after",
        "_deadline",
        "_failures",
        "_first_contact_budget",
        "_next_probe",
        "_rng",
        "_since",
        "active",
        "error",
        "healthy",
    )

    def __init__(
        self,
        *,
        budget: float = 120.0,
        first_contact_budget: float = 10.0,
        confirm_after: int = 3,
        rng: random.Random | None = None,
    ) -> None:
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
        self.active = False
        self.error: BaseException | None = None
        self.healthy = False
        """True after an answer and until the next failure: `worked` has nothing to do."""

    def worked(self) -> bool:
        """An answer arrived, whatever its status. Returns True if that ended an outage."""
        ended = self.active
        self._answered = self.healthy = True
        self._failures = 0
        self._backoff = FIRST_PROBE_DELAY
        self.active = False
        self.error = None
        return ended

    def failed(self, now: float, error: BaseException, *, probe: bool) -> None:
        """No connection at ``now``; only a ``probe`` makes the next one wait longer."""
        self.healthy = False
        self.error = error
        self._failures += 1
        if self._failures == 1:
            self._since = now
        if self.active:
            if probe:
                self._backoff = min(self._backoff * 2, LONGEST_PROBE_DELAY)
                self._schedule(now)
            return
        if self._answered and self._failures < self._confirm_after:
            return
        self.active = True
        budget = self._budget if self._answered else self._first_contact_budget
        self._deadline = self._since + budget
        self._schedule(now)

    def dropped(self, now: float) -> None:
        """The probe ended without a verdict (cancelled, say): another may go after a moment."""
        self._next_probe = max(self._next_probe, now + FIRST_PROBE_DELAY)

    def probe_in(self, now: float) -> float:
        """Seconds until the next probe is due; 0.0 if it is."""
        return max(0.0, self._next_probe - now)

    def exhausted(self, now: float) -> bool:
        """True if the outage has outlasted its budget: fail at once instead of waiting."""
        return self.active and now >= self._deadline

    def _schedule(self, now: float) -> None:
        if now >= self._deadline:
            self._next_probe = now + LONGEST_PROBE_DELAY
            return
        wait = self._backoff * self._rng.uniform(0.8, 1.2)
        self._next_probe = min(now + wait, self._deadline)
