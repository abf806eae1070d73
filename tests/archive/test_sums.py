"""``SHA256SUMS``: what coreutils say to it, and when it is written."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async import AsyncAgentPhone
from agentphone_async.archive.files import sidecar_files
from agentphone_async.archive.files.evidence import sums_in, sums_line
from agentphone_async.archive.files.sidecar_files import SidecarFiles
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.template import Template
from agentphone_async.emulator import Emulator
from tests.support.archives import archived, day_folder, execute, fill, sha256sum_accepts

FOLDER = day_folder()
needs_coreutils = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum")


@needs_coreutils
async def test_sha256sum_accepts_a_folder_with_all_that_lies_in_it(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 3)
    await archived(client, tmp_path, metadata=True, transcripts=True)
    folder = tmp_path / FOLDER
    lines = (folder / SUMS_NAME).read_text().splitlines()
    names = [line.split("  ", 1)[1] for line in lines]
    assert names == sorted(path.name for path in folder.iterdir() if path.name != SUMS_NAME)
    assert len(names) == 12
    assert sha256sum_accepts(folder)
    with (folder / names[0]).open("ab") as file:
        file.write(b"!")
    assert not sha256sum_accepts(folder)


@needs_coreutils
@pytest.mark.parametrize("name", ["plain", "back\\slash", "new\nline", " spaces ", "-dash", "grün"])
def test_odd_names_are_written_as_coreutils_have_it(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"x")
    line = sums_line(name, hashlib.sha256(b"x").hexdigest())
    (tmp_path / SUMS_NAME).write_bytes(line.encode())
    assert sha256sum_accepts(tmp_path)
    told = subprocess.run(
        ["sha256sum", "--", name], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert told == line.encode()


async def test_only_folders_that_have_changed_are_written(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path)
    sums = tmp_path / FOLDER / SUMS_NAME
    before = sums.stat().st_ino
    await archived(client, tmp_path)
    assert sums.stat().st_ino == before
    emulator.add_call(id="later", started_at=emulator.calls[0].started_at, duration=0.2)
    await archived(client, tmp_path)
    assert len(sums.read_text().splitlines()) == 3


async def test_the_next_run_makes_up_for_a_killed_one(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path, sums=False)
    assert not (tmp_path / FOLDER / SUMS_NAME).exists()
    await archived(client, tmp_path)
    assert len((tmp_path / FOLDER / SUMS_NAME).read_text().splitlines()) == 2


async def test_what_changed_long_ago_is_not_looked_at(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    await archived(client, tmp_path)
    await execute(tmp_path, "UPDATE recordings SET updated = '2020-01-01T00:00:00.000000Z'")
    (tmp_path / FOLDER / SUMS_NAME).unlink()
    await archived(client, tmp_path)
    assert not (tmp_path / FOLDER / SUMS_NAME).exists()


async def test_what_is_not_on_the_disk_any_more_has_no_line(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 2)
    await archived(client, tmp_path)
    await execute(tmp_path, "UPDATE recordings SET state = 'failed' WHERE call_id = 'call_0'")
    async with SidecarFiles(tmp_path) as files:
        await files.finish_sums([FOLDER])
    assert len((tmp_path / FOLDER / SUMS_NAME).read_text().splitlines()) == 2, "it is there still"
    (tmp_path / FOLDER / "recording-call_0.wav").unlink()
    async with SidecarFiles(tmp_path) as files:
        await files.finish_sums([FOLDER])
    (line,) = (tmp_path / FOLDER / SUMS_NAME).read_text().splitlines()
    assert line.endswith("  recording-call_1.wav")


@pytest.mark.parametrize("template", ["{call_id}", "a/{call_id}", "{call_id}/audio"])
async def test_folders_do_not_mix(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, template: str
):
    fill(emulator, 3)
    emulator.add_call(id="call_0a", duration=0.2, started_at=emulator.calls[0].started_at)
    options = RunOptions(template=Template.parse(template))
    await archived(client, tmp_path, options)
    for sums in tmp_path.rglob(SUMS_NAME):
        names = [line.split("  ")[1] for line in sums.read_text().splitlines()]
        assert names == sorted(path.name for path in sums.parent.glob("*.wav"))
    assert len(list(tmp_path.rglob(SUMS_NAME))) == (4 if template.endswith("audio") else 1)


async def test_a_folder_above_others_has_its_own_files_only(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    await archived(client, tmp_path)
    emulator.add_call(id="top", duration=0.2)
    await archived(client, tmp_path, RunOptions(template=Template.parse("{call_id}")))
    assert (tmp_path / SUMS_NAME).read_text().splitlines()[0].endswith("  top.wav")
    assert len((tmp_path / SUMS_NAME).read_text().splitlines()) == 1


async def test_a_neighbour_with_a_longer_name_is_not_in_the_folder(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path
):
    fill(emulator, 1)
    await archived(client, tmp_path, RunOptions(template=Template.parse("x/{call_id}")))
    emulator.add_call(id="other", duration=0.2)
    await archived(client, tmp_path, RunOptions(template=Template.parse("x0{call_id}")))
    async with SidecarFiles(tmp_path) as files:
        await files.write_sums([PurePosixPath("x")])
    (line,) = (tmp_path / "x" / SUMS_NAME).read_text().splitlines()
    assert line.endswith("  call_0.wav")


async def test_a_long_list_is_not_held_in_memory(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sidecar_files, "_IN_MEMORY", 100)
    fill(emulator, 3)
    await archived(client, tmp_path)
    assert len((tmp_path / FOLDER / SUMS_NAME).read_text().splitlines()) == 3
    assert (tmp_path / FOLDER / SUMS_NAME).stat().st_mode & 0o777 == 0o600
    assert not [name for name in os.listdir(tmp_path / FOLDER) if name.endswith(".part")]
    before = (tmp_path / FOLDER / SUMS_NAME).stat().st_ino
    await archived(client, tmp_path)
    assert (tmp_path / FOLDER / SUMS_NAME).stat().st_ino == before


async def test_folders_of_no_archive_files_get_nothing(tmp_path: Path):
    async with SidecarFiles(tmp_path) as files:
        assert await files.finish_sums([PurePosixPath("empty")]) == 0
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{sum}  a.wav\r\n{sum} *b.wav\r\n", {"a.wav", "b.wav"}),
        ("\ufeff{SUM}  a.wav\n", {"a.wav"}),
        ("# mine\n\n{sum}  a.wav\nnonsense\n{sum}", {"a.wav"}),
        ("\\{sum}  a\\\\b\\r.wav\n{sum}  plain\\n.wav\n", {"a\\b\r.wav", "plain\\n.wav"}),
    ],
)
def test_sums_that_editors_have_rewritten_are_read(tmp_path: Path, text: str, names: set[str]):
    sha256 = "ab" * 32
    written = text.replace("{sum}", sha256).replace("{SUM}", sha256.upper())
    (tmp_path / SUMS_NAME).write_bytes(written.encode())
    assert sums_in(tmp_path) == dict.fromkeys(names, sha256)
