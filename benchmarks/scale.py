"""What very many recordings take: requests, hours and dollars, by arithmetic and a simulation.

``python -m benchmarks.scale --calls 10000000 --size 400k`` plans and does shards in virtual time:
machines take shards as they are free, some of them die, and their shards begin again.
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import dataclass

PAGE = 100
AT_ONCE = 16
"""Recordings under way in a machine that dies: only they are fetched again."""
CALL_BYTES = 61  # in manifests, compressed: the call's row and its recording's, as measured
PUT_DOLLARS = 5e-6
GET_DOLLARS = 0.4e-6
MONTH_DOLLARS = 23e-12  # a byte


@dataclass(frozen=True, slots=True)
class Sums:
    """What it takes.

    Attributes:
        pages: requests to the list of calls.
        shards: how many there are.
        hours: from the first shard to the last.
        fetched: recordings that were fetched, those of lost shards twice.
        deaths: machines that were lost.
        puts: requests to the bucket that cost as a PUT.
        manifest_bytes: of all manifests.
        stored: bytes of all recordings.
    """

    pages: int
    shards: int
    hours: float
    fetched: int
    deaths: int
    puts: int
    manifest_bytes: int
    stored: int

    @property
    def request_dollars(self) -> float:
        return self.puts * PUT_DOLLARS

    @property
    def month_dollars(self) -> float:
        return self.stored * MONTH_DOLLARS


def simulate(
    calls: int,
    *,
    size: int = 400_000,
    shard_size: int = 2_000,
    machines: int = 8,
    rate: float = 40.0,
    overhead: float = 1.0,
    mean_life: float = float("inf"),
    seed: int = 1,
) -> Sums:
    """Do all shards in virtual time: ``calls`` with recordings of ``size`` bytes.

    A machine that dies, on average after ``mean_life`` seconds, is replaced. ``rate`` is in
    requests a second of all machines together; ``overhead`` are a shard's seconds beside its
    recordings.
    """
    shards = -(-calls // shard_size)
    seconds = shard_size * machines / rate + overhead
    end, deaths = _work_off(shards, machines, seconds, mean_life, random.Random(seed))
    fetched = calls + AT_ONCE * deaths
    return Sums(
        pages=-(-calls // PAGE),
        shards=shards,
        hours=end / 3600,
        fetched=fetched,
        deaths=deaths,
        puts=calls + 4 * shards,
        manifest_bytes=calls * CALL_BYTES,
        stored=calls * size,
    )


def _work_off(
    shards: int, machines: int, seconds: float, mean_life: float, dice: random.Random
) -> tuple[float, int]:
    """When the last shard of so many seconds is done, and how many machines died on the way."""
    free = [0.0] * machines
    deaths = 0
    end = 0.0
    while shards:
        now = heapq.heappop(free)
        life = dice.expovariate(1 / mean_life) if mean_life != float("inf") else float("inf")
        if life < seconds:
            deaths += 1
            heapq.heappush(free, now + life)
            continue
        shards -= 1
        end = now + seconds
        heapq.heappush(free, end)
    return end, deaths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--size", type=int, default=400_000)
    parser.add_argument("--shard-size", type=int, default=2_000)
    parser.add_argument("--machines", type=int, default=8)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--mean-life", type=float, default=float("inf"), help="seconds")
    given = parser.parse_args()
    sums = simulate(
        given.calls,
        size=given.size,
        shard_size=given.shard_size,
        machines=given.machines,
        rate=given.rate,
        mean_life=given.mean_life,
    )
    print(f"pages of calls      {sums.pages:,}")
    print(f"shards              {sums.shards:,}")
    print(f"recordings fetched  {sums.fetched:,} ({sums.deaths:,} machines lost)")
    print(f"hours               {sums.hours:,.1f}")
    print(f"stored              {sums.stored / 1e12:,.2f} TB, ${sums.month_dollars:,.0f} a month")
    print(f"manifests           {sums.manifest_bytes / 1e9:,.2f} GB")
    print(f"requests            {sums.puts:,} PUT, ${sums.request_dollars:,.0f}")


if __name__ == "__main__":
    main()
