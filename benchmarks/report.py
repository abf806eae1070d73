"""The markdown of a comparison: tables for people, from values. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.results import Cell, ColumnFacts, NetworkRun, Point, Results
from benchmarks.targets import OURS, judge


def markdown(results: Results) -> str:
    """The whole report."""
    sections = (
        _head(results),
        _seconds(results),
        _ratios(results, "wall time", lambda cell: cell.wall_seconds),
        _ratios(results, "CPU seconds", lambda cell: cell.cpu_seconds),
        _networks(results),
        _resources(results),
        _targets(results),
        _startup(results),
        _curve("Memory by count", "ids that answer 404", results.memory, memory=True),
        _curve(_sweep_title(results), "transfers", results.sweep, memory=False),
        _trouble(results),
        _method(results),
    )
    return "\n".join(line for section in sections for line in section)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A markdown table; the first column is text, the others are numbers."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""


def seconds_text(cell: Cell | None) -> str:
    """The median; WRONG or FAILED instead of a time for those that did not do the work."""
    if cell is None:
        return "-"
    return f"{cell.wall_seconds:.2f}" if cell.verdict == "ok" else cell.verdict.upper()


def _head(results: Results) -> Iterator[str]:
    yield "# Comparison"
    yield ""
    yield (
        f"Profile `{results.profile}`, {results.started_at}, nginx "
        f"{results.machine.get('nginx', 'unknown')} on loopback, revision "
        f"{results.machine.get('revision', 'unknown')}."
    )
    if results.profile == "quick":
        yield ""
        yield (
            "**A quick run: small corpora and few rounds. Start-up times weigh too much in it; "
            "its verdicts are hints, not results.**"
        )
    yield ""


def _seconds(results: Results) -> Iterator[str]:
    yield "## Seconds (medians)"
    yield ""
    head = ["", *(column_title(facts) for facts in results.columns)]
    yield from table(
        head,
        (
            [peer, *(seconds_text(results.cell(peer, facts.name)) for facts in results.columns)]
            for peer in results.peers()
        ),
    )


def column_title(facts: ColumnFacts) -> str:
    """What a column does, in a few words."""
    return f"{facts.name}: {facts.size}, {facts.transfers} transfers"


def _ratios(results: Results, what: str, figure: Callable[[Cell], float]) -> Iterator[str]:
    yield f"## `{OURS}` divided by each: {what} (less than 1: ours takes less)"
    yield ""
    yield from table(
        ["", *(facts.name for facts in results.columns)],
        (
            [peer, *(_ratio(results, peer, facts.name, figure) for facts in results.columns)]
            for peer in results.peers()
            if peer != OURS
        ),
    )


def _ratio(results: Results, peer: str, column: str, figure: Callable[[Cell], float]) -> str:
    ours, other = results.cell(OURS, column), results.cell(peer, column)
    if ours is None or other is None or ours.verdict != "ok" or other.verdict != "ok":
        return "-"
    return f"{figure(ours) / figure(other):.2f}"


def _networks(results: Results) -> Iterator[str]:
    names = list(dict.fromkeys(each.network for each in results.networks))
    if not names:
        return
    peers = list(dict.fromkeys(each.peer for each in results.networks))
    yield "## Over emulated networks: wall and CPU seconds (medians)"
    yield ""
    found = ((peer, [results.over_network(peer, name) for name in names]) for peer in peers)
    yield from table(["", *names], ([peer, *map(_network_cell, runs)] for peer, runs in found))


def _network_cell(run: NetworkRun | None) -> str:
    if run is None:
        return "-"
    if run.verdict != "ok":
        return run.verdict.upper()
    refused = f", {run.refused:.0%} refused" if run.refused else ""
    return f"{run.wall_seconds:.2f} s, CPU {run.cpu_seconds:.2f} s{refused}"


def _resources(results: Results) -> Iterator[str]:
    yield "## CPU seconds and peak resident memory (medians)"
    yield ""
    yield from table(
        ["", *(facts.name for facts in results.columns)],
        (
            [peer, *(_resource(results.cell(peer, facts.name)) for facts in results.columns)]
            for peer in results.peers()
        ),
    )


def _resource(cell: Cell | None) -> str:
    if cell is None or cell.verdict != "ok":
        return seconds_text(cell)
    return f"{cell.cpu_seconds:.2f} s, {cell.peak_rss_bytes / 1e6:.0f} MB"


def _targets(results: Results) -> Iterator[str]:
    yield "## Targets"
    yield ""
    rows = ([each.what, each.limit, each.measured, each.standing] for each in judge(results))
    yield from table(["", "target", "measured", "standing"], rows)


def _startup(results: Results) -> Iterator[str]:
    if not results.startup_seconds:
        return
    yield "## Start-up"
    yield ""
    yield from table(
        ["", "median, ms", "runs"],
        (
            [f"`{what}`", f"{(results.startup_median(what) or 0) * 1000:.0f}", str(len(runs))]
            for what, runs in results.startup_seconds.items()
        ),
    )


def _sweep_title(results: Results) -> str:
    if results.sweep_column is None:
        return "Seconds by transfers"
    return f"Seconds by transfers ({results.sweep_column.name})"


def _curve(title: str, what: str, points: Sequence[Point], *, memory: bool) -> Iterator[str]:
    if not points:
        return
    yield f"## {title}"
    yield ""
    xs = sorted({point.x for point in points})
    peers = list(dict.fromkeys(point.peer for point in points))
    found = {(point.peer, point.x): point for point in points}
    yield from table(
        [what, *(f"{x:,}" for x in xs)],
        ([peer, *(_point(found.get((peer, x)), memory=memory) for x in xs)] for peer in peers),
    )


def _point(point: Point | None, *, memory: bool) -> str:
    if point is None:
        return "-"
    if point.verdict != "ok":
        return point.verdict.upper()
    return f"{point.peak_rss_bytes / 1e6:.0f} MB" if memory else f"{point.wall_seconds:.2f} s"


def _trouble(results: Results) -> Iterator[str]:
    cells = (
        (peer, facts.name, results.cell(peer, facts.name))
        for peer in results.peers()
        for facts in results.columns
    )
    networks = [
        f"- {run.peer}, {run.network}: **{run.verdict.upper()}**: {run.note}"
        for run in results.networks
        if run.verdict != "ok"
    ]
    bad = [
        f"- {peer}, {column}: **{cell.verdict.upper()}**: {cell.note}"
        for peer, column, cell in cells
        if cell is not None and cell.verdict != "ok"
    ]
    notes = [*bad, *networks, *(f"- left out: {name}" for name in results.missing)]
    notes += [f"- {remark}" for remark in results.remarks]
    if notes:
        yield "## Left out, wrong or failed"
        yield ""
        yield from notes
        yield ""


def _method(results: Results) -> Iterator[str]:
    yield "## Method"
    yield ""
    yield (
        "One nginx serves seeded PCM WAVE files on loopback; the destination is emptied before "
        "each run. The tools run in alternation, in another order each round, each as a process "
        "of its own from start to exit. Wall and CPU time come from `wait4`, memory from sampling "
        "the process tree. After the clock has stopped, the SHA-256 of every file is compared "
        "with the corpus: a tool that brought one wrong byte is shown as WRONG."
    )
    yield ""
    yield from table(["machine", ""], results.machine.items())
    yield from table(["tool", "version"], results.versions.items())
    if results.commands:
        yield "```sh"
        for name, command in results.commands.items():
            yield f"# {name}"
            yield command
        yield "```"
        yield ""
