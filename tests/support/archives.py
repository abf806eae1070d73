"""What tests of archives share: one that is filled, its catalog, and the command line over it."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agentphone_async import Archive, AsyncAgentPhone, Report, RunOptions
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import path_of
from agentphone_async.archive.catalog.recordings import files_after
from agentphone_async.archive.catalog.rows import CatalogFile
from agentphone_async.cli import main as main_module
from agentphone_async.emulator import Emulator, EmulatorThread
from tests.support.commands import logging_undone

DAY = datetime(2026, 3, 14, 12, tzinfo=UTC)
"""Long ago: whatever is absent then is absent for good."""


def fill(emulator: Emulator | EmulatorThread, calls: int = 3, **fields: Any) -> list[str]:
    """Add calls, a minute apart; their ids."""
    fields = {"duration": 0.2} | fields
    return [
        emulator.add_call(
            **{"id": f"call_{number}", "started_at": DAY + timedelta(minutes=number)} | fields
        ).id
        for number in range(calls)
    ]


async def archived(
    client: AsyncAgentPhone, folder: Path, options: RunOptions | None = None, **beside: bool
) -> Report:
    """One run with what is asked for beside recordings: ``metadata``, ``transcripts``, ``sums``."""
    options = replace(
        options or RunOptions(),
        metadata=beside.get("metadata", False),
        transcripts=beside.get("transcripts", False),
        checksums=beside.get("sums", True),
    )
    return await Archive(folder).run(client, None, options)


async def catalogued(folder: Path) -> dict[str, CatalogFile]:
    """All files of the catalog by their paths."""
    async with await Catalog.open(folder, write=False) as catalog:
        return {file.path.as_posix(): file for file in await catalog.run(files_after)}


async def execute(folder: Path, statement: str, *values: object) -> None:
    """Change the catalog behind everybody's back."""
    with closing(sqlite3.connect(path_of(folder), isolation_level=None)) as catalog:
        catalog.execute(statement, values).fetchall()


def sha256sum_accepts(folder: Path) -> bool:
    """What GNU coreutils say to a folder's sums."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """Runs commands in this process, in a thread of no event loop."""

    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Ended:
        self.capture.readouterr()
        with pytest.MonkeyPatch.context() as patch, logging_undone():
            patch.setattr("sys.argv", ["agentphone-async", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main_module.main()
        said = self.capture.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        assert "Traceback" not in said.err
        return Ended(code, said.out, said.err)


def make_archive(
    emulator: EmulatorThread, folder: Path, options: RunOptions | None = None, **beside: bool
) -> Report:
    """An archive of everything that an emulator has, for tests without an event loop."""

    async def make() -> Report:
        async with AsyncAgentPhone(emulator.api_key, emulator.base_url) as client:
            return await archived(client, folder, options, **beside)

    return asyncio.run(make())


def names(folder: Path) -> Sequence[str]:
    """Names right in a folder."""
    return sorted(path.name for path in folder.iterdir())


def day_folder() -> PurePosixPath:
    """Where the calls of `fill` are."""
    return PurePosixPath("2026/03/14")
