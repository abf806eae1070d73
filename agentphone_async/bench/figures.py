"""What a step of a sweep came to, and where the knee is. Pure: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from agentphone_async.errors import AgentPhoneError

Transfers = int | Literal["auto"]

NEARLY_BEST = 0.05
"""A setting counts as good as the best one if its goodput is at most this share less."""

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Step:
    """What one number of transfers brought while it was measured. Times are in seconds.

    Attributes:
        transfers: how many were allowed at a time.
        settled: where ``auto`` was at the end; None for a fixed number.
        seconds: how long it was measured, the warm-up not included.
        bytes: of recordings that arrived meanwhile, those of unfinished ones included.
        requests: that were answered meanwhile, each attempt counted.
        recordings: that arrived whole.
        absent: answers that there is no recording (404).
        failed: recordings that could not be fetched.
        retried: requests that were sent again.
        first_byte: percentile to time from sending a request to the head of its answer; empty if
            no recording arrived.
        total: percentile to time from sending a request to the last byte; empty likewise.
        cpu: seconds of processor time of this process, all threads.
        peak_rss: bytes of memory that this process had at most; None if the system does not tell.
        error: the last failure; None if there was none.
    """

    transfers: Transfers
    seconds: float
    bytes: int
    requests: int
    recordings: int
    settled: int | None = None
    absent: int = 0
    failed: int = 0
    retried: int = 0
    first_byte: Mapping[int, float] = field(default_factory=dict)
    total: Mapping[int, float] = field(default_factory=dict)
    cpu: float = 0.0
    peak_rss: int | None = None
    error: AgentPhoneError | None = None

    @property
    def bytes_per_second(self) -> float:
        """Goodput."""
        return self.bytes / self.seconds

    @property
    def requests_per_second(self) -> float:
        """Answers of any kind."""
        return self.requests / self.seconds

    @property
    def cpu_share(self) -> float:
        """Processor time by time: 1.0 is one core, busy all the time."""
        return self.cpu / self.seconds

    @property
    def label(self) -> str:
        """The number of transfers; for ``auto`` with the number that it settled at."""
        return f"auto ({self.settled})" if self.settled is not None else str(self.transfers)


def percentiles(values: Sequence[float]) -> dict[int, float]:
    """The 50th, 95th and 99th percentile, by the nearest rank; empty for no values.

    The nearest rank is always a value that was measured, also among a few.
    """
    if not values:
        return {}
    ordered = sorted(values)
    return {percent: ordered[-(-len(ordered) * percent // 100) - 1] for percent in PERCENTILES}


def knee(steps: Sequence[Step]) -> Step | None:
    """The smallest fixed number of transfers that is as good as the best, within 5 %.

    More than that costs the server and gains nothing. Goodput decides; where no bytes came at
    all (every id answers 404), requests a second do.

    Returns:
        Its step; None if no fixed number brought anything.
    """
    fixed = [step for step in steps if step.transfers != "auto"]
    by_bytes = any(step.bytes for step in fixed)

    def worth(step: Step) -> float:
        return step.bytes_per_second if by_bytes else step.requests_per_second

    best = max(map(worth, fixed), default=0.0)
    if best <= 0:
        return None
    good = [step for step in fixed if worth(step) >= best * (1 - NEARLY_BEST)]
    return min(good, key=lambda step: int(step.transfers))


def is_largest(step: Step, steps: Sequence[Step]) -> bool:
    """Whether no larger fixed number was tried, so that the knee may lie beyond."""
    return all(
        other.transfers == "auto" or int(other.transfers) <= int(step.transfers) for other in steps
    )
