"""One call, and how its life runs from the first ring to the recording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Turn = tuple[float, str, str]
"""Seconds after the call was answered, ``user`` or ``agent``, and what was said."""


@dataclass(frozen=True, slots=True)
class EmulatedAgent:
    """An AI agent that takes or makes calls."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class EmulatedNumber:
    """A phone number of the account, in E.164."""

    id: str
    phone_number: str


@dataclass(slots=True, eq=False)
class WebhookDelivery:
    """One event and how its delivery went.

    Attributes:
        id: ``X-Webhook-ID``, the same in every attempt.
        event: What is sent, as JSON.
        status: ``pending``, ``success``, ``failed`` after the last attempt, or ``dropped`` by a
            fault.
        attempts: How many times it was sent so far.
        http_status: What the last attempt was answered; None if it was not.
        error: Why the last attempt failed.
    """

    id: str
    call_id: str
    created_at: datetime
    event: dict[str, Any] = field(repr=False)
    status: str = "pending"
    attempts: int = 0
    http_status: int | None = None
    error: str | None = None
    last_attempt: datetime | None = None


@dataclass(frozen=True, slots=True)
class CallLife:
    """How long a created call stays in each state, in seconds.

    Attributes:
        queued: Before it rings.
        ringing: Before it is answered.
        talking: Before both hang up.
        recording: From the end of the call until its recording answers 200 instead of 404.
        ending: From an ``end`` request until status and ``endedAt`` follow.
        joining: How long the access token of a web call is valid.
    """

    queued: float = 0.5
    ringing: float = 2.0
    talking: float = 20.0
    recording: float = 5.0
    ending: float = 0.5
    joining: float = 30.0


@dataclass(slots=True, eq=False)
class EmulatedCall:
    """A call on the emulator's books; what the API says of it follows from the time.

    The call waits ``queued_for``, rings ``rings_for``, is talked for ``seconds``, and then
    has the status ``outcome``; its recording appears ``recording_delay`` after that. Any of
    these may be infinite, which is how a call stays in a state until it is ended.

    Attributes:
        settled: Whatever the clock says, all of that is over (a call of the past).
        recorded: Whether there will ever be a recording.
        recording_hint: Overrides ``recordingAvailable`` when not None.
        recording_link: False keeps ``recordingUrl`` null.
        audio: The recording's bytes, in place of generated ones.
        version: Raised when the recording changes.
        turns: What was said; None for a conversation generated from seed and id.
        sub_account: The sub-account it belongs to; None for the main account.
        milliseconds: Whether its timestamps are written with milliseconds.
    """

    id: str
    started_at: datetime
    seconds: float | None
    outcome: str = "completed"
    direction: str = "inbound"
    type: str = "pstn"
    from_number: str = "+15559870000"
    to_number: str = "+15551230000"
    agent_id: str | None = None
    agent_name: str | None = None
    phone_number_id: str | None = None
    phone_number: str | None = None
    queued_for: float = 0.0
    rings_for: float = 0.0
    first_status: str = "queued"
    talking_status: str = "in-progress"
    recorded: bool = True
    recording_delay: float = 0.0
    recording_hint: bool | None = None
    recording_link: bool = True
    media_type: str = "audio/wav"
    audio: bytes | None = field(default=None, repr=False)
    version: int = 0
    turns: Sequence[Turn] | None = field(default=None, repr=False)
    sub_account: str | None = None
    settled: bool = True
    milliseconds: bool = False

    def status(self, now: datetime) -> str:
        """The status at a moment."""
        if self.settled:
            return self.outcome
        age = (now - self.started_at).total_seconds()
        if age < self.queued_for:
            return self.first_status
        if age < self.queued_for + self.rings_for:
            return "ringing"
        return self.talking_status if age < self.ends_after else self.outcome

    @property
    def answered_after(self) -> float:
        """Seconds from ``started_at`` until it is answered."""
        return round(self.queued_for + self.rings_for, 6)

    @property
    def ends_after(self) -> float:
        """Seconds from ``started_at`` until it has ended; may be infinite."""
        return round(self.answered_after + (self.seconds or 0.0), 6)

    def has_ended(self, now: datetime) -> bool:
        """Whether nobody is on the line any more."""
        return self.settled or (now - self.started_at).total_seconds() >= self.ends_after

    def ended_at(self, now: datetime) -> datetime | None:
        """When it ended; None while it has not."""
        if not self.has_ended(now) or math.isinf(self.ends_after):
            return None
        return self.started_at + timedelta(seconds=self.ends_after)

    def duration(self, now: datetime) -> float | None:
        """Seconds talked; None while it runs and for calls that nobody answered."""
        return self.seconds if self.has_ended(now) else None

    def has_recording(self, now: datetime) -> bool:
        """Whether the recording can be fetched at a moment."""
        if not self.recorded or self.outcome != "completed":
            return False
        if self.settled:
            return True
        age = (now - self.started_at).total_seconds()
        return age >= self.ends_after + self.recording_delay

    def expects_recording(self, now: datetime) -> bool:
        """Whether the recording is still to come at a moment."""
        return self.recorded and self.outcome == "completed" and not self.has_recording(now)

    def next_change(self, now: datetime) -> float:
        """Seconds until the next thing happens to it; infinite when nothing will."""
        if self.settled:
            return math.inf
        age = (now - self.started_at).total_seconds()
        milestones = (
            self.queued_for,
            self.answered_after,
            self.ends_after,
            self.ends_after + self.recording_delay,
        )
        return min((at - age for at in milestones if at > age), default=math.inf)

    def hang_up(self, now: datetime, after: float) -> None:
        """End it ``after`` seconds from now, unless it ends earlier by itself."""
        if self.has_ended(now):
            return
        age = (now - self.started_at).total_seconds() + after
        if age >= self.ends_after:
            return
        if age <= self.answered_after:
            self.queued_for = min(self.queued_for, age)
            self.rings_for = age - self.queued_for
            self.seconds, self.outcome, self.recorded = None, "failed", False
        else:
            self.seconds = round(age - self.answered_after, 3)
