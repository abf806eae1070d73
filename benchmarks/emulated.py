"""One tool over one emulated network: started, watched, and every byte of it checked."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.check import complaint
from benchmarks.corpus import Entry
from benchmarks.measure import run
from benchmarks.networks import Network
from benchmarks.peers.interface import Peer, Work
from benchmarks.results import NetworkRun
from benchmarks.rounds import failure

if TYPE_CHECKING:
    from agentphone_async.emulator import Emulator

TIMEOUT_SECONDS = 300.0


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


async def one_run(
    peer: Peer, network: Network, transfers: str, count: int, home: Path
) -> NetworkRun:
    """Fetch ``count`` recordings with ``peer`` as a process; then read the server's log.

    ``transfers`` is how many at a time the tool is told to use; "auto" is for ours, which then
    decides by itself.
    """
    shutil.rmtree(home, ignore_errors=True)
    scratch, out = home / "scratch", home / "out"
    scratch.mkdir(parents=True)
    out.mkdir()
    async with emulated(network, count + count // 2 + 50) as emulator:  # not all have recordings
        ids = [call.id for call in emulator.calls if call.recorded][:count]
        at_once = int(transfers) if transfers.isdigit() else 1
        work = Work(
            emulator.base_url, scratch / "ids.txt", out, scratch, at_once, scratch / "none.pem"
        )
        work.write_list("ids.txt", (f"{call_id}\n" for call_id in ids))
        command = peer.command(work)
        measured = await asyncio.to_thread(run, command, scratch, timeout_seconds=TIMEOUT_SECONDS)
        entries = [_entry(call_id, emulator.expected_audio(call_id)) for call_id in ids]
        statuses = [request.status for request in emulator.requests]
        peak = emulator.requests.peak_in_flight
    wrong = complaint(out, entries)
    failed = measured.exit_code != 0
    return NetworkRun(
        peer=peer.name,
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


def progress_line(found: NetworkRun) -> str:
    """One run, for the person who watches."""
    return (
        f"{found.network:<15} {found.peer:<34} {found.transfers:>5} transfers  "
        f"{found.megabytes_per_second:8.2f} MB/s  {found.refused:6.1%} refused  "
        f"{found.verdict} {found.note}"
    ).rstrip()


def _entry(call_id: str, content: bytes) -> Entry:
    return Entry(call_id, len(content), hashlib.sha256(content).hexdigest())


def _refused(statuses: Sequence[int | None]) -> float:
    """The share that was answered 429 or 503."""
    return sum(status in {429, 503} for status in statuses) / max(len(statuses), 1)
