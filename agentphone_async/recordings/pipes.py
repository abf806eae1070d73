"""What a run over several processes says through its pipes: pickled values, each with its length.

Both ends are this package, started by itself; nothing else ever writes there.
"""

from __future__ import annotations

import asyncio
import math
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, cast

from agentphone_async.config import Settings
from agentphone_async.errors import AgentPhoneError
from agentphone_async.recordings.downloader import Job
from agentphone_async.recordings.outcomes import Outcome
from agentphone_async.sinks.local import Fsync

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Order:
    """The first thing that a worker process is told: all but the jobs.

    Attributes:
        settings: of the whole run, without the API key, which recordings do not need.
        shares: among how many processes rates, connections and memory are divided.
        transfers: how many this one has at a time; None to find out.
        folder, fsync, grace, skip_existing: as for a `Downloader` and its `LocalSink`.
        max_file_size: as for a `Fetcher`.
    """

    settings: Settings
    shares: int
    transfers: int | None
    folder: Path
    fsync: Fsync
    grace: timedelta
    skip_existing: bool
    max_file_size: int | None


@dataclass(frozen=True, slots=True)
class Jobs:
    """To a worker: fetch these, too."""

    jobs: list[Job]


@dataclass(frozen=True, slots=True)
class NoMore:
    """To a worker: there will be no more jobs."""


@dataclass(frozen=True, slots=True)
class Close:
    """To a worker: begin nothing more. Jobs that it has not begun are answered as left."""


@dataclass(frozen=True, slots=True)
class Drop:
    """To a worker: let go of what is under way, too."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Either way: the host asks everybody to wait for so many seconds, or (0.0) is not there."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Arrived:
    """From a worker: bytes that have arrived since it said so last, and those still in memory."""

    size: int
    held: int


@dataclass(frozen=True, slots=True)
class Settled:
    """From a worker: what became of some calls."""

    outcomes: list[Outcome]


@dataclass(frozen=True, slots=True)
class Broken:
    """From a worker, and the last thing: the run cannot go on."""

    error: AgentPhoneError


@dataclass(frozen=True, slots=True)
class Done:
    """From a worker, and the last thing: every job is settled."""


ToWorker = Jobs | NoMore | Close | Drop | Pause
FromWorker = Arrived | Settled | Pause | Broken | Done


def share_of_connections(order: Order) -> int:
    """How many connections one process may have."""
    return max(math.ceil(order.settings.connections / order.shares), order.transfers or 1)


def framed(message: Order | ToWorker | FromWorker) -> bytes:
    """The message as it goes through a pipe."""
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


async def next_from(reader: asyncio.StreamReader) -> FromWorker | None:
    """The next message of a worker; None when it has gone, in the middle of one or not."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        data = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return cast("FromWorker", pickle.loads(data))  # noqa: S301 - our own process wrote it


def messages_of(pipe: BinaryIO) -> Iterator[Order | ToWorker]:
    """What comes through a pipe, until it is closed; blocking."""
    while len(head := pipe.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        data = pipe.read(length)
        if len(data) < length:
            return
        yield cast("Order | ToWorker", pickle.loads(data))  # noqa: S301 - our own process wrote it
