"""Networks that are bound by something other than the machine, and what is fetched over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
        """Recordings a second that ``transfers`` at once can bring, if nothing else is slow."""
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


NETWORKS = (
    Network("latency-20", "20 ms to the first byte, nothing else", 1.5, latency=0.020),
    Network("latency-80", "80 ms to the first byte, nothing else", 1.5),
    Network("latency-200", "200 ms to the first byte, nothing else", 1.5, latency=0.200),
    Network("connection-cap", "80 ms, 2 MB/s a connection", 62.0, bandwidth=2_000_000),
    Network("global-cap", "80 ms, 16 MB/s in all", 10.0, total_bandwidth=16_000_000),
    Network("rate-limit", "80 ms, 100 requests a second", 1.5, rate_limit=100),
    Network(
        "collapse",
        "80 ms, everything grows slower beyond 24 at once",
        audio_seconds=2.0,
        capacity=24,
        overload="slow",
    ),
)
PEER_NETWORKS = NETWORKS[:-1]
"""Those over which other tools are measured, too."""


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
