"""Networks that are bound by something other than the machine, and what is fetched over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from agentphone_async.bench.networks import PROFILES
from benchmarks.stopping import BenchError


@dataclass(frozen=True, slots=True)
class Network:
    """One profile. Times in seconds, bandwidths in bytes a second, None for no limit.

    ``audio_seconds`` is how long every recording is (16 kB a second). ``capacity`` is how many
    requests the server takes at once before everything grows slower, or 503 comes (``overload``).
    """

    name: str
    what: str
    audio_seconds: float
    latency: float = 0.080
    bandwidth: float | None = None
    total_bandwidth: float | None = None
    rate_limit: float | None = None
    capacity: int | None = None
    overload: Literal["refuse", "slow"] = "refuse"

    @property
    def recording_bytes(self) -> int:
        """The size of a recording: 8 kHz, 16 bit, mono, and the header."""
        return 44 + round(self.audio_seconds * 16_000)

    def expected_rate(self, transfers: int) -> float:
        """Recordings a second that ``transfers`` at once can fetch, if nothing else is slow."""
        busy = self.latency + (self.recording_bytes / self.bandwidth if self.bandwidth else 0.0)
        rates = [transfers / busy]
        if self.rate_limit:
            rates.append(self.rate_limit)
        if self.total_bandwidth:
            rates.append(self.total_bandwidth / self.recording_bytes)
        if self.capacity:
            rates.append(self.capacity / busy)
        return min(rates)

    def count(self, transfers: int, seconds: float) -> int:
        """How many recordings keep ``transfers`` busy for about ``seconds``; at least two each."""
        return max(2 * transfers, math.ceil(self.expected_rate(transfers) * seconds))


PEER_NETWORKS = tuple(
    Network(
        name=each.name,
        what=str(each).removeprefix("the emulator, "),
        audio_seconds=each.audio_seconds,
        latency=each.latency,
        bandwidth=each.bandwidth,
        total_bandwidth=each.total_bandwidth,
        rate_limit=each.rate_limit,
    )
    for each in PROFILES
)
"""Those of ``agentphone-async bench``, over which other tools are measured, too."""

NETWORKS = (
    *PEER_NETWORKS,
    Network(
        "collapse",
        "80 ms, everything grows slower beyond 24 at once",
        audio_seconds=2.0,
        capacity=24,
        overload="slow",
    ),
)


def networks_named(names: str | None) -> tuple[Network, ...]:
    """The networks of a comma-separated list; all when None. Raises BenchError when unknown."""
    if names is None:
        return NETWORKS
    known = {network.name: network for network in NETWORKS}
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise BenchError(f"unknown profile {name!r}; there are: {', '.join(known)}")
    return tuple(known[name] for name in wanted)
