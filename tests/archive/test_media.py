"""Catalogs where they lie: read-only places, file systems that lack things, files that vanish."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath

import pytest

from agentphone_async.archive.catalog import opening, schema
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import connect, connected, disconnect, path_of
from agentphone_async.archive.catalog.recordings import (
    current_recordings,
    recordings_after,
    store_recordings,
)
from agentphone_async.archive.lock import LOCK_NAME, ArchiveLock
from agentphone_async.errors import CatalogError
from tests.archive.test_catalog import row

WAL, PLAIN = b"\x02\x02", b"\x01\x01"


def mode_of(folder: Path) -> bytes:
    return path_of(folder).read_bytes()[18:20]


def make(folder: Path, call_id: str = "a") -> None:
    with connected(folder, write=True) as db:
        store_recordings(db, [row(call_id, path=PurePosixPath("a.wav"), size=1, sha256="00")])


def ids(folder: Path) -> set[str]:
    with connected(folder, write=False) as db:
        return {one.call_id for one in recordings_after(db)}


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may look into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(work: Callable[[], object]) -> None:
    """Do something without any rights to write, in a process of its own."""
    child = os.fork()
    if not child:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def seal(folder: Path) -> list[str]:
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    return sorted(os.listdir(folder))


def test_a_closed_catalog_is_one_plain_file(tmp_path: Path):
    make(tmp_path)
    assert os.listdir(tmp_path) == [path_of(tmp_path).name]
    assert mode_of(tmp_path) == PLAIN
    assert ids(tmp_path) == {"a"}
    assert os.listdir(tmp_path) == [path_of(tmp_path).name]


def test_the_last_of_several_leaves_it_plain(tmp_path: Path):
    make(tmp_path)
    first, second = connect(tmp_path, write=True), connect(tmp_path, write=True)
    reader = connect(tmp_path, write=False)
    disconnect(first)
    assert mode_of(tmp_path) == WAL
    assert current_recordings(reader, ["a"])
    disconnect(reader)
    disconnect(second)
    assert mode_of(tmp_path) == PLAIN


@pytest.mark.parametrize("kind", ["plain", "logged", "at work"])
def test_read_only_places_are_read_and_left_as_they_are(place: Path, kind: str):
    archive = place / "archive"
    make(archive)
    if kind != "plain":
        with closing(sqlite3.connect(path_of(archive))) as db:
            db.execute("PRAGMA journal_mode = WAL")
    if kind == "at work":  # a snapshot was taken while a run wrote
        snapshot = place / "snapshot"
        with closing(sqlite3.connect(path_of(archive), isolation_level=None)) as db:
            db.execute("UPDATE recordings SET size = 77")
            shutil.copytree(archive, snapshot)
        (snapshot / f"{path_of(snapshot).name}-shm").unlink()
        archive = snapshot
    before = seal(archive)

    def look() -> None:
        with connected(archive, write=False) as db:
            (found,) = recordings_after(db)
        assert found.size == (77 if kind == "at work" else 1)
        assert sorted(os.listdir(archive)) == before

    as_nobody(look)
    archive.chmod(0o755)


def test_a_logged_catalog_that_is_only_read_gets_no_log_beside_it(tmp_path: Path):
    make(tmp_path)
    with closing(sqlite3.connect(path_of(tmp_path))) as db:
        db.execute("PRAGMA journal_mode = WAL")
    assert ids(tmp_path) == {"a"}
    assert os.listdir(tmp_path) == [path_of(tmp_path).name]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_PROTOCOL])
async def test_without_shared_memory_maps_the_catalog_is_held_for_the_run_alone(
    tmp_path: Path, monkeypatch, code: int
):
    def no_wal(_connection):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(opening, "_use_wal", no_wal)
    async with await Catalog.open(tmp_path) as catalog:
        await catalog.transaction(store_recordings, [row("a")])
        assert set(await catalog.run(current_recordings, ["a"])) == {"a"}
        assert await catalog.run(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == (
            "delete",
        )
        other = sqlite3.connect(path_of(tmp_path), timeout=0)
        with closing(other), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO listed VALUES (1)")
    assert ids(tmp_path) == {"a"}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("SQLITE_IOERR_SHMMAP", "no shared memory maps"),
        ("SQLITE_IOERR_LOCK", "no file locks"),
        ("SQLITE_IOERR_FSYNC", "cannot force files to the disk"),
        ("SQLITE_PROTOCOL", "locks do not work"),
        ("SQLITE_IOERR_WRITE", "cannot write inside of a file"),
    ],
)
def test_what_a_file_system_lacks_is_said(tmp_path: Path, name: str, line: str):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    said = str(opening.catalog_error(error, tmp_path))
    assert line in said
    assert "rebuild" not in said


@pytest.mark.parametrize("what", ["removed", "replaced"])
async def test_a_catalog_that_vanishes_under_a_run_is_noticed(tmp_path: Path, what: str):
    async with await Catalog.open(tmp_path) as catalog:
        await catalog.transaction(store_recordings, [row("a")])
        if what == "replaced":
            (tmp_path / "other").write_bytes(path_of(tmp_path).read_bytes())
            (tmp_path / "other").replace(path_of(tmp_path))
        else:
            path_of(tmp_path).unlink()
        with pytest.raises(CatalogError, match="replaced or removed"):
            await catalog.transaction(store_recordings, [row("b")])


async def test_a_catalog_of_the_first_schema_is_read_as_if_it_were_new(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    with connected(tmp_path, write=True) as db:
        db.execute(
            "INSERT INTO recordings VALUES ('a', 1, 'archived', 'a.wav', 9, '00', 'audio/wav', "
            "8000, 1, 2.5, NULL, 1, '2026-11-21T08:30:00Z', '2026-11-21T08:30:00Z', NULL, NULL)"
        )
    monkeypatch.undo()
    before = path_of(tmp_path).read_bytes()
    async with await Catalog.open(tmp_path, write=False) as catalog:
        assert set(await catalog.run(current_recordings, ["a"])) == {"a"}
        for name in ("runs", "pending", "listed", "erased", "archive", "current_recordings"):
            await catalog.run(lambda db, n=name: db.execute(f"SELECT * FROM {n}").fetchall())
    assert path_of(tmp_path).read_bytes() == before


def test_a_lock_that_is_a_hard_link_is_not_written_to(tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("text of somebody")
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / LOCK_NAME).hardlink_to(precious)
    with ArchiveLock(tmp_path / "archive") as lock:
        lock.acquire()
    assert precious.read_text() == "text of somebody"


def test_a_file_system_that_loses_what_was_written_is_not_called_a_damaged_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As fusefat does, where a database that was just made is malformed when it is read again."""

    def lost(connection):
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    monkeypatch.setattr(opening, "_use_wal", lost)
    with pytest.raises(CatalogError, match="gives other bytes back than were written") as caught:
        connect(tmp_path, write=True)
    assert "rebuild" not in str(caught.value)
    assert os.listdir(tmp_path) == []
