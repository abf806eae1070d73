"""The real command in a process of its own, against an emulator in this one."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentphone_async.emulator import Emulator
from tests.support.warm import COMMAND, create_subprocess


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Command:
    """``agentphone-async`` with these arguments, started and not yet waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *args: str, key: str = "", **more: Any) -> Command:
        environment = {
            **os.environ,
            "AGENTPHONE_API_KEY": key,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "default",
        }
        more.setdefault("stdout", subprocess.PIPE)
        return cls(
            await create_subprocess(
                *COMMAND, *args, env=environment, stderr=subprocess.PIPE, **more
            )
        )

    @classmethod
    async def archive(cls, emulator: Emulator, folder: Path, *args: str, **more: Any) -> Command:
        return await cls.start(
            "archive", str(folder), "--since", "1970-01-01", "--base-url", emulator.base_url,
            "--tz", "UTC", *args, key=emulator.api_key, **more,
        )  # fmt: skip

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self) -> Ended:
        out, err = await self.process.communicate()
        assert self.process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return Ended(self.process.returncode, (out or b"").decode(), err.decode())


async def requested(emulator: Emulator, met: Callable[[], bool]) -> None:
    """Return when ``met()`` is true; it is looked at with every request that arrives."""
    log = emulator.requests
    reached = asyncio.Event()
    real = log.opened

    def opened(*args: Any) -> Any:
        entry = real(*args)
        if met():
            reached.set()
        return entry

    log.opened = opened  # type: ignore[method-assign]
    try:
        if not met():
            async with asyncio.timeout(30):
                await reached.wait()
    finally:
        log.opened = real  # type: ignore[method-assign]
