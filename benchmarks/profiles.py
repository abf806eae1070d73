"""How much is measured: the columns of the table, and three sizes of the whole comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.corpus import CorpusSpec
from benchmarks.stopping import BenchError

LARGE_BYTES = 1_700_000
SMALL_BYTES = 24_000
LARGE_TRANSFERS = 16
SMALL_TRANSFERS = 32


@dataclass(frozen=True, slots=True)
class Column:
    """One thing that every tool does: which ids, over http or TLS, how many at once."""

    name: str
    content: Literal["large", "small", "absent"]
    tls: bool
    transfers: int


COLUMNS = (
    Column("large http", "large", tls=False, transfers=LARGE_TRANSFERS),
    Column("large tls", "large", tls=True, transfers=LARGE_TRANSFERS),
    Column("small http", "small", tls=False, transfers=SMALL_TRANSFERS),
    Column("small tls", "small", tls=True, transfers=SMALL_TRANSFERS),
    Column("404 http", "absent", tls=False, transfers=SMALL_TRANSFERS),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Counts of everything. ``deadline_seconds``: no round is begun that would end later.

    ``network_rounds`` is how often each peer of record runs over each emulated network, about
    ``network_seconds`` at 64 transfers; no round of them, and networks are left out.

    More ids that answer 404 than ``slow_limit`` are not asked of peers that are marked slow.
    """

    name: str
    rounds: int
    large_count: int
    small_count: int
    absent_count: int
    startup_runs: int
    memory_counts: tuple[int, ...]
    sweep_transfers: tuple[int, ...]
    network_rounds: int = 3
    network_seconds: float = 4.0
    slow_limit: int = 20_000
    deadline_seconds: float | None = None

    def corpora(self, seed: int) -> tuple[CorpusSpec, CorpusSpec]:
        """The large and the small corpus of this profile."""
        return (
            CorpusSpec("large", self.large_count, LARGE_BYTES, seed),
            CorpusSpec("small", self.small_count, SMALL_BYTES, seed),
        )


SWEEP = (1, 2, 4, 8, 16, 32, 64)
PROFILES = (
    Profile(
        name="quick",
        rounds=2,
        large_count=40,
        small_count=300,
        absent_count=1_500,
        startup_runs=3,
        memory_counts=(1_000, 3_000),
        sweep_transfers=(1, 4, 16, 64),
        network_rounds=0,
        slow_limit=1_000,
        deadline_seconds=42.0,
    ),
    Profile(
        name="standard",
        rounds=5,
        large_count=600,
        small_count=10_000,
        absent_count=100_000,
        startup_runs=20,
        memory_counts=(1_000, 10_000, 100_000),
        sweep_transfers=SWEEP,
    ),
    Profile(
        name="full",
        rounds=3,
        large_count=600,
        small_count=10_000,
        absent_count=100_000,
        startup_runs=20,
        memory_counts=(1_000, 10_000, 100_000, 1_000_000),
        sweep_transfers=(1, 4, 16, 64),
        network_rounds=2,
        deadline_seconds=1_000.0,
    ),
)


def profile_named(name: str) -> Profile:
    """The profile of that name. Raises BenchError with the names that exist."""
    for profile in PROFILES:
        if profile.name == name:
            return profile
    known = ", ".join(profile.name for profile in PROFILES)
    raise BenchError(f"unknown profile {name!r}; there are: {known}")


def columns_named(names: str | None) -> tuple[Column, ...]:
    """The columns of a comma-separated list; all when None. Raises BenchError when unknown."""
    if names is None:
        return COLUMNS
    wanted = [name.strip().replace("-", " ") for name in names.split(",")]
    known = {column.name: column for column in COLUMNS}
    for name in wanted:
        if name not in known:
            raise BenchError(f"unknown column {name!r}; there are: {', '.join(known)}")
    return tuple(known[name] for name in wanted)
