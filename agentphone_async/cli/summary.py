"""What a run came to, in numbers; the same ones for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agentphone_async.protocol.display import printable
from agentphone_async.quantities import counted, duration_text, size_text

if TYPE_CHECKING:
    from agentphone_async.models import Call
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
    Outcome,
)

_FIELDS: dict[type, str] = {
    Archived: "archived",
    NoRecording: "no_recording",
    NotReadyYet: "not_ready",
    AlreadyArchived: "already_archived",
    Failed: "failed",
}


def name_of(outcome: Outcome) -> str:
    """The outcome's name in counts and events, such as ``no_recording``."""
    return _FIELDS[type(outcome)]


@dataclass(slots=True)
class Waiting:
    """Why recordings are not ready, as far as their calls tell.

    Attributes:
        grace: how long after a call's end its recording may appear.
    """

    grace: timedelta = timedelta(hours=24)
    in_progress: int = 0
    never_connected: int = 0
    pending: int = 0
    until: datetime | None = None

    def add(self, call: Call | None) -> None:
        """Count one that is not ready."""
        if call is None:
            return
        if call.never_connected:
            self.never_connected += 1
        elif not call.is_finished:
            self.in_progress += 1
        elif call.ended_at is not None:
            self.pending += 1
            until = call.ended_at + self.grace
            self.until = until if self.until is None else max(self.until, until)

    def as_sentence(self) -> str | None:
        """One line; None if nothing is known."""
        parts = []
        if self.pending and self.until is not None:
            parts.append(f"{self.pending:,} may still appear until {_clock(self.until)}")
        if self.in_progress:
            verb = "is" if self.in_progress == 1 else "are"
            parts.append(f"{counted(self.in_progress, 'call')} {verb} in progress")
        if self.never_connected:
            verb = "was" if self.never_connected == 1 else "were"
            parts.append(f"{counted(self.never_connected, 'call')} {verb} never connected")
        return ", ".join(parts) or None


def _clock(at: datetime) -> str:
    local = at.astimezone()
    same_day = local.date() == datetime.now().astimezone().date()
    return local.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M")


@dataclass(slots=True)
class Effort:
    """What it took: requests that were repeated, and pauses.

    Attributes:
        retries: attempts beyond each request's first.
        pauses: how often everything waited for the server.
        paused_seconds: how long.
    """

    retries: int = 0
    pauses: int = 0
    paused_seconds: float = 0.0

    def as_fields(self) -> dict[str, object]:
        """For programs."""
        return {
            "retries": self.retries,
            "pauses": self.pauses,
            "paused_seconds": round(self.paused_seconds, 3),
        }

    def as_sentence(self) -> str | None:
        """For people; None if nothing was out of the ordinary."""
        parts = []
        if self.retries:
            plural = "retry" if self.retries == 1 else "retries"
            parts.append(f"{self.retries:,} {plural}")
        if self.pauses:
            waited = duration_text(self.paused_seconds)
            parts.append(f"{counted(self.pauses, 'pause')} of {waited} in all")
        return ", ".join(parts) or None


@dataclass(slots=True)
class Summary:
    """Counts of outcomes.

    Attributes:
        listed: calls that were given.
        counts: how many of each outcome, by its name.
        bytes: of the recordings that are new on disk.
        seconds: how long the run took.
        unread: ids that were not read because the run was stopped; None if nobody knows.
        waiting: why recordings are not ready.
        effort: retries and pauses.
    """

    listed: int = 0
    unread: int | None = 0
    waiting: Waiting = field(default_factory=Waiting)
    effort: Effort = field(default_factory=Effort)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FIELDS.values(), 0))
    bytes: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.counts[name_of(outcome)] += 1
        if isinstance(outcome, Archived):
            self.bytes += outcome.recording.size
        elif isinstance(outcome, NotReadyYet):
            self.waiting.add(outcome.call)

    @property
    def settled(self) -> int:
        """How many have an outcome."""
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        """How many have none."""
        return self.listed - self.settled

    def as_event(self) -> dict[str, object]:
        """The last line of ``--json``."""
        return {
            "event": "summary",
            "listed": self.listed,
            **self.counts,
            "left": self.left,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "unread": self.unread,
            **self.effort.as_fields(),
        }

    def notes(self) -> list[str]:
        """What the last line does not say, a line each."""
        lines = []
        if (why := self.waiting.as_sentence()) is not None:
            lines.append(f"{self.counts['not_ready']:,} not ready yet: {why}")
        if (spent := self.effort.as_sentence()) is not None:
            lines.append(spent)
        if (rest := self.rest()) is not None:
            lines.append(rest)
        return lines

    def rest(self) -> str | None:
        """What a run that was stopped has left."""
        parts = []
        if self.left:
            parts.append(f"{counted(self.left, 'call')} {'is' if self.left == 1 else 'are'} left")
        if self.unread is None:
            parts.append("standard input was not read to its end")
        elif self.unread:
            were = "was" if self.unread == 1 else "were"
            parts.append(f"{counted(self.unread, 'id')} {were} not read")
        return f"{', '.join(parts)}; run it again to continue" if parts else None

    def as_sentence(self) -> str:
        """The last line for people."""
        words = [
            (self.counts["archived"], "archived"),
            (self.counts["already_archived"], "already there"),
            (self.counts["no_recording"], "without a recording"),
            (self.counts["not_ready"], "not ready yet"),
            (self.counts["failed"], "failed"),
        ]
        parts = [f"{count:,} {what}" for count, what in words if count or what == "archived"]
        rate = self.bytes / self.seconds if self.seconds else 0.0
        return (
            f"{', '.join(parts)}: {size_text(self.bytes)} in {self.seconds:.1f} s "
            f"({size_text(rate)}/s)"
        )


def statuses_seen(counts: Mapping[str, int]) -> str:
    """``; statuses seen: completed (120), failed (3)``, for who misspelt one; or nothing."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    seen = ", ".join(f"{status} ({count:,})" for status, count in ordered[:10])
    return f"; statuses seen: {printable(seen, 500)}" if seen else ""
