"""What was measured, as values, and the medians that follow from it. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["ok", "wrong", "failed"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one tool. ``note`` says what was wrong when the verdict is not "ok"."""

    peer: str
    column: str
    round: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve: ``x`` is a count of ids or of transfers."""

    peer: str
    x: int
    wall_seconds: float
    peak_rss_bytes: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class NetworkRun:
    """One run over an emulated network; ``transfers`` is a number or "auto".

    ``refused`` is the share of requests that were answered 429 or 503, ``refused_late`` that of
    the second half of them; ``peak_in_flight`` is how many the server saw at once.
    """

    peer: str
    network: str
    transfers: str
    recordings: int
    total_bytes: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    peak_in_flight: int
    requests: int
    refused: float
    refused_late: float
    verdict: Verdict
    note: str = ""

    @property
    def megabytes_per_second(self) -> float:
        return self.total_bytes / 1e6 / self.wall_seconds

    @property
    def recordings_per_second(self) -> float:
        return self.recordings / self.wall_seconds


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What one run of a column moves: how many ids, how many bytes, how many at once."""

    name: str
    ids: int
    total_bytes: int
    transfers: int

    @property
    def size(self) -> str:
        """A count and a mean size; only the count where there are no bodies."""
        if not self.total_bytes:
            return f"{self.ids:,}"
        return f"{self.ids:,} \N{MULTIPLICATION SIGN} {self.total_bytes / self.ids / 1000:,.0f} kB"


@dataclass(frozen=True, slots=True)
class Cell:
    """A tool in a column: medians over the rounds, and the worst verdict of them."""

    rounds: int
    wall_seconds: float
    fastest_seconds: float
    slowest_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    verdict: Verdict
    note: str


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a comparison found; the report, the plots and the JSON come from it."""

    profile: str
    started_at: str
    machine: dict[str, str]
    versions: dict[str, str]
    missing: tuple[str, ...]
    columns: tuple[ColumnFacts, ...]
    samples: tuple[Sample, ...]
    startup_seconds: dict[str, tuple[float, ...]] = field(default_factory=dict)
    memory: tuple[Point, ...] = ()
    sweep: tuple[Point, ...] = ()
    sweep_column: ColumnFacts | None = None
    networks: tuple[NetworkRun, ...] = ()
    commands: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def cell(self, peer: str, column: str) -> Cell | None:
        """The medians of ``peer`` in ``column``; None when it did not run there."""
        rows = [row for row in self.samples if (row.peer, row.column) == (peer, column)]
        return _cell(rows) if rows else None

    def over_network(self, peer: str, network: str) -> NetworkRun | None:
        """The run of median wall time of ``peer``; one that went wrong counts before all others."""
        runs = [each for each in self.networks if (each.peer, each.network) == (peer, network)]
        bad = [each for each in runs if each.verdict != "ok"]
        if bad or not runs:
            return bad[0] if bad else None
        return sorted(runs, key=lambda each: each.wall_seconds)[(len(runs) - 1) // 2]

    def peers(self) -> tuple[str, ...]:
        """The names of those that ran, in the order of the registry (that of ``versions``)."""
        return tuple(self.versions)

    def facts(self, column: str) -> ColumnFacts | None:
        return next((facts for facts in self.columns if facts.name == column), None)

    def startup_median(self, what: str) -> float | None:
        runs = self.startup_seconds.get(what)
        return statistics.median(runs) if runs else None


def _cell(rows: Sequence[Sample]) -> Cell:
    walls = [row.wall_seconds for row in rows]
    bad = sorted((row for row in rows if row.verdict != "ok"), key=lambda row: row.verdict)
    # "wrong" sorts last and is worse than "failed": a failure is at least honest about itself.
    worst = bad[-1] if bad else None
    return Cell(
        rounds=len(rows),
        wall_seconds=statistics.median(walls),
        fastest_seconds=min(walls),
        slowest_seconds=max(walls),
        cpu_seconds=statistics.median(row.cpu_seconds for row in rows),
        peak_rss_bytes=round(statistics.median(row.peak_rss_bytes for row in rows)),
        verdict=worst.verdict if worst else "ok",
        note=worst.note if worst else "",
    )
