"""What a run came to, in numbers; the same ones for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentphone_async.quantities import size_text
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
class Summary:
    """Counts of outcomes.

    Attributes:
        listed: calls that were given.
        counts: how many of each outcome, by its name.
        bytes: of the recordings that are new on disk.
        seconds: how long the run took.
    """

    listed: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FIELDS.values(), 0))
    bytes: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.counts[name_of(outcome)] += 1
        if isinstance(outcome, Archived):
            self.bytes += outcome.recording.size

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
        }

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
