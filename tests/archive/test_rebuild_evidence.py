"""What a lost catalog knew is had again from what lies beside the files."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.archive import Archive
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import path_of
from agentphone_async.archive.catalog.rows import COLUMNS
from agentphone_async.archive.files.evidence import INDEX_FOLDER, sums_in
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.rebuild import rebuild
from agentphone_async.archive.verify import verify
from agentphone_async.emulator import Emulator
from agentphone_async.errors import CatalogError
from agentphone_async.sinks.erased import SETTINGS_NAME
from tests.support.archives import DAY, archived, catalogued, day_folder, execute, fill

PCM = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 2036, b"WAVE", b"fmt ", 16, 1, 2, 44100, 176400, 4, 16,
                  b"data", 2000)  # fmt: skip
ALL = {"metadata": True, "transcripts": True}


def fill_with_all_kinds(emulator: Emulator) -> int:
    """Recordings whose headers prove nothing, and one that proves itself; how many there are."""
    for kind in ("streamed", "zero", "long", "header-only", "mulaw"):
        emulator.add_call(id=f"wav_{kind.replace('-', '_')}", started_at=DAY, duration=0.1)
        emulator.fail(route="recording", call_id=f"wav_{kind.replace('-', '_')}", wav=kind)
    emulator.add_call(id="mp3", started_at=DAY, duration=0.3, media_type="audio/mpeg")
    emulator.add_call(id="Has_UPPER", started_at=DAY, duration=0.1)
    emulator.add_call(id="plain", started_at=DAY, duration=0.1)
    emulator.fail(route="recording", call_id="chunked", framing="chunked", wav="streamed")
    emulator.add_call(id="chunked", started_at=DAY, duration=0.1)
    for kind, head in (("flac", b"fLaC\0\0\0\x22"), ("ogg", b"OggS" + b"\0" * 24), ("pcm", PCM)):
        emulator.add_call(id=kind, started_at=DAY, duration=0.1)
        body = head + bytes(2000)
        emulator.fail(route="recording", call_id=kind, body=body, media_type="audio/x-whatever")
    return 12


def lose_catalog(folder: Path) -> None:
    for file in folder.glob("catalog.sqlite3*"):
        file.unlink()


async def contents(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that the catalog says, but for runs and moments of writing."""
    recordings = COLUMNS.replace(", run", ", NULL")
    async with await Catalog.open(folder, write=False) as catalog:
        return {
            table: await catalog.run(lambda db, q=query: db.execute(q).fetchall())  # type: ignore[misc]
            for table, query in {
                "calls": "SELECT id, raw, started, ended, status, direction, duration FROM calls "
                "ORDER BY 1",
                "recordings": f"SELECT {recordings} FROM recordings ORDER BY 1, 2",
                "sidecars": "SELECT call_id, kind, path, size, sha256 FROM sidecars ORDER BY 1, 2",
            }.items()
        }


def files(folder: Path) -> dict[str, bytes]:
    """All files but the catalog's."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("catalog") and "lock" not in path.name
    }


@pytest.mark.parametrize("beside", [{}, ALL], ids=["bare", "sidecars"])
@pytest.mark.parametrize("hash_ids", [False, True], ids=["plain", "hashed"])
async def test_a_lost_catalog_is_had_again_without_the_server(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, hash_ids, beside
):
    count = fill_with_all_kinds(emulator)
    options = RunOptions(hash_ids=hash_ids)
    await archived(client, tmp_path, options, **beside)
    before, there = await contents(tmp_path), files(tmp_path)
    asked = emulator.requests.count()
    lose_catalog(tmp_path)
    report = await rebuild(tmp_path)
    assert emulator.requests.count() == asked
    assert (report.recordings, report.unknown, report.unsound) == (count, 0, 0)
    assert await contents(tmp_path) == before
    assert files(tmp_path) == there, "nothing was renamed, nothing rewritten"
    checked = await verify(tmp_path)
    assert {finding.kind for finding in checked.findings} <= {"suspect"}, checked.findings
    asked = emulator.requests.count("recording")
    again = await archived(client, tmp_path, options, **beside)
    assert (again.archived, again.failed) == (0, 0)
    assert emulator.requests.count("recording") == asked
    after = files(tmp_path)
    assert not [name for name in after if "damaged" in name]
    assert {name for name in after if name.endswith("SHA256SUMS")} == {
        name for name in there if name.endswith("SHA256SUMS")
    }


@pytest.mark.parametrize("hash_ids", [False, True], ids=["plain", "hashed"])
async def test_without_the_index_sums_and_json_are_enough(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, hash_ids
):
    count = fill_with_all_kinds(emulator)
    options = RunOptions(hash_ids=hash_ids)
    await archived(client, tmp_path, options, **ALL)
    known = await catalogued(tmp_path)
    lose_catalog(tmp_path)
    for path in (tmp_path / INDEX_FOLDER).rglob("*.jsonl"):
        path.unlink()
    report = await rebuild(tmp_path)
    assert (report.recordings, report.unsound) == (count, 0)
    rebuilt = await catalogued(tmp_path)
    assert {path: (one.call_id, one.kind, one.sha256) for path, one in rebuilt.items()} == {
        path: (one.call_id, one.kind, one.sha256) for path, one in known.items()
    }
    asked = emulator.requests.count("recording")
    again = await archived(client, tmp_path, options, **ALL)
    assert (again.archived, again.failed) == (0, 0)
    assert emulator.requests.count("recording") == asked


@pytest.mark.parametrize("hash_ids", [False, True], ids=["plain", "hashed"])
async def test_a_run_over_a_lost_catalog_fetches_nothing_that_a_sum_vouches_for(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, hash_ids
):
    fill_with_all_kinds(emulator)
    options = RunOptions(hash_ids=hash_ids)
    await archived(client, tmp_path, options)
    there = files(tmp_path)
    lose_catalog(tmp_path)
    asked = emulator.requests.count("recording")
    report = await archived(client, tmp_path, RunOptions())  # its key tells how names were made
    assert emulator.requests.count("recording") == asked
    assert report.archived == report.failed == 0
    after = files(tmp_path)
    kept = [name for name in there if INDEX_FOLDER not in name and name != SETTINGS_NAME]
    assert {name: after[name] for name in kept} == {name: there[name] for name in kept}


async def test_a_file_that_its_sum_contradicts_is_not_taken_for_whole(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path)
    path = tmp_path / day_folder() / "recording-call_0.wav"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    lose_catalog(tmp_path)
    report = await rebuild(tmp_path)
    assert (report.recordings, report.unsound) == (1, 1)
    again = await archived(client, tmp_path)
    assert (again.archived, again.already_archived) == (1, 1)
    assert path.read_bytes() == emulator.expected_audio("call_0")


async def test_an_index_that_lies_is_not_believed(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    await archived(client, tmp_path)
    (index,) = (tmp_path / INDEX_FOLDER).rglob("*.jsonl")
    lines = index.read_text().splitlines()
    row = json.loads(lines[-1])
    news = [
        json.dumps(row | {"name": "../../../outside.wav", "call_id": "evil"}),
        json.dumps(row | {"name": "gone.wav", "call_id": "gone", "sha256": "0" * 64}),
        "{torn",
    ]
    index.write_text("\n".join([*lines, *news]))
    lose_catalog(tmp_path)
    await rebuild(tmp_path)
    known = await catalogued(tmp_path)
    assert {one.call_id for one in known.values() if one.state == "archived"} == {"call_0"}


async def test_settings_that_cannot_be_read_are_said(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    await archived(client, tmp_path, RunOptions(hash_ids=True))
    path = tmp_path / SETTINGS_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("[]")
    lose_catalog(tmp_path)
    with pytest.raises(CatalogError, match=r"archive\.json.*restore it from a backup"):
        await rebuild(tmp_path)


async def test_an_escaped_name_has_its_sum(tmp_path: Path):
    (tmp_path / "SHA256SUMS").write_text(f"\\{'a' * 64}  a\\nb\\\\c\n{'b' * 64} *plain\nnonsense\n")
    assert sums_in(tmp_path) == {"a\nb\\c": "a" * 64, "plain": "b" * 64}


KILLED = """
import os, signal, sqlite3, sys
from datetime import UTC, datetime
from pathlib import Path
from agentphone_async.archive import rebuild

folder = Path(sys.argv[1])

def die_at(step):
    left = step
    def watch(event, arguments):
        nonlocal left
        if event in {"os.rename", "os.link", "os.remove", "shutil.copyfile"}:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

def rows():
    with sqlite3.connect(folder / "catalog.sqlite3") as catalog:
        return [
            catalog.execute(f"SELECT call_id, path, sha256 FROM {table} ORDER BY path").fetchall()
            for table in ("recordings", "sidecars")
        ]

before = rows()
for step in range(60):
    child = os.fork()
    if not child:
        die_at(step)
        rebuild.rebuild_now(folder, datetime.now(UTC))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert rows() == before, step
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
print(step)
"""


async def test_a_kill_at_any_moment_keeps_either_catalog(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path, **ALL)
    before = await contents(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 2 <= int(done.stdout) < 59, "all moments were tried"
    assert await contents(tmp_path) == before
    assert (await verify(tmp_path)).clean
    await rebuild(tmp_path)
    assert await contents(tmp_path) == before


async def test_an_old_log_is_not_taken_for_the_new_catalogs(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await Archive(tmp_path).run(client)
    async with await Catalog.open(tmp_path) as catalog:
        await catalog.transaction(lambda db: db.execute("UPDATE calls SET status = 'odd'"))
        torn = path_of(tmp_path).with_name("catalog.sqlite3-wal").read_bytes()
        assert torn
    lose = path_of(tmp_path)
    lose.write_bytes(b"x" * 5000)
    lose.with_name("catalog.sqlite3-wal").write_bytes(torn)
    await rebuild(tmp_path)
    known = await catalogued(tmp_path)
    assert len(known) == 2
    assert lose.with_name("catalog.sqlite3.old-1-wal").read_bytes() == torn
    await execute(tmp_path, "SELECT 1")
