"""How long ``--version`` and ``--help`` take, beside a Python that only imports click."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import Command, run
from benchmarks.peers.interface import program
from benchmarks.targets import BASELINE, OURS

TIMEOUT_SECONDS = 30.0


def measure_startup(
    runs: int, scratch: Path, env: Mapping[str, str]
) -> dict[str, tuple[float, ...]]:
    """Seconds of each run by what was run, in alternation; without us, only the baseline."""
    commands = {BASELINE: [sys.executable, "-c", "import click"]}
    ours = program(OURS)
    if ours is not None:
        commands[f"{OURS} --version"] = [ours, "--version"]
        commands[f"{OURS} --help"] = [ours, "--help"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    scratch.mkdir(parents=True, exist_ok=True)
    for number in range(runs + 1):
        for name, argv in commands.items():
            done = run(Command(argv, env=env), scratch, timeout_seconds=TIMEOUT_SECONDS)
            if number and done.exit_code == 0:  # the first run only warms the byte code
                seconds[name].append(done.wall_seconds)
    return {name: tuple(each) for name, each in seconds.items()}
