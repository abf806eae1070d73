"""``forget``, ``prune``, ``hold`` and ``verify --accept``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.archives import CommandLine, day_folder, execute, fill, make_archive


@pytest.fixture
def archive(server: EmulatorThread, tmp_path: Path) -> Path:
    fill(server, 3)
    make_archive(server, tmp_path / "archive", metadata=True)
    return tmp_path / "archive"


@pytest.fixture(autouse=True)
def account(server: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPHONE_BASE_URL", server.base_url)
    monkeypatch.setenv("AGENTPHONE_API_KEY", server.api_key)


def test_forget_is_dry_until_told_otherwise(run: CommandLine, archive: Path):
    path = archive / day_folder() / "recording-call_1.wav"
    ended = run("forget", archive, "call_1")
    assert ended.code == 0
    assert ended.out.startswith("would be erased: 1 call, 1 recording, 1 sidecar")
    assert "add --yes" in ended.out
    assert path.exists()
    ended = run("forget", archive, "call_1", "--yes", "--json")
    said = json.loads(ended.out)
    assert (ended.code, said["dry_run"], said["calls"], said["recordings"]) == (0, False, 1, 1)
    assert said["bytes"] > 0
    assert "call_1" not in ended.out
    assert not path.exists()
    listed = run("ls", archive, "--state", "erased", "--json")
    assert json.loads(listed.out)["state"] == "erased"
    assert "call_1" not in listed.out


def test_what_was_forgotten_is_fetched_into_the_archive_by_nobody(run: CommandLine, archive: Path):
    run("forget", archive, "call_1", "--yes")
    for dest in (archive, archive / day_folder()):
        ended = run("fetch", "call_1", "call_2", "-d", dest)
        assert ended.code == 1
        assert "was erased from this archive for good" in ended.err
    for arguments in (
        ("archive", archive, "--since", "1970-01-01", "--refresh", "--recheck"),
        ("verify", archive, "--repair"),
        ("catalog", "rebuild", archive),
    ):
        assert run(*arguments).code in {0, 1}
        assert not [path for path in archive.rglob("*") if "call_1" in path.name]


def test_hold_wins_and_release_lets_go(run: CommandLine, archive: Path, tmp_path: Path):
    ids = tmp_path / "ids"
    ids.write_text("# the first\ncall_0\n")
    assert "1 call held" in run("hold", archive, "--from-file", ids).err
    assert run("hold", archive, "--list").out == "call_0\n"
    refused = run("forget", archive, "call_0", "call_1", "--yes")
    assert refused.code == 1
    assert "call_0 is held" in refused.err
    ended = run("prune", archive, "--older-than", "1d", "--keep", "call=call_2", "--yes", "--json")
    assert json.loads(ended.out)["held"] == 1
    left = {path.name for path in archive.rglob("*.wav")}
    assert left == {"recording-call_0.wav", "recording-call_2.wav"}
    assert run("hold", archive, "--list", "-o", "tsv").out == "id\ncall_0\n"
    assert run("hold", archive, "call_0", "--release").code == 0
    assert run("hold", archive, "--list") == type(refused)(0, "", "no calls are held\n")
    assert run("prune", archive, "--older-than", "1d", "--yes", "-q").out == ""
    assert not list(archive.rglob("*.wav"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("forget", "ARCHIVE"), "name at least one CALL_ID"),
        (("forget", "ARCHIVE", "--from-file", "/nowhere"), "cannot read '/nowhere'"),
        (("prune", "ARCHIVE"), "--older-than"),
        (("prune", "ARCHIVE", "--older-than", "1d", "--keep", "x"), "is not FIELD=VALUE"),
        (("prune", "ARCHIVE", "--older-than", "1d", "--keep", "x=y"), "cannot be kept by 'x'"),
        (("verify", "ARCHIVE", "--accept", "call_0", "--repair"), "exclude each other"),
    ],
)
def test_what_cannot_be_meant_is_refused(run: CommandLine, archive: Path, arguments, said):
    ended = run(*(str(archive) if one == "ARCHIVE" else one for one in arguments))
    assert ended.code == 2, ended
    assert said in ended.err


def test_no_archive_is_a_destination_problem(run: CommandLine, tmp_path: Path):
    for command in (("forget", tmp_path, "x", "--yes"), ("hold", tmp_path, "x")):
        assert run(*command).code == 4
    assert run("prune", tmp_path, "--older-than", "1d").code == 4
    assert list(tmp_path.iterdir()) == []


def test_what_is_accepted_is_not_told_again(run: CommandLine, archive: Path):
    statement = "UPDATE recordings SET state = 'suspect' WHERE call_id = 'call_0'"
    asyncio.run(execute(archive, statement))
    gone = archive / day_folder() / "recording-call_1.wav"
    gone.unlink()
    altered = archive / day_folder() / "recording-call_2.json"
    altered.write_text("{}")
    assert run("verify", archive).code == 1
    ended = run("verify", archive, *(
        word for one in range(3) for word in ("--accept", f"call_{one}")
    ))  # fmt: skip
    assert ended.code == 0
    assert ended.out.count("; accepted") == 3
    clean = run("verify", archive, "--json")
    assert clean.code == 0
    assert json.loads(clean.out)["accepted"] == 3
    altered.write_text("[]")
    again = run("verify", archive)
    assert again.code == 1, "what was accepted was another finding"
    assert again.out.startswith("altered:")
