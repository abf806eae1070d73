"""``python -m benchmarks.latency``: fixed numbers of transfers against ``--transfers auto``.

On loopback every number of transfers is as good as another; here the emulator plays networks on
which the right number matters, and each run is a process of our command line.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentphone_async import own_loop
from benchmarks import machine
from benchmarks.check import complaint
from benchmarks.compare import RESULTS, say, writable
from benchmarks.corpus import Entry, cache_folder
from benchmarks.measure import run
from benchmarks.networks import Network, networks_named
from benchmarks.peers.interface import Work
from benchmarks.peers.ours import Ours
from benchmarks.plots import MatplotlibMissingError, write_networks
from benchmarks.report import table
from benchmarks.results import NetworkRun
from benchmarks.rounds import failure
from benchmarks.stopping import BenchError, exit_code

if TYPE_CHECKING:
    from agentphone_async.emulator import Emulator

MOST_CALLS = 100_000
AUTO = "auto"
TIMEOUT_SECONDS = 300.0
NEAR_BEST = 0.95


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a run is meant to take, and which fixed numbers are tried."""

    transfers: tuple[int, ...]
    fixed_seconds: float
    auto_seconds: float


STANDARD = Plan((1, 2, 4, 8, 16, 32, 64, 128), fixed_seconds=8.0, auto_seconds=60.0)
QUICK = Plan((4, 16, 64), fixed_seconds=1.0, auto_seconds=4.0)
QUICK_NETWORKS = "latency,connection-cap,rate-limit"


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


@asynccontextmanager
async def emulated(network: Network, calls: int) -> AsyncIterator[Emulator]:
    """An emulator with ``calls`` calls that behaves like ``network``, on a port of loopback."""
    from agentphone_async.emulator import Emulator  # noqa: PLC0415 - options are checked first

    emulator = Emulator(
        calls=calls,
        seconds=network.audio_seconds,
        spread=0.0,
        latency=network.latency,
        bandwidth=network.bandwidth,
        total_bandwidth=network.total_bandwidth,
        rate_limit=network.rate_limit,
        capacity=network.capacity,
        overload=network.overload,
        keep_requests=10 * calls,
    )
    async with emulator:
        yield emulator


async def sweep(network: Network, plan: Plan, home: Path) -> list[NetworkRun]:
    """Every fixed number of the plan; then the best of them, and auto, over one longer list."""
    found = []
    for transfers in plan.transfers:
        count = network.count(transfers, plan.fixed_seconds)
        found.append(await one_run(network, str(transfers), count, home))
    best = best_fixed(found)
    if best is None or Ours(transfers=AUTO).version() is None:
        return found
    # Starting a process weighs less in a long run, so only runs of one length are compared.
    count = min(MOST_CALLS, round(best.recordings_per_second * plan.auto_seconds))
    found[found.index(best)] = await one_run(network, best.transfers, count, home)
    return [*found, await one_run(network, AUTO, count, home)]


async def one_run(network: Network, transfers: str, count: int, home: Path) -> NetworkRun:
    """Fetch ``count`` recordings as a process; then check each byte and read the server's log."""
    shutil.rmtree(home, ignore_errors=True)
    scratch, out = home / "scratch", home / "out"
    scratch.mkdir(parents=True)
    out.mkdir()
    async with emulated(network, count + count // 2 + 50) as emulator:  # not all have recordings
        ids = [call.id for call in emulator.calls if call.recorded][:count]
        work = Work(emulator.base_url, scratch / "ids.txt", out, scratch, 1, scratch / "none.pem")
        work.write_list("ids.txt", (f"{call_id}\n" for call_id in ids))
        command = Ours(transfers=transfers).command(work)
        measured = await asyncio.to_thread(run, command, scratch, timeout_seconds=TIMEOUT_SECONDS)
        entries = [_entry(call_id, emulator.expected_audio(call_id)) for call_id in ids]
        statuses = [request.status for request in emulator.requests]
        peak = emulator.requests.peak_in_flight
    wrong = complaint(out, entries)
    failed = measured.exit_code != 0
    result = NetworkRun(
        network=network.name,
        transfers=transfers,
        recordings=len(ids),
        total_bytes=sum(entry.size for entry in entries),
        wall_seconds=measured.wall_seconds,
        cpu_seconds=measured.cpu_seconds,
        peak_rss_bytes=measured.peak_rss_bytes,
        peak_in_flight=peak,
        requests=len(statuses),
        refused=_refused(statuses),
        refused_late=_refused(statuses[len(statuses) // 2 :]),
        verdict="failed" if failed else "wrong" if wrong else "ok",
        note=failure(measured, wrong) if failed else wrong,
    )
    say(
        f"{network.name:<15} {transfers:>5} transfers  {result.megabytes_per_second:8.2f} MB/s  "
        f"{result.refused:6.1%} refused  {result.verdict} {result.note}".rstrip()
    )
    return result


def _entry(call_id: str, content: bytes) -> Entry:
    return Entry(call_id, len(content), hashlib.sha256(content).hexdigest())


def _refused(statuses: Sequence[int | None]) -> float:
    """The share that was answered 429 or 503."""
    return sum(status in {429, 503} for status in statuses) / max(len(statuses), 1)


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
            runs[network.name] = own_loop.run(sweep(network, plan, home / "run"))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    about = machine.describe(cache) | {"agentphone-async": version}
    text = "\n".join(line for network in networks for line in lines(network, runs[network.name]))
    print(text)
    found = {name: [dataclasses.asdict(each) for each in each_of] for name, each_of in runs.items()}
    (folder / "latency.md").write_text(f"# Latency-bound networks\n\n{text}", encoding="utf-8")
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
