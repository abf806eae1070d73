"""``python -m benchmarks.throughput``: our library against one server and one list of ids."""

from __future__ import annotations

import argparse
import collections
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentphone_async.cli.event_loop import run
from benchmarks.corpus import cache_folder
from benchmarks.stopping import BenchError, exit_code


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one run came to. ``outcomes`` counts the outcome types; ``peak_rss_bytes`` is that of
    the whole process, interpreter included."""

    outcomes: dict[str, int]
    total_bytes: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int

    def lines(self) -> Iterator[str]:
        """For people: one figure a line."""
        count = sum(self.outcomes.values())
        yield ", ".join(f"{number:,} {name}" for name, number in sorted(self.outcomes.items()))
        yield f"wall      {self.wall_seconds:10.2f} s"
        yield f"ids       {count / self.wall_seconds:10,.0f} /s"
        yield f"bytes     {self.total_bytes / 1e6 / self.wall_seconds:10,.1f} MB/s"
        yield f"CPU       {self.cpu_seconds:10.2f} s"
        yield f"peak RSS  {self.peak_rss_bytes / 1e6:10.1f} MB"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description="Fetch a list of recordings and print files/s, MB/s, CPU and peak memory.",
    )
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--from-file", type=Path, required=True, help="call ids, one a line")
    parser.add_argument("--transfers", type=int, default=16, help="at once (default 16)")
    parser.add_argument("--dest", type=Path, help="keep the files here (default: thrown away)")
    return parser.parse_args(argv)


def read_ids(path: Path) -> Iterator[str]:
    """The ids of the file, one after another. Raises BenchError when it cannot be read."""
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if call_id := line.strip():
                    yield call_id
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"cannot read ids from {path}: {error}") from error


async def download(base_url: str, ids: Iterator[str], dest: Path, transfers: int) -> Throughput:
    """Fetch them all with the library and count what happened."""
    from agentphone_async import AsyncAgentPhone  # noqa: PLC0415 - its import is not what is measured

    outcomes: collections.Counter[str] = collections.Counter()
    total_bytes = 0
    started = time.perf_counter()
    async with AsyncAgentPhone(base_url=base_url) as client:
        async for outcome in client.download_recordings(ids, dest, concurrency=transfers):
            outcomes[type(outcome).__name__] += 1
            recording = getattr(outcome, "recording", None)
            total_bytes += recording.size if recording is not None else 0
    wall = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere
    return Throughput(
        outcomes=dict(outcomes),
        total_bytes=total_bytes,
        wall_seconds=wall,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=usage.ru_maxrss * unit,
    )


def main() -> int:
    """Measure, print, and tell by the exit code whether something failed."""
    options = arguments()
    if options.transfers < 1:
        raise BenchError(f"--transfers {options.transfers}: at least one is needed")
    if not any(read_ids(options.from_file)):
        raise BenchError(f"no ids in {options.from_file}")
    kept: Path | None = options.dest
    dest = kept or Path(tempfile.mkdtemp(prefix="throughput-", dir=cache_folder()))
    ids = read_ids(options.from_file)
    try:
        measured = run(download(options.base_url, ids, dest, options.transfers))
    finally:
        if kept is None:
            shutil.rmtree(dest, ignore_errors=True)
    print("\n".join(measured.lines()))
    return 1 if measured.outcomes.get("Failed") else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
