"""What a run of the archive did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from agentphone_async.archive.selection import Selection
from agentphone_async.errors import AgentPhoneError
from agentphone_async.models import Call
from agentphone_async.recordings.outcomes import (
    AlreadyArchived,
    Archived,
    Failed,
    NoRecording,
    NotReadyYet,
    Outcome,
)

BYTES_PER_SECOND = 16_000
"""Of 8 kHz 16-bit mono, for estimates: the API does not tell sizes before they are fetched."""


@dataclass(slots=True)
class Report:
    """The counts of one run; what each selected call came to is counted once.

    ``selected`` is always the sum of ``archived``, ``no_recording``, ``not_ready``,
    ``already_archived``, ``failed``, ``suspect`` and ``left``; in a dry run, of the same and
    ``would_fetch``.

    It is the only count: whoever shows a run reads it from here.

    Attributes:
        listed: different calls that the server listed.
        selected: those of them that were wanted, or remembered from earlier runs as unfinished.
        archived: recordings that are on disk now, sound, and were not before.
        no_recording: calls that have none, and are too old for one to appear.
        not_ready: calls in progress, or without a recording yet: asked again by later runs.
        disputed: those of ``not_ready`` whose recordings the list promises, and the server
            answers 404; asked again after a day, later after a week, for 90 days.
        disputed_first: those of ``disputed`` that this run was the first to meet.
        disputed_without_url: those of ``disputed`` that the list gives no address of.
        already_archived: recordings that were on disk before.
        failed: recordings that could not be fetched, each for a reason of its own.
        suspect: recordings that are kept although header and bytes disagree.
        beside_failed: transcripts that could not be fetched; the next run asks again.
        unreadable: rows of the list that could not be read.
        undated: selected calls without a readable beginning: they are dated by their end, or by
            when they were seen first.
        left: calls that were not settled because the run was stopped.
        would_fetch: dry run only: recordings that a run would ask for.
        bytes: bytes of recordings that arrived over the network, attempts that failed included.
        estimated_bytes: dry run only: bytes of ``would_fetch``, estimated from the lengths of the
            calls as 8 kHz 16-bit mono. The API does not tell sizes.
        unknown_sizes: dry run only: how many of ``would_fetch`` have no length to estimate from.
        seconds: how long the run took.
        statuses: where a status was asked for, how many of the listed calls of those days had
            which.
        listing: ``full`` if the whole list of calls was walked, ``recent`` if the list proved that
            the rest of it is known.
        seen_since: the list was cut off by the server, and seen whole from here on; None if not.
        incident: the line about a server that refused nearly everything; None if it did not.
        complete: every page was seen and nothing is left: the next run may resume from here.
        stopped_because: why the run ended early, in one line; None if it did not.
        stop_reason: the same as a word: ``interrupted``, ``max_transfer``, ``max_duration``,
            ``min_free_space``, ``listing``; None if it did not.
        error: what ended the listing early; None if nothing did.
        problems: one line for each thing that is odd and no call's failure: rows that could not
            be read, a list that went in circles. The first 100 are kept.
        failures: of failed calls, ids and errors; the first 100.
    """

    listed: int = 0
    selected: int = 0
    archived: int = 0
    no_recording: int = 0
    not_ready: int = 0
    disputed: int = 0
    disputed_first: int = 0
    disputed_without_url: int = 0
    already_archived: int = 0
    failed: int = 0
    suspect: int = 0
    beside_failed: int = 0
    unreadable: int = 0
    undated: int = 0
    left: int = 0
    would_fetch: int = 0
    bytes: int = 0
    estimated_bytes: int = 0
    unknown_sizes: int = 0
    seconds: float = 0.0
    listing: str = "full"
    seen_since: datetime | None = None
    incident: str | None = None
    complete: bool = False
    stopped_because: str | None = None
    stop_reason: str | None = None
    error: AgentPhoneError | None = None
    problems: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, AgentPhoneError]] = field(default_factory=list)

    @property
    def settled(self) -> int:
        """Selected calls of which the run can tell what they came to."""
        return (
            self.archived
            + self.no_recording
            + self.not_ready
            + self.already_archived
            + self.failed
            + self.suspect
        )

    @property
    def waitable(self) -> int:
        """Calls that may be ready soon."""
        return self.not_ready - self.disputed

    @property
    def failures_met(self) -> bool:
        """Whether something went wrong that a person should know of: exit code 1."""
        return bool(
            self.failed
            or self.beside_failed
            or self.disputed_first
            or self.unreadable
            or self.incident
            or self.seen_since
            or self.error is not None
        )

    def count(self, outcome: Outcome) -> None:
        """Count what a call came to."""
        match outcome:
            case Archived(recording=recording):
                if recording.suspect is None:
                    self.archived += 1
                else:
                    self.suspect += 1
            case AlreadyArchived():
                self.already_archived += 1
            case NoRecording():
                self.no_recording += 1
            case NotReadyYet():
                self.not_ready += 1
            case Failed(call_id=call_id, error=error):
                self.failed += 1
                if len(self.failures) < MOST_KEPT:
                    self.failures.append((call_id, error))

    def estimate(self, seconds: float | None) -> None:
        """Count a recording that would be fetched, by the length of its call."""
        self.would_fetch += 1
        if seconds is None:
            self.unknown_sizes += 1
        else:
            self.estimated_bytes += 44 + int(seconds * BYTES_PER_SECOND)

    def note_statuses(self, calls: Iterable[Call], selection: Selection) -> None:
        """Count which statuses the days have, for whoever asked for one that no call has."""
        for call in calls:
            began = call.started_at or call.ended_at
            if began is None or selection.contains(began):
                status = call.status or "none"
                self.statuses[status] = self.statuses.get(status, 0) + 1

    def add_problem(self, line: str) -> None:
        """Keep a line, unless there are very many already."""
        if len(self.problems) < MOST_KEPT:
            self.problems.append(line)

    def add_incident(self, absent: int, failed: int, fetched: int) -> None:
        """Say that a server refused nearly everything."""
        asked = absent + failed + fetched
        self.incident = (
            f"{absent + failed:,} of {asked:,} recordings were refused ({absent:,} not found, "
            f"{failed:,} failed): the server seems to have an incident, so none of that is final, "
            "and the next run asks again"
        )
        self.disputed = self.disputed_first = 0
        self.add_problem(self.incident)

    def conclude(self) -> None:
        """Say what is odd and no call's failure."""
        if self.disputed_first:
            self.add_problem(
                f"{self.disputed_first:,} that the API says exist answered 404; they are asked for "
                "again in a day, then every week for 90 days; --recheck asks at once"
            )
        if self.disputed_without_url:
            self.add_problem(
                f"{self.disputed_without_url:,} of these have no recordingUrl: the recording "
                "add-on of the account may be off"
            )
        if self.undated:
            have = "call has" if self.undated == 1 else "calls have"
            self.add_problem(
                f"{self.undated:,} {have} no readable beginning; they count by their end, or by "
                "when they were seen first"
            )

    def counts(self) -> dict[str, int]:
        """The counts alone, by name."""
        names = (
            "listed",
            "selected",
            "archived",
            "no_recording",
            "not_ready",
            "disputed",
            "already_archived",
            "failed",
            "suspect",
            "beside_failed",
            "left",
            "bytes",
        )
        return {name: getattr(self, name) for name in names}


MOST_KEPT = 100
