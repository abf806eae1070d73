"""``agentphone-async export``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.archives import CommandLine, fill, make_archive
from tests.support.commands import process


@pytest.fixture
def archive(server: EmulatorThread, tmp_path: Path) -> Path:
    fill(server, 3, agent_name="=2+5")
    folder = tmp_path / "archive"
    make_archive(server, folder)
    return folder


def test_csv_is_the_default(run: CommandLine, archive: Path):
    ended = run("export", archive)
    assert (ended.code, ended.err) == (0, "")
    rows = list(csv.DictReader(ended.out.splitlines()))
    assert [row["call_id"] for row in rows] == ["call_0", "call_1", "call_2"]
    assert {row["agent_name"] for row in rows} == {"'=2+5"}


def test_jsonl(run: CommandLine, archive: Path):
    ended = run("export", archive, "--format", "jsonl", "--state", "archived")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert {row["call"]["agentName"] for row in rows} == {"=2+5"}


def test_into_a_file(run: CommandLine, archive: Path, tmp_path: Path):
    output = tmp_path / "out.csv"
    ended = run("export", archive, "--output", output)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert output.read_text() == run("export", archive, "--output", "-").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--format", "xml"], 2), (["--output", "."], 2), (["--output", "/dev/null/x"], 2)],
)
def test_bad_input_is_one_line(run: CommandLine, archive: Path, arguments: list[str], code: int):
    ended = run("export", archive, *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("archive/out.csv", "is inside the archive"),
        ("archive/2026/catalog.csv", "is inside the archive"),
        ("link/out.csv", "is inside the archive"),
        ("archive/../archive/catalog.sqlite3", "is inside the archive"),
        ("none/out.csv", "there is no folder"),
        ("archive/catalog.sqlite3/out.csv", "there is no folder"),
    ],
)
def test_a_file_in_the_archive_or_nowhere_is_refused(
    run: CommandLine, archive: Path, tmp_path: Path, output: str, message: str
):
    (tmp_path / "link").symlink_to(archive / "2026")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    ended = run("export", archive, "--output", tmp_path / output)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
    assert message in ended.err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_no_archive_leaves_no_file(run: CommandLine, tmp_path: Path):
    ended = run("export", tmp_path / "none", "--output", tmp_path / "out.csv")
    assert ended.code == 4
    assert not list(tmp_path.iterdir())


def test_a_reader_that_leaves_early_is_no_error(archive: Path):
    with process("export", archive) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
        running.stdout = None


def test_excel_knows_utf_8_by_its_mark(run: CommandLine, archive: Path, tmp_path: Path):
    to = tmp_path / "calls.csv"
    assert run("export", archive, "--excel", "--to", to).code == 0
    assert to.read_bytes().startswith(b"\xef\xbb\xbfcall_id,")
    refused = run("export", archive, "--excel", "--format", "jsonl")
    assert refused.code == 2
    assert "--excel is for CSV" in refused.err


def test_parquet_goes_into_a_folder(run: CommandLine, archive: Path, tmp_path: Path):
    pytest.importorskip("pyarrow")
    assert run("export", archive, "--format", "parquet").code == 2
    to = tmp_path / "calls.parquet"
    assert run("export", archive, "--format", "parquet", "--to", to, "--ids").code == 0
    assert [path.name for path in to.iterdir()] == ["date=2026-03-14"]
    assert run("export", archive, "--to", to).code == 2, "a folder is not a file"
