"""Speed limits as arithmetic: how long somebody has to wait, given the time."""

from __future__ import annotations


class Pacer:
    """Spreads bytes over time, for one connection or for all of them together."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def reserve(self, now: float, amount: int, rate: float) -> float:
        """Seconds to wait after sending ``amount`` bytes, so that ``rate`` a second holds."""
        self._free_at = max(now, self._free_at) + amount / rate
        return self._free_at - now


class RateLimiter:
    """A bucket that fills with one second's worth of requests."""

    def __init__(self) -> None:
        self._level: float | None = None
        self._seen_at = 0.0

    def admit(self, now: float, rate: float) -> float:
        """0 when a request may pass, else the seconds after which one may."""
        size = max(1.0, rate)
        level = size if self._level is None else self._level + (now - self._seen_at) * rate
        self._seen_at = now
        self._level = min(size, level)
        if self._level >= 1.0:
            self._level -= 1.0
            return 0.0
        return (1.0 - self._level) / rate


def piece_size(rate: float | None) -> int:
    """How many bytes to send at once: twenty pieces a second when the speed is limited."""
    if rate is None:
        return 256 * 1024
    return max(1, min(64 * 1024, int(rate / 20)))
