"""What download tests share: bodies, an impatient client, and what a folder holds afterwards."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from agentphone_async import AsyncAgentPhone, RetryPolicy, Timeouts
from agentphone_async.models import Call
from agentphone_async.sinks import leftovers

T = TypeVar("T")
HEADER = 44


def wave(size: int, *, seed: int = 0, declared: int | None = None) -> bytes:
    """A WAVE file of ``size`` bytes whose header declares ``declared`` bytes of audio."""
    data = size - HEADER
    claims = data if declared is None else declared
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", min(36 + claims, 0xFFFFFFFF), b"WAVE",
        b"fmt ", 16, 1, 1, 8000, 16000, 2, 16,
        b"data", claims,
    )  # fmt: skip
    return head + random.Random(seed).randbytes(data)


def impatient(base_url: str, *, attempts: int = 3, **more: Any) -> AsyncAgentPhone:
    """A client that tries again at once."""
    more.setdefault("timeouts", Timeouts(connect=5, read=5, head=5))
    retry = RetryPolicy(attempts=attempts, first_delay=0.0, total=30.0)
    return AsyncAgentPhone(base_url=base_url, retry=retry, **more)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, by its relative name; of a link its target."""
    return {
        str(path.relative_to(folder)): (
            os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
        )
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def open_files(folder: Path) -> list[str]:
    """Which files below a folder this process holds open (Linux; else nothing is known)."""
    found = []
    table = Path("/proc/self/fd")
    for entry in os.listdir(table) if table.exists() else ():
        try:
            target = os.readlink(table / entry)
        except FileNotFoundError:
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


def partial(folder: Path) -> list[str]:
    """The partial files below a folder, by their relative names."""
    found = (path for path in folder.rglob("*") if leftovers.is_temp(path.name))
    return [str(path.relative_to(folder)) for path in found]


async def at_rest(reading: Callable[[], int]) -> int:
    """The reading once it stays the same for a while: nobody can be asked whether all stand still."""
    before = None
    while before != (now := reading()):
        before = now
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.05)
    return now


def assert_nothing_left(folder: Path) -> None:
    """No file, whole or partial, and none held open."""
    assert files(folder) == {}
    assert open_files(folder) == []


def add(server: Any, count: int, **fields: Any) -> list[str]:
    """Short calls of the emulator, ``call_0000`` and so on."""
    fields.setdefault("duration", 0.05)
    return [server.add_call(id=f"call_{n:04}", **fields).id for n in range(count)]


def call(
    call_id: str = "call_x", *, status: str = "completed", ended: timedelta = timedelta(days=3)
) -> Call:
    then = (datetime.now(UTC) - ended).isoformat()
    return Call.model_validate(
        {"id": call_id, "status": status, "startedAt": then, "endedAt": then}
    )


async def collect(outcomes: AsyncGenerator[T, None]) -> list[T]:
    """All of them, from an iterator that is closed."""
    async with aclosing(outcomes):
        return [outcome async for outcome in outcomes]
