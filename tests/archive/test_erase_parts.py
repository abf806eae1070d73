"""Parts of large recordings that a run has left are erased with their calls."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

import pytest

from agentphone_async import AsyncAgentPhone, LocalSink, Target
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.settings import known_hash_key
from agentphone_async.archive.erase import ErasureReport, forget, hold, prune
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.tombstones import bury
from agentphone_async.emulator import Emulator
from agentphone_async.errors import RecordingErasedError
from agentphone_async.recordings.naming import hashed_id
from agentphone_async.sinks.leftovers import temp_names
from agentphone_async.sinks.threads import FilePool
from agentphone_async.sinks.uploads import LocalUpload, PartFile
from tests.support.archives import DAY, archived, execute, fill

NOBODY = 2**31 - 1
"""No process has this number."""

LIVING = 1
ENDED = None
PLAIN = RunOptions()


def leave_part(place: Path, stem: str, pid: int | None, data: bytes) -> None:
    """What a run keeps when it ends or, with a number, what that process leaves when killed."""
    name = next(temp_names())
    if pid is not None:
        name = name.replace(f"-{os.getpid():x}-", f"-{pid:x}-")
    (place / name).write_bytes(data)
    prefix, target = f"{place}/", Target(PurePosixPath(), stem)
    part = PartFile(prefix + name, os.open(place / name, os.O_RDWR))
    part.read()
    upload = LocalUpload(FilePool(), part, target, os.unlink, prefix)
    if pid is None:
        upload.keep("mark")
    else:
        upload.write_note("mark")
        part.close()


def bytes_left(folder: Path) -> set[bytes]:
    """Of parts that lie in an archive."""
    paths = [*folder.rglob(".agentphone-*.part"), *folder.rglob(".agentphone-*.kept")]
    return {path.read_bytes() for path in paths}


async def by_id(folder: Path, *, dry_run: bool = True) -> ErasureReport:
    return await forget(folder, ["call_1"], dry_run=dry_run)


async def by_age(folder: Path, *, dry_run: bool = True) -> ErasureReport:
    return await prune(folder, timedelta(0), dry_run=dry_run)


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("size", [1_000, 6_000_000], ids=["in memory", "staged"])
async def test_what_is_erased_while_it_comes_is_not_published(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, *, many, size
):
    fill(emulator, 1)
    await archived(client, tmp_path)
    emulator.add_call(id="call_1", started_at=DAY, duration=size / 16_000)
    sink = ErasesMeanwhile(tmp_path, "call_1")
    if many:
        outcomes = [one async for one in client.download_recordings(["call_1"], sink)]
        assert isinstance(outcomes[0].error, RecordingErasedError)
    else:
        with pytest.raises(RecordingErasedError):
            await client.fetch_recording("call_1", sink)
    await sink.aclose()
    assert not list(tmp_path.glob("*.wav"))
    assert bytes_left(tmp_path) == set()


class ErasesMeanwhile(LocalSink):
    def __init__(self, folder: Path, call_id: str) -> None:
        super().__init__(folder)
        self._call_id = call_id

    async def existing(self, targets):
        bury(self.folder, [self._call_id], DAY)
        return await super().existing(targets)


@pytest.mark.parametrize(
    ("stem", "pid", "erase", "options", "whole"),
    [
        ("recording-call_1", ENDED, by_id, PLAIN, True),
        ("recording-call_1", NOBODY, by_age, PLAIN, False),
        ("recording-call_1", LIVING, by_id, PLAIN, True),
        ("recording-call_1.v2", ENDED, by_id, PLAIN, True),
        ("recording-call_1.wav", NOBODY, by_id, PLAIN, True),
        ("recording-{hashed}", NOBODY, by_id, RunOptions(hash_ids=True), False),
        ("recording-call_1", ENDED, by_id, RunOptions(zone=ZoneInfo("Pacific/Kiritimati")), False),
        ("../../../recording-call_1", NOBODY, by_id, PLAIN, False),
    ],
    ids=["ended", "killed", "living", "version", "whole name", "hashed", "zone", "top"],
)
async def test_no_part_is_left_of_an_erased_call(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, *, stem, pid, erase, options, whole
):
    fill(emulator, 2)
    await archived(client, tmp_path, options)
    place = next(tmp_path.rglob("*.wav")).parent
    async with await Catalog.open(tmp_path, write=False) as catalog:
        key = await catalog.run(known_hash_key)
    stem = stem.format(hashed=key and hashed_id("call_1", key))
    if not whole:
        await execute(tmp_path, "DELETE FROM recordings WHERE call_id = 'call_1'")
        (place / f"{Path(stem).name}.wav").unlink()
    folder = (place / stem).resolve().parent
    leave_part(folder, Path(stem).name, pid, b"of the call")
    leave_part(place, "recording-call_0", NOBODY, b"of another call")
    nobodys = next(temp_names()).replace(f"-{os.getpid():x}-", f"-{NOBODY:x}-")
    (place / nobodys).write_bytes(b"of a call that nobody can tell")
    await hold(tmp_path, ["call_0"])
    dry = await erase(tmp_path)
    assert (dry.calls, dry.others) == (1, 0 if pid == LIVING else 2)
    assert len(bytes_left(tmp_path)) == 3
    assert (await erase(tmp_path, dry_run=False)).as_dict() == dry.as_dict() | {"dry_run": False}
    stays = {b"of the call"} if pid == LIVING else set()
    assert bytes_left(tmp_path) == {b"of another call"} | stays
    assert len([*tmp_path.rglob("*.note")]) == 1 + len(stays)
