"""What a night costs, by the number of calls in the account: requests, CPU seconds, memory."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.long_list import NIGHT
from benchmarks.machine import REPOSITORY
from benchmarks.measure import Command, run, served
from benchmarks.plots import MatplotlibMissingError, write_nights
from benchmarks.report import table

ACCOUNTS = (1_000, 10_000, 100_000, 1_000_000)
PAGE = 100
SPARE_PAGES = 5
"""A night may ask for this many pages more than its calls fill."""

TIMEOUT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Night:
    """One run: the first of an account, which sees all calls, or the one after a night."""

    calls: int
    first: bool
    pages: int
    recordings: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int


def nights(calls: int, scratch: Path) -> Iterator[Night]:
    """The first run over ``calls`` calls, and the one of the next morning."""
    dest = scratch / "nightly"
    with served("-m", "benchmarks.long_list", str(calls)) as url:
        yield _night(calls, dest, url, scratch, "--since", "1970-01-01")
        with urllib.request.urlopen(f"{url}/night", b"") as answer:
            answer.read()
        yield _night(calls, dest, url, scratch, "--since", "last")
    shutil.rmtree(dest)


def _night(calls: int, dest: Path, url: str, scratch: Path, *since: str) -> Night:
    code = "from agentphone_async.cli.main import main; main()"
    argv = [sys.executable, "-c", code, "archive", str(dest), *since, "--quiet"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "AGENTPHONE_API_KEY": "sk_test_nightly",
        "AGENTPHONE_BASE_URL": url,
    }
    done = run(Command(argv, env=environment), scratch, timeout_seconds=TIMEOUT_SECONDS)
    if done.exit_code != 0:
        raise SystemExit(f"archive {' '.join(since)} failed: {done.stderr_tail}")
    with urllib.request.urlopen(f"{url}/requests") as answer:
        asked = json.load(answer)
    return Night(
        calls=calls,
        first="last" not in since,
        pages=asked.get("pages", 0),
        recordings=asked.get("recordings", 0),
        wall_seconds=done.wall_seconds,
        cpu_seconds=done.cpu_seconds,
        peak_rss_bytes=done.peak_rss_bytes,
    )


def cost_curves(accounts: Sequence[int], scratch: Path, out: Path) -> list[str]:
    """Measure, print a table, write ``nightly.json`` and ``nightly.png``; return the table."""
    found: list[Night] = []
    for calls in accounts:
        for night in nights(calls, scratch):
            found.append(night)
            print(f"  {'first run' if night.first else 'next night'} over {calls:,}", flush=True)
    allowed = -(-NIGHT // PAGE) + SPARE_PAGES
    worst = max(night.pages for night in found if not night.first)
    lines = [
        "",
        *table(_HEAD, map(_row, found)),
        f"A night asks for {worst} pages at most (promised: at most {allowed}).",
    ]
    print("\n".join(lines), flush=True)
    (out / "nightly.json").write_text(
        json.dumps([asdict(night) for night in found], indent=1) + "\n"
    )
    try:
        write_nights(found, out / "nightly.png")
    except MatplotlibMissingError:
        print("no plot: matplotlib is missing (pip install '.[bench]')", file=sys.stderr)
    return lines


_HEAD = ("calls in the account", "run", "pages", "recordings", "CPU s", "wall s", "RSS MB")


def _row(night: Night) -> list[str]:
    return [
        f"{night.calls:,}",
        "first" if night.first else "night",
        f"{night.pages:,}",
        f"{night.recordings:,}",
        f"{night.cpu_seconds:.2f}",
        f"{night.wall_seconds:.2f}",
        f"{night.peak_rss_bytes / 1e6:.0f}",
    ]
