"""Tombstones: what says that a call was erased, and stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.erase import forget
from agentphone_async.archive.tombstones import bury
from agentphone_async.emulator import Emulator
from agentphone_async.errors import (
    CatalogError,
)
from agentphone_async.sinks.erased import ERASED_NAME, Tombstones
from tests.support.archives import (
    DAY,
    archived,
    fill,
)


def test_tombstones_are_torn_by_nothing(tmp_path: Path):
    bury(tmp_path, ["a"], DAY)
    path = tmp_path / ERASED_NAME
    path.write_bytes(path.read_bytes() + b'{"hash": "torn')
    bury(tmp_path, ["b"], DAY)
    tombstones = Tombstones.load(tmp_path)
    assert tombstones.covers("a")
    assert tombstones.covers("b")
    assert len(tombstones) == 2
    before = path.read_bytes()
    bury(tmp_path, ["a", "b"], DAY)
    assert path.read_bytes() == before
    (tmp_path / "archive.json").unlink()
    with pytest.raises(CatalogError, match="restore it from a backup"):
        Tombstones.load(tmp_path)


async def test_a_tombstone_is_on_the_disk_before_the_first_file_goes(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Synced is its file, the file of the key that it was made with, and the folder of both."""
    fill(emulator, 1)
    await archived(client, tmp_path)
    steps: list[str] = []
    real_fsync, real_unlink = os.fsync, os.unlink

    def fsync(fd: int) -> None:
        steps.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        real_fsync(fd)

    def unlink(path: str | Path, **more: Any) -> None:
        steps.append(Path(path).suffix)
        real_unlink(path, **more)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "unlink", unlink)
    await forget(tmp_path, ["call_0"], dry_run=False)
    settings, *others = steps[: steps.index(".wav")]
    assert settings.endswith(".part"), "archive.json, before it is renamed"
    assert others == [tmp_path.name, ERASED_NAME, tmp_path.name]
