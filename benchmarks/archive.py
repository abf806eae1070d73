"""What an archive costs: the catalog, a run that finds nothing to do, `verify`, and memory.

    python -m benchmarks.archive                    # everything, some minutes
    python -m benchmarks.archive verify --files 500

Each measured step runs in a process of its own, with the emulator in another one. The figures that
the project promises stand beside those that were measured. All of it is printed, and written to
``archive.md``, which docs/performance.md includes.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, aclosing, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.calls import store_calls
from agentphone_async.archive.catalog.opening import connect
from agentphone_async.archive.catalog.recordings import store_recordings
from agentphone_async.archive.catalog.rows import RecordingRow, raw_text
from agentphone_async.archive.names import Names
from agentphone_async.archive.template import DEFAULT_TEMPLATE, Template
from agentphone_async.archive.verify import verify
from agentphone_async.models import Call
from benchmarks.machine import REPOSITORY, describe
from benchmarks.measure import Command, Measured, run, served
from benchmarks.nightly import ACCOUNTS, cost_curves

RESULTS = REPOSITORY / "benchmarks" / "results"
TIMEOUT_SECONDS = 1800.0
FINDINGS: list[str] = []
EMPTY = hashlib.sha256(b"").hexdigest()
NAMES = Names(Template.parse(DEFAULT_TEMPLATE), UTC)


# ---------------------------------------------------------------- the steps, each in a process


async def step_plain(dest: str, url: str) -> None:
    """List all calls and download their recordings, with no catalog."""
    async with AsyncAgentPhone("sk_test_emulator", url) as client:
        outcomes = client.download_recordings(client.calls.list(), dest)
        async with aclosing(outcomes):
            async for _ in outcomes:
                pass


async def step_archive(dest: str, url: str) -> None:
    """The same as an archive, with catalog and checksums."""
    async with AsyncAgentPhone("sk_test_emulator", url) as client:
        report = await Archive(dest).run(client)
    if report.failed or not report.complete:
        raise SystemExit(f"the run went wrong: {report}")


async def step_verify(dest: str, _: str) -> None:
    """Hash everything again."""
    await verify(dest)


async def step_ls(dest: str, _: str) -> None:
    """List everything, as JSON."""
    command_line("ls", dest, "--json")


async def step_export(dest: str, _: str) -> None:
    """Export everything, as CSV."""
    command_line("export", dest)


def command_line(*arguments: str) -> None:
    code = "import sys; from agentphone_async.cli.main import main; main()"
    os.execv(sys.executable, [sys.executable, "-c", code, *arguments])


STEPS: dict[str, Callable[[str, str], object]] = {
    "plain": step_plain,
    "archive": step_archive,
    "verify": step_verify,
    "ls": step_ls,
    "export": step_export,
}


def measured(step: str, dest: Path, url: str, scratch: Path) -> Measured:
    argv = [sys.executable, "-m", "benchmarks.archive", "--step", step, str(dest), url]
    done = run(
        Command(argv, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}),
        scratch,
        timeout_seconds=TIMEOUT_SECONDS,
    )
    if done.exit_code != 0:
        raise SystemExit(f"{step} failed: {done.stderr_tail}")
    return done


def emulator(calls: int, seconds: float) -> AbstractContextManager[str]:
    """An emulator in a process of its own; gives its base URL."""
    code = (
        "import sys\n"
        "from agentphone_async.emulator import EmulatorThread\n"
        f"with EmulatorThread(calls={calls}, seconds={seconds}, spread=0, keep_requests=0) as e:\n"
        "    print(e.base_url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    return served("-c", code)


# ---------------------------------------------------------------- what is measured


def overhead(files: int, scratch: Path) -> None:
    """The catalog beside the plain download, in alternation."""
    runs: dict[str, list[Measured]] = {"plain": [], "archive": []}
    with emulator(files, 0.5) as url:
        for _ in range(3):
            for step, each in runs.items():
                dest = scratch / step
                each.append(measured(step, dest, url, scratch))
                shutil.rmtree(dest)
    for what, of in (
        ("of wall time", lambda done: done.wall_seconds),
        ("of CPU", lambda done: done.cpu_seconds),
    ):
        plain, archive = (statistics.median(map(of, each)) for each in runs.values())
        tell(f"{files:,} recordings of 8 kB: plain {plain:.2f} s {what}, archive {archive:.2f} s")
        say("the catalog costs", f"{100 * (archive / plain - 1):+.1f} %", "at most +10 %")


def nothing_to_do(calls: int, scratch: Path) -> None:
    """A run over an archive that has everything."""
    dest = scratch / "noop"
    with emulator(calls, 0.5) as url:
        asyncio.run(_pretend(dest, url))
        measured("archive", dest, url, scratch)  # writes the sums
        done = measured("archive", dest, url, scratch)
    shutil.rmtree(dest)
    tell(f"a run over {calls:,} archived calls: {done.wall_seconds:.1f} s, {mib(done)}")
    say("it takes", f"{done.cpu_seconds:.1f} s of CPU", "under 10 s")


async def _pretend(dest: Path, url: str) -> None:
    """An archive of empty recordings, of all calls that there are."""
    async with AsyncAgentPhone("sk_test_emulator", url) as client:
        calls = [call async for call in client.calls.list()]
    _catalogue(dest, calls)
    with closing(connect(dest, write=True)) as catalog:
        catalog.execute("UPDATE recordings SET updated = '2026-01-01T00:00:00.000000Z'")
    for call in calls:
        path = dest / NAMES.stem(call).with_suffix(".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)


def _catalogue(dest: Path, calls: list[Call]) -> None:
    now = datetime.now(UTC)
    with closing(connect(dest, write=True)) as catalog:
        catalog.execute("BEGIN")
        store_calls(catalog, [(call, raw_text(call.raw)) for call in calls], now)
        store_recordings(catalog, [_row(call, now) for call in calls])
        catalog.execute("COMMIT")


def _row(call: Call, now: datetime) -> RecordingRow:
    path = NAMES.stem(call)
    return RecordingRow(
        call.id,
        "archived",
        now,
        now,
        path=path.parent / f"{path.name}.wav",
        size=0,
        sha256=EMPTY,
        media_type="audio/wav",
        attempts=1,
    )


def verifying(files: int, scratch: Path) -> None:
    """`verify` beside what the machine can hash at all."""
    dest, size = scratch / "verify", 400_000
    noise = random.Random(1).randbytes(size)
    _catalogue(dest, [])
    with closing(connect(dest, write=True)) as catalog:
        for number in range(files):
            path = dest / f"{number % 28:02}" / f"recording-{number}.wav"
            path.parent.mkdir(exist_ok=True, mode=0o700)
            body = number.to_bytes(8, "big") + noise[8:]
            path.write_bytes(body)
            path.chmod(0o600)
            catalog.execute(
                "INSERT INTO calls (id, raw, first_seen, last_seen) VALUES (?, '{}', 'a', 'b')",
                (f"call_{number}",),
            )
            catalog.execute(
                "INSERT INTO recordings (call_id, version, state, path, size, sha256, attempts, "
                "created, updated) VALUES (?, 1, 'archived', ?, ?, ?, 1, ?, ?)",
                (
                    f"call_{number}",
                    str(path.relative_to(dest)),
                    size,
                    hashlib.sha256(body).hexdigest(),
                    *["2026-01-01T00:00:00.000000Z"] * 2,
                ),
            )
    total = files * size / 1e6
    done = measured("verify", dest, "-", scratch)
    sums = _sha256sum(dest)
    one = _hashlib(noise)
    cores = os.cpu_count() or 1
    shutil.rmtree(dest)
    tell(
        f"{files:,} files of 400 kB in the page cache: verify {total / done.wall_seconds:,.0f} MB/s"
        f" ({done.wall_seconds:.2f} s, start included; {mib(done)}), sha256sum on {cores} cores "
        f"{total / sums:,.0f} MB/s, hashlib on one {one:,.0f} MB/s"
    )
    rate = total / done.wall_seconds
    say("verify reaches", f"{100 * rate / (one * cores):.0f} % of hashlib on all cores", "the disk")


def _sha256sum(dest: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        f"find . -name '*.wav' -print0 | xargs -0 -n 50 -P {os.cpu_count()} sha256sum > /dev/null",
        shell=True,
        cwd=dest,
        check=True,
    )
    return time.perf_counter() - began


def _hashlib(noise: bytes) -> float:
    began = time.perf_counter()
    for _ in range(500):
        hashlib.sha256(noise)
    return 500 * len(noise) / 1e6 / (time.perf_counter() - began)


def memory(calls: int, scratch: Path) -> None:
    """Peak memory over a large catalog, of which no file is there."""
    dest = scratch / "large"
    _large_catalog(dest, calls)
    peaks: dict[str, float] = {}
    for step in ("ls", "export", "verify"):
        done = measured(step, dest, "-", scratch)
        peaks[step] = done.peak_rss_bytes / 1e6
        tell(f"{step} over {calls:,} calls: {done.wall_seconds:.1f} s, {mib(done)}")
    with emulator(100, 0.5) as url:
        done = measured("archive", dest, url, scratch)
        peaks["archive"] = done.peak_rss_bytes / 1e6
        tell(f"archive of 100 new calls beside them: {done.wall_seconds:.1f} s, {mib(done)}")
    shutil.rmtree(dest)
    say("the peak is", f"{max(peaks.values()):.0f} MB", "under 150 MB")


def _large_catalog(dest: Path, calls: int) -> None:
    began = datetime(2024, 1, 1, tzinfo=UTC)
    for start in range(0, calls, 50_000):
        batch = []
        for number in range(start, min(start + 50_000, calls)):
            at = began + timedelta(seconds=60 * number)
            stamp = at.isoformat().replace("+00:00", "Z")
            batch.append(
                Call.from_json(
                    {
                        "id": f"call_{random.Random(number).getrandbits(96):024x}",
                        "agentId": "agt_abc123",
                        "phoneNumberId": "num_xyz789",
                        "fromNumber": "+15559870000",
                        "toNumber": "+15551230000",
                        "direction": "inbound",
                        "status": "completed",
                        "startedAt": stamp,
                        "endedAt": stamp,
                        "durationSeconds": 330,
                        "recordingAvailable": True,
                    }
                )
            )
        _catalogue(dest, batch)


def mib(done: Measured) -> str:
    return f"{done.cpu_seconds:.1f} s of CPU, peak {done.peak_rss_bytes / 1e6:.0f} MB"


def tell(line: str) -> None:
    """Print a finding, and keep it for the report."""
    print(line, flush=True)
    FINDINGS.append(f"- {line}")


def say(what: str, value: str, promised: str) -> None:
    """A figure beside what is promised."""
    print(f"  -> {what} {value} (promised: {promised})", flush=True)
    FINDINGS.append(f"  - {what} {value} (promised: {promised})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help="overhead, noop, verify, memory, nightly")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--archived", type=int, default=100_000)
    parser.add_argument("--hashed", type=int, default=3_000)
    parser.add_argument("--catalogued", type=int, default=1_000_000)
    parser.add_argument("--most", type=int, default=ACCOUNTS[-1], help="calls, for nightly")
    parser.add_argument("--out", type=Path, default=RESULTS, help="for the report and its plot")
    parser.add_argument("--scratch", type=Path, help="where to write; else a temporary folder")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, dest, url = options.step
        asyncio.run(STEPS[name](dest, url))  # type: ignore[arg-type]
        return
    wanted = options.what or ["overhead", "noop", "verify", "memory", "nightly"]
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        about = describe(scratch) | {"sqlite": sqlite3.sqlite_version}
        options.out.mkdir(parents=True, exist_ok=True)
        print(json.dumps(about))
        parts: dict[str, Callable[[], object]] = {
            "overhead": lambda: overhead(options.files, scratch),
            "noop": lambda: nothing_to_do(options.archived, scratch),
            "verify": lambda: verifying(options.hashed, scratch),
            "memory": lambda: memory(options.catalogued, scratch),
            "nightly": lambda: FINDINGS.extend(
                cost_curves([n for n in ACCOUNTS if n <= options.most], scratch, options.out)
            ),
        }
        for what in wanted:
            if what not in parts:
                parser.error(f"there is nothing called {what!r}; there are: {', '.join(parts)}")
            parts[what]()
    write_report(about, options.out)


def write_report(about: dict[str, str], out: Path) -> None:
    """What was found, as markdown, for the documentation."""
    head = f"Python {about.get('python', 'unknown')}, revision {about.get('revision', 'unknown')}."
    lines = ["# What an archive costs", "", head, "", *FINDINGS, ""]
    (out / "archive.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
