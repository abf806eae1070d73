"""A sweep as a picture, by matplotlib (the ``bench`` extra): goodput and times by transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agentphone_async.bench.figures import Step, knee
from agentphone_async.errors import ConfigurationError

FIXED, AUTO, KNEE = "#31688e", "#c8501e", "#4d9a6a"
STYLES = {50: "-", 95: "--", 99: ":"}


def require_matplotlib() -> None:
    """Find out whether plots can be drawn, without loading what they need into memory.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ConfigurationError(
            "a plot needs matplotlib; install it with: pip install 'agentphone-async[bench]'"
        )


def draw(steps: Sequence[Step], title: str, path: Path) -> None:
    """Write a PNG: on the left MB/s by transfers, on the right the times to first and last byte.

    Raises:
        ConfigurationError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    require_matplotlib()
    import_module("matplotlib").use("Agg")
    plt = import_module("matplotlib.pyplot")
    fixed = sorted(
        (step for step in steps if step.transfers != "auto"), key=lambda step: int(step.transfers)
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
    try:
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        _goodput(left, fixed, [step for step in steps if step.transfers == "auto"], knee(steps))
        _times(right, fixed)
        numbers = [int(step.transfers) for step in fixed]
        _finish(left, numbers)
        _finish(right, numbers, loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.savefig(path, dpi=130, format="png")
    finally:
        plt.close(figure)


def _goodput(axis: Any, fixed: Sequence[Step], autos: Sequence[Step], found: Step | None) -> None:
    rates = [step.bytes_per_second / 1e6 for step in fixed]
    axis.plot([step.transfers for step in fixed], rates, marker="o", color=FIXED, label="fixed")
    for step in autos:
        axis.axhline(
            step.bytes_per_second / 1e6, color=AUTO, linestyle="--", linewidth=1.6, label=step.label
        )
    if found is not None:
        label = f"knee: {found.transfers}"
        axis.axvline(found.transfers, color=KNEE, linestyle=":", linewidth=1.6, label=label)
    axis.set_ylabel("goodput, MB/s")
    axis.set_title("Throughput", loc="left", fontweight="bold")


def _times(axis: Any, fixed: Sequence[Step]) -> None:
    timed = [step for step in fixed if step.total]
    for what, colour in (("first byte", FIXED), ("last byte", AUTO)):
        for percent, style in STYLES.items():
            axis.plot(
                [step.transfers for step in timed],
                [_of(step, what)[percent] * 1000 for step in timed],
                marker="o",
                markersize=3,
                linestyle=style,
                color=colour,
                label=f"{what}, p{percent}",
            )
    axis.set_ylabel("milliseconds from sending the request")
    axis.set_title("Latency", loc="left", fontweight="bold")


def _of(step: Step, what: str) -> Mapping[int, float]:
    return step.first_byte if what == "first byte" else step.total


def _finish(axis: Any, transfers: Sequence[int], **legend: Any) -> None:
    if transfers:
        axis.set_xscale("log", base=2)
        axis.set_xticks(transfers, [str(number) for number in transfers])
        axis.minorticks_off()
    axis.set_xlabel("transfers at once")
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(visible=True, color="#dddddd", linewidth=0.6)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8, **legend)
