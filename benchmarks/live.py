"""What `watch` and `serve` take: searches over many calls, and webhooks that come in at once.

Run it with ``python -m benchmarks.live``. Times are CPU milliseconds of the server, the least of
three, so that they hold on a busy machine; latencies are what a sender sees.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import aiohttp

from agentphone_async.web.inbox import Inbox
from agentphone_async.web.listen import Address, listen, runner_of
from agentphone_async.web.peaks import peaks_of
from agentphone_async.web.receiver import Receiver
from agentphone_async.web.search import Index, Query, Text
from agentphone_async.webhooks import sign_webhook

SECRET = "whsec_benchmark"
QUERIES = {
    "first list": Query(),
    "a word of every call": Query(text="the"),
    "a rare word": Query(text="word4999"),
    "two words": Query(text="appointment word0900"),
    "the beginning of many words": Query(text="wo"),
    "a common phrase": Query(text='"the to"'),
    "a phrase of common words that nobody said": Query(text='"the you it is of"'),
    "a word and digits of a number": Query(text="the", number="1234"),
    "a word and a state": Query(text="appointment", state="failed"),
    "a phrase in long calls": Query(text='"the to"', least=1500.0),
    "a word on one day": Query(text="the", since="2026-03-01", until="2026-03-02"),
    "digits of a number": Query(number="1234567"),
}
_COMMON = (
    "the to I a you it is of and in for that please thanks can we on my have what hello yes no "
    "appointment order refund number delivery today morning"
)


def least(work: Callable[[], object]) -> float:
    """CPU milliseconds."""
    times = []
    for _ in range(3):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return round(min(times) * 1000, 1)


def fill(index: Index, calls: int) -> None:
    """Calls of 180 words each."""
    words = [*_COMMON.split(), *(f"word{n:04}" for n in range(30, 5000))]
    weights = list(accumulate(1 / (n + 3) for n in range(len(words))))
    for start in range(0, calls, 1000):
        index.store(_rows(start, min(start + 1000, calls), calls))
    while rows := index.to_index(1000):
        index.put_words(
            [
                Text(row[0], row[3], " ".join(random.choices(words, cum_weights=weights, k=180)))
                for row in rows
            ]
        )


def _rows(start: int, end: int, calls: int) -> Iterator[dict[str, Any]]:
    for n in range(start, end):
        moment = f"2026-{1 + n * 12 // calls:02}-{1 + n % 28:02}T{n % 24:02}:{n % 60:02}:00"
        yield {
            "call_id": f"call_{n}", "started": f"{moment}.{n % 1_000_000:06}Z",
            "status": "completed",
            "direction": ("inbound", "outbound")[n % 2],
            "from_number": f"+1555{n * 7919 % 10**7:07}",
            "to_number": f"+1444{n % 100:07}", "state": "failed" if n % 50 == 0 else "archived",
            "seconds": random.expovariate(1 / 180), "path": f"{n}.wav", "media_type": "audio/wav",
            "transcript": "t", "event": None, "wanted": "w",
        }  # fmt: skip


def page(folder: Path, calls: int) -> dict[str, float]:
    """Searches, and the picture of an hour's recording."""
    index = Index(folder / "search.sqlite3")
    fill(index, calls)
    found = {name: least(lambda query=query: index.find(query)) for name, query in QUERIES.items()}  # type: ignore[misc]
    index.close()
    size = 3600 * 16_000
    head = b"RIFF" + (size + 36).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0"
    head += b"\x80\x3e\0\0\2\0\x10\0data" + size.to_bytes(4, "little")

    def read(ranges: Any) -> list[bytes]:
        return [(head + bytes(2**16))[:count] if not at else bytes(count) for at, count in ranges]

    found["the picture of an hour"] = least(lambda: peaks_of(read, size + 44))
    return found


async def inbox(folder: Path, deliveries: int, at_once: int) -> dict[str, float]:
    """Webhooks that come in; sender and receiver share a process, so latencies are high."""
    todo = iter([_event(number) for number in range(deliveries)])
    latencies: list[float] = []
    async with await Inbox.open(folder) as opened:
        runner = runner_of(Receiver(opened, [SECRET]).app(), 1.0)
        await runner.setup()
        address = await listen(runner, Address("127.0.0.1", 0))
        began = resource.getrusage(resource.RUSAGE_SELF)
        async with aiohttp.ClientSession(f"http://{address}") as session:

            async def send() -> None:
                for body, headers in todo:
                    start = time.perf_counter()
                    async with session.post("/", data=body, headers=headers) as answer:
                        answer.raise_for_status()
                    latencies.append(time.perf_counter() - start)

            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(send())
        ended = resource.getrusage(resource.RUSAGE_SELF)
        kept, _ = await opened.waiting()
        await runner.cleanup()
    used = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    latencies.sort()
    return {
        "kept": kept,
        "CPU ms a delivery, both ends": round(used / deliveries * 1000, 2),
        "p50 ms": round(latencies[len(latencies) // 2] * 1000),
        "p99 ms": round(latencies[len(latencies) * 99 // 100] * 1000),
    }


def _event(number: int) -> tuple[bytes, dict[str, str]]:
    said = [{"role": "user", "content": "hello there " * 10}] * 10
    data = {"callId": f"call_{number}", "summary": "Asked for a refund.", "transcript": said}
    body = json.dumps({"event": "agent.call_ended", "data": data}).encode()
    moment = str(int(time.time()))
    return body, {
        "X-Webhook-Timestamp": moment,
        "X-Webhook-Signature": sign_webhook(body, SECRET, moment),
    }


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--deliveries", type=int, default=2_000)
    parser.add_argument("--at-once", type=int, default=50)
    asked = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as name:
        came = asyncio.run(inbox(Path(name), asked.deliveries, asked.at_once))
        shown = page(Path(name), asked.calls)
    json.dump({"inbox": came, "page, CPU ms": shown}, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
