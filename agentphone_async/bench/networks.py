"""Networks that a measurement can play: what binds them is latency, a bandwidth or a limit."""

from __future__ import annotations

from dataclasses import dataclass

from agentphone_async.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Network:
    """What the emulator plays.

    Attributes:
        name: of a known profile; empty for one of the user's own.
        latency: seconds before every answer.
        bandwidth: bytes a second of each connection; None for no limit.
        total_bandwidth: bytes a second of all connections together; None for no limit.
        rate_limit: requests a second beyond which the answer is 429; None for no limit.
        audio_seconds: mean length of the recordings (16 kB a second).
    """

    name: str = ""
    latency: float = 0.080
    bandwidth: int | None = None
    total_bandwidth: int | None = None
    rate_limit: float | None = None
    audio_seconds: float = 30.0

    def __str__(self) -> str:
        parts = [f"{self.latency * 1000:.0f} ms"]
        if self.total_bandwidth is not None:
            parts.append(f"{self.total_bandwidth / 1e6:g} MB/s in all")
        elif self.rate_limit is not None:
            parts.append(f"{self.rate_limit:g} requests a second")
        elif self.bandwidth is not None:
            parts.append(f"{self.bandwidth / 1e6:g} MB/s a connection")
        else:
            parts.append("any speed a connection")
        return f"the emulator, {' and '.join(parts)}"


PROFILES = (
    Network("latency-20", latency=0.020, audio_seconds=1.5),
    Network("latency-80", latency=0.080, audio_seconds=1.5),
    Network("latency-200", latency=0.200, audio_seconds=1.5),
    Network("connection-cap", bandwidth=2_000_000, audio_seconds=62.0),
    Network("global-cap", total_bandwidth=16_000_000, audio_seconds=10.0),
    Network("rate-limit", rate_limit=100.0, audio_seconds=1.5),
)


def profile_named(name: str) -> Network:
    """The profile of that name.

    Raises:
        ConfigurationError: there is none; the message names those that exist.
    """
    for profile in PROFILES:
        if profile.name == name:
            return profile
    known = ", ".join(profile.name for profile in PROFILES)
    raise ConfigurationError(f"unknown network profile {name!r}; there are: {known}")
