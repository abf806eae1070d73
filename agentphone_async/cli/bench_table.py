"""How a sweep looks to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from agentphone_async.bench.figures import PERCENTILES, Step, is_largest, knee
from agentphone_async.protocol.display import printable


def table(steps: Sequence[Step]) -> Table:
    """One row a step, the knee marked."""
    found = knee(steps)
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    times = [f"{what} p{percent}" for what in ("first", "last") for percent in PERCENTILES]
    for heading in ("transfers", "MB/s", "req/s", *times, "CPU", "RSS MB", ""):
        result.add_column(heading, justify="left" if heading == "" else "right")
    for step in steps:
        result.add_row(
            step.label,
            f"{step.bytes_per_second / 1e6:,.1f}",
            f"{step.requests_per_second:,.1f}",
            *_times(step.first_byte),
            *_times(step.total),
            f"{step.cpu_share:.0%}",
            "-" if step.peak_rss is None else f"{step.peak_rss / 1e6:.0f}",
            "<- knee" if step is found else "",
        )
    return result


def _times(times: Mapping[int, float]) -> list[str]:
    return [_milliseconds(times[percent]) if times else "-" for percent in PERCENTILES]


def _milliseconds(seconds: float) -> str:
    value = seconds * 1000
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


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
            f"The knee is at {found.transfers} transfers: more of them bring less than 5 % more."
        )
    return lines
