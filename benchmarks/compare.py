"""``python -m benchmarks.compare``: every tool that is installed, and ours, on the same bytes."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import datetime as dt
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import machine, profiles
from benchmarks.corpus import Corpus, build, cache_folder, require_space
from benchmarks.networks import PEER_NETWORKS
from benchmarks.peers import RECORD, REGISTRY, Peer
from benchmarks.peers.ours import Ours
from benchmarks.plots import MatplotlibMissingError, write_plots
from benchmarks.profiles import COLUMNS, Column, Profile
from benchmarks.report import markdown
from benchmarks.results import NetworkRun, Results, Sample
from benchmarks.rounds import Bench, alternate, memory_curve, transfers_sweep
from benchmarks.server import serve
from benchmarks.startup import measure_startup
from benchmarks.stopping import BenchError, exit_code
from benchmarks.targets import OURS

RESULTS = Path(__file__).resolve().parent / "results"
CURVE_PEERS = (OURS, "curl -Z", "official SDK", "naive aiohttp")
SWEEP_PEERS = (OURS, "curl -Z", "aria2c")
SWEEP_COLUMN = "small http"
ABSENT_COLUMN = "404 http"
AUTO = "auto"
NETWORK_TRANSFERS = 64


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description="Measure every installed tool, and ours, on the same recordings.",
    )
    parser.add_argument("--profile", default="standard", help="quick, standard (default) or full")
    parser.add_argument("--quick", action="store_true", help="the same as --profile quick: < 60 s")
    parser.add_argument(
        "--full", action="store_true", help="the same as --profile full: a million ids too"
    )
    parser.add_argument("--rounds", type=int, help="how often each tool runs in each column")
    parser.add_argument("--peers", help="only these, comma-separated (ours always takes part)")
    parser.add_argument("--columns", help="only these, comma-separated: large-http,small-tls,…")
    parser.add_argument("--only-columns", action="store_true", help="no start-up, no curves")
    parser.add_argument("--seed", type=int, default=1, help="of the corpora and of the order")
    parser.add_argument("--workers", type=int, default=2, help="nginx worker processes")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one run")
    parser.add_argument("--cache", type=Path, help="folder for corpora (default: in memory)")
    parser.add_argument("--clean", action="store_true", help="remove the corpora afterwards")
    parser.add_argument(
        "--out", type=Path, help="results folder (benchmarks/results; quick: its quick/)"
    )
    return parser.parse_args(argv)


def chosen_profile(options: argparse.Namespace) -> Profile:
    """The profile that the options ask for. Raises BenchError for an unknown one."""
    if options.quick and options.full:
        raise BenchError("--quick and --full exclude each other")
    shortcut = "quick" if options.quick else "full" if options.full else options.profile
    profile = profiles.profile_named(shortcut)
    if options.rounds is None:
        return profile
    if options.rounds < 1:
        raise BenchError(f"--rounds {options.rounds}: at least one round is needed")
    return dataclasses.replace(profile, rounds=options.rounds)


def chosen_peers(names: str | None) -> tuple[Peer, ...]:
    """Ours and the named ones, in the registry's order. Raises BenchError for an unknown name."""
    if names is None:
        return REGISTRY
    wanted = {name.strip() for name in names.split(",")}
    known = {peer.name for peer in REGISTRY}
    for name in sorted(wanted - known):
        raise BenchError(f"unknown peer {name!r}; there are: {', '.join(sorted(known))}")
    return tuple(peer for peer in REGISTRY if peer.name in wanted | {OURS})


def writable(folder: Path) -> Path:
    """The folder for results, made and proved writable before anything is measured."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise BenchError(f"cannot write results to {folder}: {error.strerror}") from error


def say(line: str) -> None:
    """Progress goes to stderr; stdout is for the report."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Measure, write JSON, markdown and plots, print the markdown; 1 when our bytes were wrong."""
    options = arguments()
    profile = chosen_profile(options)
    columns = profiles.columns_named(options.columns)
    peers = chosen_peers(options.peers)
    folder = writable(options.out or (RESULTS / "quick" if profile.name == "quick" else RESULTS))
    cache = cache_folder(options.cache)
    home = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    try:
        results = _measure(options, profile, columns, peers, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        if options.clean:
            shutil.rmtree(cache, ignore_errors=True)
    _write(results, folder)
    ours = [sample for sample in results.samples if sample.peer == OURS]
    return 0 if all(sample.verdict == "ok" for sample in ours) else 1


def _measure(
    options: argparse.Namespace,
    profile: Profile,
    columns: Sequence[Column],
    peers: Sequence[Peer],
    home: Path,
) -> Results:
    started = time.monotonic()
    deadline = started + profile.deadline_seconds if profile.deadline_seconds else None
    cache = home.parent
    about = machine.describe(cache)
    versions = {peer.name: peer.version() for peer in peers}
    present = [peer for peer in peers if versions[peer.name] is not None]
    missing = tuple(
        f"{name} (not installed, or too old)" for name, found in versions.items() if not found
    )
    for name in missing:
        say(f"left out: {name}")
    corpora = _corpora(profile, options.seed, cache)
    with serve(tuple(corpora.values()), home / "nginx", workers=options.workers) as server:
        bench = Bench(server, corpora, profile, home / "run", options.timeout, say)
        samples = tuple(
            alternate(
                bench,
                present,
                columns,
                seed=options.seed,
                deadline=deadline,
            )
        )
        results = Results(
            profile=profile.name,
            started_at=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            machine=about | {"nginx": f"{server.version}, {options.workers} workers"},
            versions={name: found for name, found in versions.items() if found},
            missing=missing,
            columns=tuple(bench.facts(column) for column in columns),
            samples=samples,
            commands={peer.name: bench.command_line(peer, columns[0]) for peer in present},
            remarks=_remarks(samples, profile),
        )
        return results if options.only_columns else _curves(bench, profile, present, results, home)


def _corpora(profile: Profile, seed: int, cache: Path) -> dict[str, Corpus]:
    specs = profile.corpora(seed)
    # The corpora, and the largest of them once more as somebody's output.
    sizes = [spec.count * spec.size for spec in specs]
    missing = [s.count * s.size for s in specs if not (cache / s.folder_name).exists()]
    require_space(cache, round(1.15 * (sum(missing) + max(sizes))))
    say(f"corpora: {', '.join(f'{spec.count:,} of {spec.size / 1000:,.0f} kB' for spec in specs)}")
    return {spec.name: build(spec, cache) for spec in specs}


def _remarks(samples: Sequence[Sample], profile: Profile) -> tuple[str, ...]:
    rounds = max((sample.round for sample in samples), default=0)
    slow = {peer.name for peer in REGISTRY if peer.slow} & {sample.peer for sample in samples}
    remarks = [f"one round only: {', '.join(sorted(slow))}"] if slow and rounds > 1 else []
    if rounds < profile.rounds:
        remarks.append(f"{rounds} of {profile.rounds} rounds: the time was up")
    return tuple(remarks)


def _curves(
    bench: Bench, profile: Profile, present: Sequence[Peer], results: Results, home: Path
) -> Results:
    by_name = {column.name: column for column in COLUMNS}
    sweep_column = by_name[SWEEP_COLUMN]
    curve_peers = [peer for peer in present if peer.name in CURVE_PEERS]
    sweep_peers = [peer for peer in present if peer.name in SWEEP_PEERS]
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LANG": "C.UTF-8"}
    return dataclasses.replace(
        results,
        startup_seconds=measure_startup(profile.startup_runs, home / "startup", env),
        memory=tuple(
            memory_curve(bench, curve_peers, by_name[ABSENT_COLUMN], profile.memory_counts)
        ),
        sweep=tuple(transfers_sweep(bench, sweep_peers, sweep_column, profile.sweep_transfers)),
        sweep_column=bench.facts(sweep_column),
        networks=tuple(_over_networks(profile, present, home / "network")),
    )


def _over_networks(profile: Profile, present: Sequence[Peer], home: Path) -> Iterator[NetworkRun]:
    """Ours as it decides by itself, and the peers of record with as many as most users give."""
    from benchmarks.emulated import one_run, progress_line  # noqa: PLC0415 - needs our package

    taking_part = {peer.name: peer for peer in (Ours(transfers=AUTO), *RECORD)}
    peers = [peer for peer in present if peer.name in taking_part]
    for _ in range(profile.network_rounds):
        for network in PEER_NETWORKS:
            count = network.count(NETWORK_TRANSFERS, profile.network_seconds)
            for peer in peers:
                transfers = AUTO if isinstance(peer, Ours) else str(NETWORK_TRANSFERS)
                found = asyncio.run(one_run(peer, network, transfers, count, home))
                say(progress_line(found))
                yield found


def _write(results: Results, folder: Path) -> None:
    text = markdown(results)
    try:
        (folder / "compare.json").write_text(
            json.dumps(dataclasses.asdict(results), indent=1, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )
        (folder / "compare.md").write_text(text, encoding="utf-8")
        write_plots(results, folder)
    except MatplotlibMissingError:
        say("no plots: matplotlib is missing (pip install '.[bench]')")
    except OSError as error:
        raise BenchError(f"cannot write results to {folder}: {error.strerror}") from error
    print(text)
    say(f"written to {folder}")


if __name__ == "__main__":
    sys.exit(exit_code(main))
