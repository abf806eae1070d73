"""``agentphone-async missing``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.archives import DAY, CommandLine, fill, make_archive


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    server: EmulatorThread,
) -> CommandLine:
    monkeypatch.setenv("AGENTPHONE_API_KEY", server.api_key)
    monkeypatch.setenv("AGENTPHONE_BASE_URL", server.base_url)
    return CommandLine(capsys)


@pytest.fixture
def archive(server: EmulatorThread, tmp_path: Path) -> Path:
    fill(server, 2)
    server.add_call(id="none", started_at=DAY, recording=False)
    make_archive(server, tmp_path)
    return tmp_path


def test_nothing_is_missing(run: CommandLine, archive: Path):
    ended = run("missing", archive, "--since", "2026-03-01")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "0 of 3 calls are missing; 2 archived, 1 without a recording\n"
    assert run("missing", archive, "--quiet").err == ""


def test_what_is_missing(run: CommandLine, archive: Path, server: EmulatorThread):
    server.add_call(id="new\x1b[31m", started_at=DAY)
    server.add_call(id="later")
    ended = run("missing", archive, "--date", "2026-03-14", "--tz", "UTC", "-o", "table")
    assert ended.code == 0
    assert len(ended.out.strip().splitlines()) == 3
    assert ended.out.rstrip().endswith("new\\x1b[31m")
    assert "1 of 4 calls is missing (1 unseen); 2 archived" in ended.err
    rows = [json.loads(line) for line in run("missing", archive, "--json").out.splitlines()]
    assert [(row["state"], row["call"]["id"]) for row in rows] == [
        ("unseen", "later"),
        ("unseen", "new\x1b[31m"),
    ]


def test_known_absences_on_demand(run: CommandLine, archive: Path):
    ended = run("missing", archive, "--absent", "--json")
    assert [json.loads(line)["state"] for line in ended.out.splitlines()] == ["no_recording"]


def test_a_list_that_is_not_whole_exits_with_1(
    run: CommandLine, archive: Path, server: EmulatorThread
):
    server.fail(route="list_calls", page="endless")
    ended = run("missing", archive)
    assert ended.code == 1
    assert "went in circles" in ended.err


def test_a_refused_key_exits_with_3(
    run: CommandLine, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGENTPHONE_API_KEY", "sk_wrong")
    ended = run("missing", archive)
    assert (ended.code, ended.out) == (3, "")
    assert "sk_wrong" not in ended.err
    monkeypatch.delenv("AGENTPHONE_API_KEY")
    assert run("missing", archive).code == 2


def test_no_archive_asks_nothing(run: CommandLine, tmp_path: Path, server: EmulatorThread):
    ended = run("missing", tmp_path / "none")
    assert ended.code == 4
    assert server.requests.count("list_calls") == 0


@pytest.mark.parametrize("arguments", [["--since", "last"], ["--since", "soon"]])
def test_bad_input_is_one_line(run: CommandLine, archive: Path, arguments: list[str]):
    ended = run("missing", archive, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
