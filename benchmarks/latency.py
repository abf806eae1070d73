"""``python -m benchmarks.latency``: fixed numbers of transfers against ``--transfers auto``.

On loopback every number of transfers is as good as another; here the emulator plays networks on
which the right number matters, and each run is a process of our command line.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentphone_async.cli import event_loop
from benchmarks import machine
from benchmarks.compare import RESULTS, say, writable
from benchmarks.corpus import cache_folder
from benchmarks.emulated import one_run, progress_line
from benchmarks.networks import Network, networks_named
from benchmarks.peers.ours import Ours
from benchmarks.plots import MatplotlibMissingError, write_networks
from benchmarks.report import table
from benchmarks.results import NetworkRun
from benchmarks.stopping import BenchError, exit_code

MOST_CALLS = 100_000
AUTO = "auto"
NEAR_BEST = 0.95


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a run is meant to take, and which fixed numbers are tried."""

    transfers: tuple[int, ...]
    fixed_seconds: float
    auto_seconds: float


STANDARD = Plan((4, 16, 64, 128, 256), fixed_seconds=8.0, auto_seconds=60.0)
QUICK = Plan((4, 16, 64), fixed_seconds=1.0, auto_seconds=4.0)
QUICK_NETWORKS = "latency-80,connection-cap,rate-limit"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency",
        description="Sweep fixed transfers, and auto, over networks that the emulator plays.",
    )
    parser.add_argument("--profile", help="only these networks, comma-separated")
    parser.add_argument("--quick", action="store_true", help="three networks, short runs: < 60 s")
    parser.add_argument("--out", type=Path, help="results folder (default benchmarks/results)")
    return parser.parse_args(argv)


async def sweep(network: Network, plan: Plan, home: Path) -> list[NetworkRun]:
    """Every fixed number of the plan; then the best of them, and auto, over one longer list."""
    found = []
    for transfers in plan.transfers:
        count = network.count(transfers, plan.fixed_seconds)
        found.append(await our_run(network, str(transfers), count, home))
    best = best_fixed(found)
    if best is None or Ours(transfers=AUTO).version() is None:
        return found
    # Starting a process weighs less in a long run, so only runs of one length are compared.
    count = min(MOST_CALLS, round(best.recordings_per_second * plan.auto_seconds))
    found[found.index(best)] = await our_run(network, best.transfers, count, home)
    return [*found, await our_run(network, AUTO, count, home)]


async def our_run(network: Network, transfers: str, count: int, home: Path) -> NetworkRun:
    """One run of our command line with a fixed number of transfers, or "auto"."""
    found = await one_run(Ours(transfers=transfers), network, transfers, count, home)
    say(progress_line(found))
    return found


def best_fixed(runs: Sequence[NetworkRun]) -> NetworkRun | None:
    """The run of a fixed number with the highest goodput, among those that did their work."""
    good = [each for each in runs if each.transfers != AUTO and each.verdict == "ok"]
    return max(good, key=lambda each: each.megabytes_per_second, default=None)


def lines(network: Network, runs: Sequence[NetworkRun]) -> Iterator[str]:
    """The markdown of one network, and how near auto came to the best fixed number."""
    yield f"## {network.name}: {network.what}"
    yield ""
    head = ["transfers", "MB/s", "recordings/s", "peak at once", "refused", "in the second half"]
    yield from table([*head, "CPU s", "RSS MB"], (_row(each) for each in runs))
    best = best_fixed(runs)
    auto = next((each for each in runs if each.transfers == AUTO), None)
    if best is None or auto is None or auto.verdict != "ok":
        yield "`--transfers auto`: not measured."
    else:
        share = auto.megabytes_per_second / best.megabytes_per_second
        standing = "met" if share >= NEAR_BEST else "missed"
        yield (
            f"`--transfers auto`, start included: {share:.0%} of the best fixed number "
            f"({best.transfers}); the target of {NEAR_BEST:.0%} is {standing}."
        )
    yield ""


def _row(each: NetworkRun) -> list[str]:
    if each.verdict != "ok":
        return [each.transfers, each.verdict.upper(), *["-"] * 6]
    return [
        each.transfers,
        f"{each.megabytes_per_second:.2f}",
        f"{each.recordings_per_second:.1f}",
        str(each.peak_in_flight),
        f"{each.refused:.1%}",
        f"{each.refused_late:.1%}",
        f"{each.cpu_seconds:.1f}",
        f"{each.peak_rss_bytes / 1e6:.0f}",
    ]


def main() -> int:
    """Measure, write ``latency.json``, ``latency.md`` and ``latency.png``, print the markdown."""
    options = arguments()
    networks = networks_named(options.profile or (QUICK_NETWORKS if options.quick else None))
    folder = writable(options.out or (RESULTS / "quick" if options.quick else RESULTS))
    version = Ours().version()
    if version is None:
        raise BenchError("agentphone-async is not installed beside this Python: pip install .")
    cache = cache_folder()
    home = Path(tempfile.mkdtemp(prefix="latency-", dir=cache))
    plan = QUICK if options.quick else STANDARD
    runs: dict[str, list[NetworkRun]] = {}
    try:
        for network in networks:
            runs[network.name] = event_loop.run(sweep(network, plan, home / "run"))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    about = machine.describe(cache) | {"agentphone-async": version}
    text = "\n".join(line for network in networks for line in lines(network, runs[network.name]))
    print(text)
    found = {name: [dataclasses.asdict(each) for each in each_of] for name, each_of in runs.items()}
    head = f"# Latency-bound networks\n\nRevision {about.get('revision', 'unknown')}.\n\n"
    if options.quick:
        head += "**A quick run: its shares are hints, not results.**\n\n"
    (folder / "latency.md").write_text(head + text, encoding="utf-8")
    (folder / "latency.json").write_text(
        json.dumps({"machine": about, "networks": found}, indent=1) + "\n", encoding="utf-8"
    )
    try:
        write_networks(runs, folder / "latency.png")
    except MatplotlibMissingError:
        say("no plots: matplotlib is missing (pip install '.[bench]')")
    everything = [each for each_of in runs.values() for each in each_of]
    return 0 if all(each.verdict == "ok" for each in everything) else 1


if __name__ == "__main__":
    sys.exit(exit_code(main))
