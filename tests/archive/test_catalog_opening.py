"""Catalogs as files: what is not ours, damaged or full is said; older ones are migrated."""

from __future__ import annotations

import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async.archive.catalog import calls as calls_table
from agentphone_async.archive.catalog import opening as connection_module
from agentphone_async.archive.catalog import recordings as recordings_table
from agentphone_async.archive.catalog import schema, settings
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.migrate import migrate
from agentphone_async.archive.catalog.opening import connect, path_of
from agentphone_async.archive.catalog.rows import (
    RecordingRow,
    raw_text,
    stamp,
)
from agentphone_async.archive.catalog.schema import Migration
from agentphone_async.errors import CatalogError
from agentphone_async.models import Call

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def row(call_id: str, state: str = "archived", **fields: object) -> RecordingRow:
    return RecordingRow(call_id, state, NOW, NOW, **fields)  # type: ignore[arg-type]


def call(call_id: str, **fields: object) -> Call:
    return Call.from_json({"id": call_id, "status": "completed", **fields})


def spoil(folder: Path, how: str) -> Path:
    path = path_of(folder)
    folder.mkdir(exist_ok=True)
    if how == "other program":
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE theirs (x)")
        db.close()
    elif how == "no database":
        path.write_text("a shopping list, and it is long enough to look at: " + "milk, " * 100)
    elif how == "short":
        path.write_bytes(b"SQLite format 3\0")
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        (folder / "elsewhere").write_bytes(b"")
        path.symlink_to("elsewhere")
    elif how == "newer":
        connect(folder, write=True).close()
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 999")
        db.close()
    return path


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("other program", "belongs to another program"),
        ("no database", "not a catalog of ours"),
        ("short", "not a catalog of ours"),
        ("folder", "is not a file"),
        ("link", "is not a file"),
        ("newer", "update agentphone-async"),
    ],
)
@pytest.mark.parametrize("write", [True, False])
async def test_what_is_not_ours_is_refused_untouched(tmp_path, how, says, write):
    path = spoil(tmp_path / "a", how)
    before = sorted((str(p), p.read_bytes() if p.is_file() else b"") for p in path.parent.iterdir())
    with pytest.raises(CatalogError, match=says) as caught:
        await Catalog.open(path.parent, write=write)
    assert "\n" not in str(caught.value)
    after = sorted((str(p), p.read_bytes() if p.is_file() else b"") for p in path.parent.iterdir())
    assert before == after


async def test_there_is_nothing_to_read_where_no_archive_is(tmp_path):
    with pytest.raises(CatalogError, match="no archive"):
        await Catalog.open(tmp_path, write=False)
    assert list(tmp_path.iterdir()) == []


async def test_a_catalog_that_is_damaged_inside_says_so(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:
        rows = [row(f"call{n:05}", path=PurePosixPath(f"{n}.wav")) for n in range(2000)]
        await catalog.transaction(recordings_table.store_recordings, rows)
    path = path_of(tmp_path)
    data = bytearray(path.read_bytes())
    for start in range(4096 * 4, len(data) - 4096, 4096):
        data[start : start + 512] = os.urandom(512)
    path.write_bytes(bytes(data))
    with pytest.raises(CatalogError, match="catalog rebuild"):
        async with await Catalog.open(tmp_path) as catalog:
            await catalog.run(recordings_table.recordings_after, None, 5000)


async def test_a_torn_write_ahead_log_costs_rows_and_nothing_else(tmp_path):
    async with await Catalog.open(tmp_path / "a") as catalog:
        for n in range(20):
            await catalog.transaction(
                recordings_table.store_recordings, [row(f"c{n:02}", "failed")]
            )
        shutil.copytree(tmp_path / "a", tmp_path / "killed")  # as a power cut leaves it
    log = tmp_path / "killed" / "catalog.sqlite3-wal"
    torn = log.read_bytes()
    log.write_bytes(torn[: len(torn) * 2 // 3])
    (tmp_path / "killed" / "catalog.sqlite3-shm").unlink()
    async with await Catalog.open(tmp_path / "killed") as catalog:
        (check,) = await catalog.run(lambda db: db.execute("PRAGMA integrity_check").fetchone())
        assert check == "ok"
        kept = await catalog.run(recordings_table.recordings_after)
        assert 0 < len(kept) < 20
        assert [one.call_id for one in kept] == [f"c{n:02}" for n in range(len(kept))]


async def test_an_empty_file_is_a_catalog_that_was_never_begun(tmp_path):
    path_of(tmp_path).touch()
    async with await Catalog.open(tmp_path) as catalog:
        assert await catalog.run(recordings_table.count_states) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
async def test_a_catalog_without_write_permission_is_refused(tmp_path):
    (await Catalog.open(tmp_path)).path.chmod(0o400)
    with pytest.raises(CatalogError, match="may not be written"):
        await Catalog.open(tmp_path)


async def test_a_catalog_that_turns_read_only_is_said_in_one_line(tmp_path, monkeypatch):
    await (await Catalog.open(tmp_path)).aclose()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CatalogError, match="may not be written"):
        await Catalog.open(tmp_path)


async def test_a_full_disk_is_called_that(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:
        await catalog.run(lambda db: db.execute("PRAGMA max_page_count = 20").fetchone())
        rows = [row(f"call{n:05}", path=PurePosixPath(f"{n}.wav")) for n in range(5000)]
        with pytest.raises(CatalogError, match="disk is full"):
            await catalog.transaction(recordings_table.store_recordings, rows)
        assert await catalog.run(recordings_table.count_states) == {}


async def test_a_migration_and_its_record_share_a_transaction(tmp_path, monkeypatch):
    await (await Catalog.open(tmp_path)).aclose()
    good = Migration("second", ("ALTER TABLE calls ADD COLUMN more TEXT",))
    bad = Migration("third", ("CREATE TABLE half (x)", "INSERT INTO nowhere VALUES (1)"))
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, good, bad))
    with pytest.raises(CatalogError):
        await Catalog.open(tmp_path)
    known = len(schema.MIGRATIONS) - 1
    db = sqlite3.connect(path_of(tmp_path))
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    assert "half" not in tables
    assert db.execute("SELECT max(version) FROM migrations").fetchone() == (known,)
    assert db.execute("PRAGMA user_version").fetchone() == (known,)
    db.close()
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:known])
    async with await Catalog.open(tmp_path) as catalog:
        names = await catalog.run(
            lambda db: db.execute("SELECT name FROM migrations ORDER BY version").fetchall()
        )
        assert names[0] == ("first",)
        assert names[-1] == ("second",)


class TestSwitchingToTheLog:
    """Two archivers begin one archive at once; the other one is in its first transaction."""

    @pytest.fixture
    def other(self, tmp_path):
        path_of(tmp_path).touch()
        writing = sqlite3.connect(path_of(tmp_path), isolation_level=None)
        migrate(writing, "new")
        writing.execute("BEGIN IMMEDIATE")
        yield writing
        writing.close()

    def test_it_is_waited_for(self, other, tmp_path, monkeypatch):
        monkeypatch.setattr(connection_module.time, "sleep", lambda _: other.execute("ROLLBACK"))
        mine = connect(tmp_path, write=True)
        assert mine.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        mine.close()

    def test_but_not_for_ever(self, other, tmp_path, monkeypatch):
        slept = []
        monkeypatch.setattr(connection_module.time, "sleep", slept.append)
        monkeypatch.setattr(connection_module.time, "monotonic", lambda: 10.0 * len(slept))
        with pytest.raises(CatalogError, match="held by another process"):
            connect(tmp_path, write=True)
        assert len(slept) == 4


def test_two_processes_may_migrate_at_once(tmp_path):
    first = connect(tmp_path, write=True)
    second = connect(tmp_path, write=True)
    assert migrate(first, "x") == migrate(second, "x") == 0
    first.close()
    second.close()


async def test_a_catalog_of_the_first_schema_is_migrated_with_all_that_it_knows(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    await (await Catalog.open(tmp_path)).aclose()
    monkeypatch.undo()
    db = sqlite3.connect(path_of(tmp_path))
    seen = stamp(NOW)
    call_json = raw_text({"id": "a", "fromNumber": "+1555", "toNumber": "+1666", "agentId": "agt"})
    db.executescript(f"""
        INSERT INTO calls VALUES ('a', '{call_json}', '{seen}', NULL, 'completed', 'inbound', 3.5,
                                  '{seen}', '{seen}');
        INSERT INTO runs (id, started, complete) VALUES (4, '{seen}', 1);
        INSERT INTO recordings VALUES
          ('a', 1, 'archived', 'a.wav', 9, '00', 'audio/wav', 8000, 1, 2.5, NULL, 1,
           '{seen}', '{seen}', NULL, 4),
          ('a', 2, 'archived', 'a.v2.wav', 10, '01', 'audio/wav', 8000, 1, 2.6, NULL, 1,
           '{seen}', '{seen}', NULL, 3),
          ('nobody', 1, 'failed', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1,
           '{seen}', '{seen}', 'why', 4);
        INSERT INTO sidecars VALUES ('a', 'metadata', 'a.json', 2, '02', '{seen}');
        INSERT INTO owed VALUES ('else', 'transcript', '{seen}');
        INSERT INTO run_folders VALUES (4, 'x'), (3, 'y');
        INSERT INTO settings VALUES ('hash_key', x'0102');
    """)
    db.close()
    async with await Catalog.open(tmp_path) as catalog:

        def everything(connection):
            def ask(query):
                return connection.execute(query).fetchall()

            assert ask("PRAGMA foreign_key_check") == []
            assert ask("PRAGMA foreign_keys") == [(1,)]
            assert ask("SELECT call_id, version, run FROM recordings") == [
                ("a", 1, 4), ("a", 2, None), ("nobody", 1, 4)
            ]  # fmt: skip
            assert ask("SELECT call_id, path FROM current_recordings") == [
                ("a", "a.v2.wav"), ("nobody", None)
            ]  # fmt: skip
            assert ask(
                "SELECT call_id, from_number, to_number, agent_id, call_duration, audio_duration, "
                "state FROM archive ORDER BY call_id"
            ) == [
                ("a", "+1555", "+1666", "agt", 3.5, 2.6, "archived"),
                ("else", None, None, None, None, None, "pending"),
                ("nobody", None, None, None, None, None, "failed"),
            ]
            assert ask("SELECT * FROM run_folders") == [(4, "x")]
            assert ask("SELECT id, complete, listing FROM runs") == [(4, 1, "full")]

        await catalog.run(everything)
        assert await catalog.run(calls_table.pending_of, ["else"]) == {"else"}
        assert await catalog.run(settings.known_hash_key) == b"\1\2"
