"""How a sweep looks to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial

from agentphone_async.bench.figures import PERCENTILES, Step, is_largest, knee
from agentphone_async.bench.programs import Timed
from agentphone_async.cli.tables import Column, Rows
from agentphone_async.protocol.display import printable


def show(steps: Sequence[Step]) -> None:
    """Print one row a step, the knee marked."""
    found = knee(steps)
    columns: list[Column[Step]] = [
        Column("transfers", lambda step: step.label, width=9, rank=20, right=True),
        Column("MB/s", lambda step: step.bytes_per_second / 1e6, "decimal", rank=19),
        Column("req/s", lambda step: step.requests_per_second, "decimal", rank=17),
        *(
            Column(f"{what} p{percent}", partial(_time, of, percent), "decimal", 9, 10 - place)
            for what, of in (("first", "first_byte"), ("last", "total"))
            for place, percent in enumerate(PERCENTILES)
        ),
        Column("CPU", lambda step: f"{step.cpu_share:.0%}", width=5, rank=2, right=True),
        Column("RSS MB", _memory, width=6, rank=1, right=True),
        Column("knee", lambda step: "<- knee" if step is found else " "),
    ]
    rows = Rows(columns, None, ids=lambda step: step.label, as_json=lambda step: step.label)
    rows.print(steps)


def show_programs(compared: Sequence[Timed]) -> None:
    """Print one row a program: what it took, and our share of that."""
    ours = compared[0]
    columns: list[Column[Timed]] = [
        Column("wall s", lambda each: f"{each.seconds:.2f}", width=8, rank=9, right=True),
        Column("CPU s", lambda each: f"{each.cpu:.2f}", width=8, rank=8, right=True),
        Column("files", lambda each: each.files, "number", rank=7),
        Column(
            "ours/wall", lambda each: _share(ours.seconds, each.seconds), "text", 9, 6, right=True
        ),
        Column("ours/CPU", lambda each: _share(ours.cpu, each.cpu), "text", 9, 5, right=True),
        Column(
            "program",
            lambda each: (
                each.program
                if each.exit_code == 0
                else f"{each.program} (failed, exit {each.exit_code})"
            ),
        ),
    ]
    Rows(columns, None, ids=lambda each: each.program, as_json=asdict).print(compared)


def _share(ours: float, other: float) -> str:
    return f"{ours / other:.2f}" if other else "-"


def _time(of: str, percent: int, step: Step) -> float | None:
    times: Mapping[int, float] = getattr(step, of)
    return times[percent] * 1000 if times else None


def _memory(step: Step) -> str | None:
    return None if step.peak_rss is None else f"{step.peak_rss / 1e6:.0f}"


LEGEND = (
    "first, last: milliseconds from sending a request to the first and the last byte of its answer."
)


def notes(steps: Sequence[Step]) -> list[str]:
    """What the table does not say, one line each."""
    lines = []
    for step in steps:
        odd = [
            f"{count:,} {what}"
            for count, what in (
                (step.failed, "failed"),
                (step.retried, "sent again"),
                (step.absent, "without a recording"),
            )
            if count
        ]
        if odd:
            why = f"; last failure: {printable(str(step.error), 300)}" if step.error else ""
            lines.append(f"{step.label} transfers: {', '.join(odd)}{why}")
    found = knee(steps)
    if found is None:
        lines.append("No fixed number of transfers brought anything, so there is no knee.")
    elif is_largest(found, steps) and len(steps) > 1:
        lines.append(
            f"The best was the largest number tried ({found.transfers}); try larger ones, too."
        )
    elif len(steps) > 1:
        lines.append(
            f"The knee is at {found.transfers} transfers: more of them gain less than 5 %."
        )
    return lines
