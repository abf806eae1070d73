"""What an archive remembers of its runs, and who may read it."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.record import Recorder
from agentphone_async.archive.settings_file import load_settings
from agentphone_async.archive.template import Template
from agentphone_async.archive.verify import verify
from agentphone_async.emulator import Emulator
from agentphone_async.sinks.erased import SETTINGS_NAME


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_forgotten_flag_does_not_mix_layouts(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    began = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    emulator.add_call(id="a", started_at=began, duration=0.1)
    archive = Archive(tmp_path)
    said = RunOptions(
        template=Template.parse("{started:%d.%m}/{call_id}"),
        zone=ZoneInfo("Asia/Tokyo"),
        metadata=True,
        hash_ids=False,
    )
    await archive.run(client, options=said)
    emulator.add_call(id="b", started_at=began, duration=0.1)
    await archive.run(client)
    for name in ("a.wav", "a.json", "b.wav", "b.json"):
        assert (tmp_path / "21.11" / name).is_file(), name
    assert load_settings(tmp_path).zone == "Asia/Tokyo"
    assert mode(tmp_path / SETTINGS_NAME) == 0o600
    emulator.add_call(id="c", started_at=began, duration=0.1)
    await archive.run(client, options=RunOptions(zone=UTC, metadata=False))
    assert (tmp_path / "20.11" / "c.wav").is_file()
    assert not (tmp_path / "20.11" / "c.json").exists()
    dry = await archive.run(client, options=RunOptions(dry_run=True, metadata=True))
    assert dry.would_fetch == 0
    assert load_settings(tmp_path).metadata is False, "a dry run changes nothing"


@pytest.mark.parametrize(
    ("chosen", "file", "folder"),
    [("private", 0o600, 0o700), ("group", 0o640, 0o2750), ("umask", 0o664, 0o775)],
)
async def test_who_may_read_is_said_once(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, chosen, file, folder
):
    top = tmp_path / "archive"
    before = os.umask(0o002)
    try:
        emulator.add_call(id="a", started_at=datetime.now(UTC) - timedelta(days=1), duration=0.1)
        archive = Archive(top)
        await archive.run(client, options=RunOptions(mode=chosen, metadata=True))
        emulator.add_call(id="b", started_at=datetime.now(UTC) - timedelta(days=2), duration=0.1)
        await archive.run(client)
    finally:
        os.umask(before)
    for path in [top, *top.rglob("*")]:
        if path.relative_to(top).parts[:1] == (".agentphone-index",):
            continue
        expected = folder if path.is_dir() else file
        assert mode(path) == expected, path
    assert len(list(top.rglob("*.wav"))) == 2
    assert (await verify(top)).exposed == 0


async def test_a_killed_run_leaves_no_recording_private_that_is_to_be_shared(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Killed(BaseException):
        pass

    def die(*_, **__):
        raise Killed

    archive = Archive(tmp_path / "archive")
    emulator.add_call(id="a", started_at=datetime.now(UTC) - timedelta(days=1), duration=0.1)
    monkeypatch.setattr(Recorder, "store", die)
    with pytest.raises(Killed):
        await archive.run(client, options=RunOptions(mode="group"))
    (path,) = archive.folder.rglob("*.wav")
    assert (mode(path), mode(path.parent)) == (0o640, 0o2750)
