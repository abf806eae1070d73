"""Pictures of a comparison, with matplotlib (the ``bench`` extra)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import Cell, ColumnFacts, NetworkRun, Point, Results
from benchmarks.targets import OURS

if TYPE_CHECKING:
    from benchmarks.nightly import Night

OURS_COLOUR = "#c8501e"
PEER_COLOUR = "#8aa0b4"
LINE_COLOURS = ("#31688e", "#4d9a6a", "#7b5ea7", "#555555")
MARKERS = ("s", "^", "D", "v")


class MatplotlibMissingError(Exception):
    """matplotlib is not installed, so there are no pictures."""


def write_plots(results: Results, folder: Path) -> list[Path]:
    """Write the PNG files that the results allow and return their paths.

    Raises MatplotlibMissingError; nothing is written then.
    """
    plt = _pyplot()
    written = []
    if results.columns and results.samples:
        written.append(_throughput(plt, results, folder / "throughput.png"))
    if results.memory:
        written.append(_memory(plt, results.memory, folder / "memory.png"))
    if results.sweep and results.sweep_column:
        goodput = folder / "goodput.png"
        written.append(_goodput(plt, results.sweep, results.sweep_column, goodput))
    return written


def _pyplot() -> Any:
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional, and heavy in a process that is measured against
    except ImportError as error:
        raise MatplotlibMissingError from error
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only after the backend is chosen

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    return plt


def rate(cell: Cell, facts: ColumnFacts) -> tuple[float, str]:
    """The throughput of a cell and its unit: bytes where bodies are large, else ids."""
    if facts.total_bytes / facts.ids > 1e6:
        return facts.total_bytes / 1e6 / cell.wall_seconds, "MB/s"
    return facts.ids / cell.wall_seconds, "ids/s" if not facts.total_bytes else "files/s"


def _throughput(plt: Any, results: Results, path: Path) -> Path:
    panels = [(facts, _cells(results, facts)) for facts in results.columns]
    rows = [panels[index : index + 2] for index in range(0, len(panels), 2)]
    tallest = [max(len(cells) for _, cells in row) for row in rows]
    figure, grid = plt.subplots(
        len(rows),
        2,
        figsize=(13, 0.4 + sum(0.9 + 0.27 * bars for bars in tallest)),
        squeeze=False,
        gridspec_kw={"height_ratios": tallest},
        layout="constrained",
    )
    for axes, row, bars in zip(grid, rows, tallest, strict=True):
        for axis, (facts, cells) in zip(axes, row, strict=False):
            _bars(axis, facts, cells, bars)
        for axis in axes[len(row) :]:
            axis.set_visible(False)
    what = "Throughput by tool: medians; whiskers from the slowest to the fastest round"
    figure.suptitle(what, x=0.01, ha="left", fontsize=12)
    return _save(plt, figure, path)


def _cells(results: Results, facts: ColumnFacts) -> list[tuple[str, Cell]]:
    cells = ((peer, results.cell(peer, facts.name)) for peer in results.peers())
    present = [(peer, cell) for peer, cell in cells if cell is not None]
    return sorted(present, key=lambda each: (each[1].verdict == "ok", -each[1].wall_seconds))


def _bars(axis: Any, facts: ColumnFacts, cells: Sequence[tuple[str, Cell]], slots: int) -> None:
    unit = ""
    good = [cell for _, cell in cells if cell.verdict == "ok"]
    top = max((rate(c, facts)[0] * c.wall_seconds / c.fastest_seconds for c in good), default=1.0)
    for row, (peer, cell) in enumerate(cells):
        if cell.verdict != "ok":
            axis.text(top * 0.01, row, cell.verdict.upper(), va="center", color="#b00020")
            continue
        value, unit = rate(cell, facts)
        low = value * cell.wall_seconds / cell.slowest_seconds
        high = value * cell.wall_seconds / cell.fastest_seconds
        colour = OURS_COLOUR if peer.startswith(OURS) else PEER_COLOUR
        spread = [[value - low], [high - value]]
        axis.barh(row, value, color=colour, xerr=spread, ecolor="#333333", capsize=2)
        axis.text(max(high, value) + top * 0.015, row, f"{value:,.0f}", va="center")
    axis.set_yticks(range(len(cells)), [peer for peer, _ in cells])
    for label, (peer, _) in zip(axis.get_yticklabels(), cells, strict=True):
        label.set_fontweight("bold" if peer.startswith(OURS) else "normal")
    axis.set_xlim(0, top * 1.18)
    axis.set_ylim(len(cells) - slots - 0.6, len(cells) - 0.4)  # bars as thick in every panel
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_xlabel(unit)
    axis.set_title(f"{facts.name}: {facts.size}", loc="left", fontweight="bold")


def _memory(plt: Any, points: Sequence[Point], path: Path) -> Path:
    figure, axis = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    axis.set_xscale("log")
    _lines(axis, points, lambda point: point.peak_rss_bytes / 1e6)
    axis.set_yscale("log")
    axis.set_yticks([10, 20, 50, 100, 200, 500, 1000, 2000])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.yaxis.minorticks_off()
    highest = max(point.peak_rss_bytes for point in points) / 1e6
    lowest = min(point.peak_rss_bytes for point in points) / 1e6
    axis.set_ylim(lowest * 0.7, highest * 1.6)
    axis.set_xlabel("ids in the list (all answer 404)")
    axis.set_ylabel("peak resident memory, MB")
    axis.set_title("Memory by count", loc="left", fontweight="bold")
    return _save(plt, figure, path)


def _goodput(plt: Any, points: Sequence[Point], facts: ColumnFacts, path: Path) -> Path:
    figure, axis = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    axis.set_xscale("log", base=2)
    _lines(axis, points, lambda point: facts.total_bytes / 1e6 / point.wall_seconds)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("transfers at once")
    axis.set_ylabel("goodput, MB/s")
    axis.set_title(f"Goodput by transfers ({facts.name})", loc="left", fontweight="bold")
    return _save(plt, figure, path)


def write_networks(runs: Mapping[str, Sequence[NetworkRun]], path: Path) -> Path:
    """Goodput by transfers, a panel for each network; auto is a line across.

    Raises MatplotlibMissingError; nothing is written then.
    """
    plt = _pyplot()
    rows = (len(runs) + 1) // 2
    size = (10, 3.1 * rows)
    figure, grid = plt.subplots(rows, 2, figsize=size, squeeze=False, layout="constrained")
    axes = list(grid.flat)
    for axis, (name, each_of) in zip(axes, runs.items(), strict=False):
        _network(axis, name, [each for each in each_of if each.verdict == "ok"])
    for axis in axes[len(runs) :]:
        axis.set_visible(False)
    return _save(plt, figure, path)


def _network(axis: Any, name: str, runs: Sequence[NetworkRun]) -> None:
    fixed = [each for each in runs if each.transfers.isdigit()]
    axis.plot(
        [int(each.transfers) for each in fixed],
        [each.megabytes_per_second for each in fixed],
        marker="o",
        color=PEER_COLOUR,
        label="fixed number",
    )
    for each in runs:
        if not each.transfers.isdigit():
            value = each.megabytes_per_second
            axis.axhline(value, color=OURS_COLOUR, linewidth=2, linestyle="--", label="auto")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("transfers at once")
    axis.set_ylabel("goodput, MB/s")
    axis.set_title(name, loc="left", fontweight="bold")
    axis.grid(visible=True, color="#dddddd", linewidth=0.6)
    axis.legend(frameon=False)


def write_nights(nights: Sequence[Night], path: Path) -> Path:
    """Pages, CPU seconds and memory of a first run and of a night, by calls in the account.

    Raises MatplotlibMissingError; nothing is written then.
    """
    plt = _pyplot()
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    figures: tuple[tuple[str, Callable[[Night], float]], ...] = (
        ("pages of the list", lambda night: night.pages),
        ("CPU seconds", lambda night: night.cpu_seconds),
        ("peak resident memory, MB", lambda night: night.peak_rss_bytes / 1e6),
    )
    for axis, (title, figure_of) in zip(axes, figures, strict=True):
        for first, colour, label in (
            (True, PEER_COLOUR, "first run"),
            (False, OURS_COLOUR, "night"),
        ):
            mine = [night for night in nights if night.first is first]
            values = [figure_of(night) for night in mine]
            axis.plot([n.calls for n in mine], values, marker="o", color=colour, label=label)
        axis.set_xscale("log")
        if title.startswith(("pages", "CPU")):
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.set_xlabel("calls in the account")
        axis.set_title(title, loc="left", fontweight="bold")
        axis.grid(visible=True, color="#dddddd", linewidth=0.6)
        axis.legend(frameon=False)
    return _save(plt, figure, path)


def _lines(axis: Any, points: Sequence[Point], value: Callable[[Point], float]) -> None:
    others = 0
    for peer in dict.fromkeys(point.peer for point in points):
        marker, colour = "o", OURS_COLOUR
        if not peer.startswith(OURS):
            marker, colour = MARKERS[others % 4], LINE_COLOURS[others % 4]
            others += 1
        mine = [point for point in points if point.peer == peer and point.verdict == "ok"]
        axis.plot(
            [point.x for point in mine],
            [value(point) for point in mine],
            marker=marker,
            color=colour,
            linewidth=2.2 if peer.startswith(OURS) else 1.4,
            label=peer,
        )
    axis.set_xticks(sorted({point.x for point in points}))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.xaxis.minorticks_off()
    axis.grid(visible=True, color="#dddddd", linewidth=0.6)
    axis.legend(frameon=False)


def _save(plt: Any, figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
