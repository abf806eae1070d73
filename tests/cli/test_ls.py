"""``agentphone-async ls``: a table for people, JSON for programs."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.archives import DAY, CommandLine, day_folder, fill, make_archive


@pytest.fixture
def archive(server: EmulatorThread, tmp_path: Path) -> Path:
    fill(server, 2, from_number="+1555\x1b[31m")
    server.add_call(
        id="no\nway", started_at=DAY - timedelta(days=1), recording=False, direction="outbound"
    )
    make_archive(server, tmp_path)
    return tmp_path


def test_why_a_call_failed_is_in_a_column(run: CommandLine, server: EmulatorThread, tmp_path: Path):
    (one,) = fill(server, 1)
    server.fail(route="recording", html=True)
    make_archive(server, tmp_path)
    head, row = (line.split("\t") for line in run("ls", tmp_path, "-o", "tsv").out.splitlines())
    told = dict(zip(head, row, strict=True))
    assert (told["state"], told["id"]) == ("failed", one)
    assert "is not audio" in told["last_error"]
    assert "-o tsv say why" in run("ls", tmp_path, "-o", "table").err


def test_a_table_for_people(run: CommandLine, archive: Path):
    ended = run("ls", archive, "-o", "table")
    assert ended.code == 0
    head, _, *rows = ended.out.strip().splitlines()
    assert head.split() == [
        "started",
        "direction",
        "from",
        "to",
        "length",
        "size",
        "state",
        "path",
        "or",
        "id",
    ]
    assert len(rows) == 3
    assert rows[0].rstrip().endswith("no\\nway")
    assert rows[1].rstrip().endswith(f"{day_folder()}/recording-call_0.wav")
    assert "3.2 kB" in rows[1]
    assert "\x1b" not in ended.out
    assert ended.err == "3 rows, 2 recordings, 6.5 kB\n"


def test_json_for_programs(run: CommandLine, archive: Path):
    ended = run("ls", archive, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert "\x1b" not in ended.out
    states = [json.loads(line)["state"] for line in ended.out.splitlines()]
    assert states == ["no_recording", "archived", "archived"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--state", "archived"], 2),
        (["--state", "archived", "--state", "no_recording"], 3),
        (["--state", "failed"], 0),
        (["--since", "2026-03-14", "--tz", "UTC"], 2),
        (["--until", "2026-03-14", "--tz", "UTC"], 1),
        (["--date", "2026-03-13", "--tz", "UTC"], 1),
        (["--direction", "outbound"], 1),
        (["--status", "failed"], 0),
        (["--versions"], 3),
    ],
)
def test_filters(run: CommandLine, archive: Path, arguments: list[str], expected: int):
    ended = run("ls", archive, "--json", *arguments)
    assert ended.code == 0
    assert len([line for line in ended.out.splitlines() if line]) == expected


def test_a_table_in_parts_has_one_head(
    run: CommandLine, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    from agentphone_async.archive import query as listing

    monkeypatch.setitem(listing.entries.__kwdefaults__, "at_once", 1)
    whole = run("ls", archive).out
    assert whole.count("started") == 1
    lines = [line for line in whole.splitlines() if "recording-" in line]
    assert len({line.index("2026/") for line in lines}) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--state", "lost"], 2),
        (["--since", "10x"], 2),
        (["--since", "last"], 2),
        (["--since", "today", "--date", "today"], 2),
        (["--tz", "Mars/Base"], 2),
    ],
)
def test_bad_input_is_one_line(run: CommandLine, archive: Path, arguments: list[str], code: int):
    ended = run("ls", archive, *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert len(ended.err.splitlines()) == 1


def test_no_archive(run: CommandLine, tmp_path: Path):
    ended = run("ls", tmp_path / "none")
    assert (ended.code, ended.out) == (4, "")
    assert "no archive" in ended.err
