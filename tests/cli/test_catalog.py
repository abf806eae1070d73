"""``agentphone-async catalog``: info, check and rebuild."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from agentphone_async.archive.catalog.schema import MIGRATIONS
from agentphone_async.emulator import EmulatorThread
from tests.support.archives import CommandLine, fill, make_archive


@pytest.fixture
def archive(server: EmulatorThread, tmp_path: Path) -> Path:
    fill(server, 2)
    make_archive(server, tmp_path, metadata=True)
    return tmp_path


def test_info(run: CommandLine, archive: Path):
    piped = run("catalog", "info", archive).out
    assert "calls\t2\narchived\t2\nbytes\t6488\n" in piped
    ended = run("catalog", "info", archive, "-o", "table")
    assert (ended.code, ended.err) == (0, "")
    told = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert (told["schema"], told["calls"], told["archived"]) == (str(len(MIGRATIONS)), "2", "2")
    assert (told["recordings"], told["sidecars"]) == ("6.5 kB", "2")
    assert told["run"].endswith("complete, 2 archived")
    found = json.loads(run("catalog", "info", archive, "--json").out)
    assert found["states"] == {"archived": 2}
    assert found["runs"][0]["complete"] is True


def test_a_sound_catalog(run: CommandLine, archive: Path):
    ended = run("catalog", "check", archive)
    assert (ended.code, ended.out, ended.err) == (0, "", "the catalog is sound\n")


def test_a_damaged_index_is_found(run: CommandLine, archive: Path):
    path = archive / "catalog.sqlite3"
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'calls_started'"
        ).fetchone()
    connection.close()
    body = bytearray(path.read_bytes())
    body[page * 4096 - 20 : page * 4096] = b"\xff" * 20
    path.write_bytes(body)
    ended = run("catalog", "check", archive)
    assert ended.code == 4
    assert "catalog rebuild" in ended.err


def test_rebuild(run: CommandLine, archive: Path):
    (archive / "catalog.sqlite3").write_bytes(b"torn" * 2000)
    ended = run("catalog", "rebuild", archive)
    assert (ended.code, ended.out) == (0, "")
    assert "the old catalog is kept as catalog.sqlite3" in ended.err
    assert "2 recordings are in the new catalog" in ended.err
    assert run("catalog", "check", archive).code == 0
    report = json.loads(run("catalog", "rebuild", archive, "--json").out)
    assert report["recordings"] == 2


@pytest.mark.parametrize("what", ["info", "check", "rebuild"])
def test_no_archive_is_one_line_and_4(run: CommandLine, tmp_path: Path, what: str):
    ended = run("catalog", what, tmp_path / "none")
    assert (ended.code, ended.out) == (4, "")
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("what", ["info", "check"])
def test_somebody_elses_catalog_is_left_alone(run: CommandLine, tmp_path: Path, what: str):
    path = tmp_path / "catalog.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE hers (x)")
    connection.close()
    before = path.read_bytes()
    ended = run("catalog", what, tmp_path)
    assert ended.code == 4
    assert "another program" in ended.err
    assert path.read_bytes() == before
