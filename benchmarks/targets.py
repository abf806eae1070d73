"""The targets, in one table, and how each stands against what was measured. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.results import Cell, Point, Results

OURS = "agentphone-async"
BASELINE = "python -c 'import click'"
MEGABYTE = 1_000_000
FLAT = 1.10
"""Memory counts as flat when the most ids take at most this many times what the fewest take."""

Metric = Literal["time ratio", "memory ratio", "memory", "rate", "startup ratio", "memory growth"]
Standing = Literal["met", "missed", "not measured"]

LARGE = ("large http", "large tls")
SMALL = ("small http", "small tls")


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table. A rate must reach ``limit``; everything else must stay below it.

    ``limit`` is a ratio, megabytes (memory) or ids a second (rate); ``subjects`` are columns, or
    command lines for the start-up time.
    """

    metric: Metric
    subjects: tuple[str, ...]
    limit: float
    against: str = ""


TARGETS = (
    Target("time ratio", LARGE, 1.0, against="curl -Z + openssl dgst"),
    Target("time ratio", SMALL, 2.0, against="curl -Z + openssl dgst"),
    Target("time ratio", LARGE + SMALL, 1.0, against="rclone + hashsum"),
    Target("time ratio", LARGE + SMALL, 1.0, against="aria2c + openssl dgst"),
    Target("time ratio", LARGE, 0.25, against="official SDK"),
    Target("time ratio", SMALL, 0.10, against="official SDK"),
    Target("memory ratio", LARGE, 0.20, against="official SDK"),
    Target("memory", LARGE + SMALL, 120.0),
    Target("memory growth", ("1,000 to 1,000,000 ids",), FLAT),
    Target("rate", ("404 http",), 5_000.0),
    Target("startup ratio", (f"{OURS} --version", f"{OURS} --help"), 1.5, against=BASELINE),
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One target on one subject: what was measured (None when it was not), and the verdict."""

    what: str
    limit: str
    measured: str
    standing: Standing


def judge(results: Results) -> Iterator[Judgement]:
    """Every target against every one of its subjects, in the order of the table."""
    for target in TARGETS:
        for subject in target.subjects:
            value = _measure(results, target, subject)
            sign = "≥" if target.metric == "rate" else "≤"
            yield Judgement(
                what=_describe(target, subject),
                limit=f"{sign} {_number(target, target.limit)}",
                measured="-" if value is None else _number(target, value),
                standing=_standing(target, value),
            )


def _standing(target: Target, value: float | None) -> Standing:
    if value is None:
        return "not measured"
    met = value >= target.limit if target.metric == "rate" else value <= target.limit
    return "met" if met else "missed"


def _measure(results: Results, target: Target, subject: str) -> float | None:
    match target.metric:
        case "startup ratio":
            measured = results.startup_median(subject)
            base = results.startup_median(target.against)
            return measured / base if measured and base else None
        case "memory growth":
            return _growth(results.memory)
        case _:
            ours = _good_cell(results, OURS, subject)
            return None if ours is None else _measure_cell(results, target, subject, ours)


def _measure_cell(results: Results, target: Target, subject: str, ours: Cell) -> float | None:
    if target.metric == "memory":
        return ours.peak_rss_bytes / MEGABYTE
    if target.metric == "rate":
        facts = results.facts(subject)
        return facts.ids / ours.wall_seconds if facts else None
    other = _good_cell(results, target.against, subject)
    if other is None:
        return None
    if target.metric == "memory ratio":
        return ours.peak_rss_bytes / other.peak_rss_bytes
    return ours.wall_seconds / other.wall_seconds


def _good_cell(results: Results, peer: str, column: str) -> Cell | None:
    """A cell to compare with; None for one that is not there, wrong or failed."""
    cell = results.cell(peer, column)
    return cell if cell is not None and cell.verdict == "ok" else None


def _growth(points: tuple[Point, ...]) -> float | None:
    ours = sorted((p for p in points if p.peer == OURS and p.verdict == "ok"), key=lambda p: p.x)
    if not ours or ours[0].x != 1_000 or ours[-1].x != 1_000_000:
        return None
    return ours[-1].peak_rss_bytes / ours[0].peak_rss_bytes


def _describe(target: Target, subject: str) -> str:
    if target.metric in {"time ratio", "memory ratio"}:
        return f"{target.metric.split()[0]} against {target.against}, {subject}"
    if target.metric == "startup ratio":
        return f"`{subject}` against `{target.against}`"
    return {
        "memory": f"peak RSS, {subject}",
        "memory growth": f"peak RSS at the last over the first, {subject}",
        "rate": f"ids a second, {subject}",
    }[target.metric]


def _number(target: Target, value: float) -> str:
    if target.metric == "memory":
        return f"{value:.0f} MB"
    return f"{value:,.0f}/s" if target.metric == "rate" else f"{value:.2f}"
