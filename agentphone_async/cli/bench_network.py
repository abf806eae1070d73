"""The network that ``bench`` measures when it is given no ids: an emulator in its own process.

In its own, because what the server takes of the processor and of the memory is not ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import agentphone_async
from agentphone_async.bench.networks import Network

CALLS = 100
"""Enough for a sweep, which goes round through them."""

SPREAD = 0.5
PATIENCE = 30.0

_START = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from agentphone_async.cli.bench_network import serve; serve()"
)


@asynccontextmanager
async def emulated(network: Network, calls: int = CALLS) -> AsyncIterator[tuple[str, list[str]]]:
    """An emulator that plays it; gives its base URL and the ids of calls with recordings."""
    root = str(Path(agentphone_async.__file__).parent.parent)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", _START, root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=1024 * 1024,
        start_new_session=True,  # a Ctrl-C is ours to handle
    )  # fmt: skip
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("pipes were asked for")
    try:
        process.stdin.write(json.dumps([asdict(network), calls]).encode() + b"\n")
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        if not line:
            raise RuntimeError("the emulator did not start")
        told = json.loads(line)
        yield told["base_url"], told["ids"]
    finally:
        process.stdin.close()  # the emulator's sign to go
        await asyncio.shield(process.wait())


def serve() -> None:
    """Be that process: serve until standard input is closed."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        with contextlib.suppress(AttributeError):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    from agentphone_async.cli.event_loop import run

    network, calls = json.loads(sys.stdin.readline())
    run(_serve(Network(**network), calls))


async def _serve(network: Network, calls: int) -> None:
    from agentphone_async.emulator import Emulator

    emulator = Emulator(
        calls=calls,
        seconds=network.audio_seconds,
        spread=SPREAD,
        latency=network.latency,
        bandwidth=network.bandwidth,
        total_bandwidth=network.total_bandwidth,
        rate_limit=network.rate_limit,
        keep_requests=0,
    )
    async with emulator:
        ids = [call.id for call in emulator.calls if call.recorded]
        print(json.dumps({"base_url": emulator.base_url, "ids": ids}), flush=True)  # noqa: T201
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        os._exit(0)  # whoever measured has gone; there is nothing to end gently
