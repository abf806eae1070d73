"""What a run of the archive did."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentphone_async.errors import AgentPhoneError


@dataclass(slots=True)
class Report:
    """The counts of one run; what each selected call came to is counted once.

    ``selected`` is always the sum of ``archived``, ``no_recording``, ``not_ready``,
    ``already_archived``, ``failed``, ``suspect`` and ``left``; in a dry run, of the same and
    ``would_fetch``.

    Attributes:
        listed: different calls that the server listed.
        selected: those of them that were wanted, or remembered from earlier runs as unfinished.
        archived: recordings that are on disk now, sound, and were not before.
        no_recording: calls that have none, and are too old for one to appear.
        not_ready: calls that go on, or have no recording yet: asked again on the next run.
        already_archived: recordings that were on disk before.
        failed: recordings that could not be had, each for a reason of its own.
        suspect: recordings that are kept although header and bytes disagree.
        beside_failed: transcripts that could not be had; the next run asks again.
        left: calls that were not settled because the run was stopped.
        would_fetch: dry run only: recordings that a run would ask for.
        bytes: bytes of recordings that arrived over the network, attempts that failed included.
        estimated_bytes: dry run only: bytes of ``would_fetch``, estimated from the lengths of the
            calls as 8 kHz 16-bit mono. The API does not tell sizes.
        unknown_sizes: dry run only: how many of ``would_fetch`` have no length to estimate from.
        seconds: how long the run took.
        complete: every page was seen and nothing is left: the next run may go on from here.
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
    already_archived: int = 0
    failed: int = 0
    suspect: int = 0
    beside_failed: int = 0
    left: int = 0
    would_fetch: int = 0
    bytes: int = 0
    estimated_bytes: int = 0
    unknown_sizes: int = 0
    seconds: float = 0.0
    complete: bool = False
    stopped_because: str | None = None
    stop_reason: str | None = None
    error: AgentPhoneError | None = None
    problems: list[str] = field(default_factory=list)
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

    def add_problem(self, line: str) -> None:
        """Keep a line, unless there are very many already."""
        if len(self.problems) < MOST_KEPT:
            self.problems.append(line)

    def counts(self) -> dict[str, int]:
        """The counts alone, by name."""
        names = (
            "listed",
            "selected",
            "archived",
            "no_recording",
            "not_ready",
            "already_archived",
            "failed",
            "suspect",
            "left",
            "bytes",
        )
        return {name: getattr(self, name) for name in names}


MOST_KEPT = 100
