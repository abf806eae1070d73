"""An archive that somebody has tampered with: whatever is done to it, nothing outside is touched."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

from agentphone_async import AsyncAgentPhone, Fsync
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.erase import forget, hold, prune
from agentphone_async.archive.export import export
from agentphone_async.archive.files.evidence import INDEX_FOLDER
from agentphone_async.archive.lock import LOCK_NAME
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.archive.options import RunOptions
from agentphone_async.archive.rebuild import rebuild
from agentphone_async.archive.repair import repair
from agentphone_async.archive.verify import verify
from agentphone_async.emulator import Emulator
from agentphone_async.errors import AgentPhoneError
from agentphone_async.sinks.erased import ERASED_NAME, SETTINGS_NAME
from tests.support.archives import archived, day_folder, fill

FOLDER = day_folder()
CATALOG = "catalog.sqlite3"
PRECIOUS = {"precious.wav": b"RIF", "call.json": b"{}", "text": b"mine"}


def row(statement: str) -> Callable[[Path, Path], None]:
    """A lie in the catalog; ``{out}`` is the folder outside."""

    def trick(archive: Path, outside: Path) -> None:
        with closing(sqlite3.connect(archive / CATALOG, isolation_level=None)) as db:
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute(statement.replace("{out}", str(outside)))

    return trick


def link(name: str | Path, to: str) -> Callable[[Path, Path], None]:
    """Something of the archive is a link to something outside, or a new one is."""

    def trick(archive: Path, outside: Path) -> None:
        place = archive / name
        target = outside / to
        if place.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.move(place, target)
        elif place.exists() and to not in PRECIOUS:
            shutil.move(place, target)
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    return trick


def hard_link(name: str, to: str) -> Callable[[Path, Path], None]:
    def trick(archive: Path, outside: Path) -> None:
        (archive / name).unlink(missing_ok=True)
        (archive / name).hardlink_to(outside / to)

    return trick


def lying_index(archive: Path, outside: Path) -> None:
    path = archive / INDEX_FOLDER / FOLDER / "index.jsonl"
    lies = path.read_text().replace("recording-call_1.wav", "../../../../outside/precious.wav")
    path.write_text(lies)
    (archive / CATALOG).unlink()


def lying_sums(archive: Path, outside: Path) -> None:
    with (archive / FOLDER / SUMS_NAME).open("a") as file:
        for name in ("../../../../outside/precious.wav", outside / "precious.wav"):
            file.write(f"{'a' * 64}  {name}\n")


def lying_template(archive: Path, outside: Path) -> None:
    said = json.loads((archive / SETTINGS_NAME).read_text())
    said["template"] = "../outside/{call_id}"
    (archive / SETTINGS_NAME).write_text(json.dumps(said))


def workshop(archive: Path, outside: Path) -> None:
    shutil.copy(archive / CATALOG, outside / CATALOG)
    (archive / ".agentphone-rebuild").symlink_to(outside)


TRICKS: dict[str, Callable[[Path, Path], None]] = {
    "recording, up": row(
        "UPDATE recordings SET path = '../outside/precious.wav', size = 3 WHERE call_id = 'call_1'"
    ),
    "recording, absolute": row(
        "UPDATE recordings SET path = '{out}/precious.wav', size = 3 WHERE call_id = 'call_1'"
    ),
    "recording, through a folder": row(
        "UPDATE recordings SET path = 'x/../../outside/precious.wav' WHERE call_id = 'call_1'"
    ),
    "sidecar, up": row(
        "UPDATE sidecars SET path = '../outside/call.json' WHERE call_id = 'call_1'"
    ),
    "sidecar, absolute": row(
        "UPDATE sidecars SET path = '{out}/call.json' WHERE call_id = 'call_1'"
    ),
    "folders of runs": row("INSERT INTO run_folders VALUES (1, '../outside')"),
    "folders of erasures": row("INSERT INTO settings VALUES ('erased_in', '[\"../outside\"]')"),
    "the day": link(FOLDER, "day"),
    "the year": link(str(FOLDER).split("/", maxsplit=1)[0], "year"),
    "the index": link(INDEX_FOLDER, "index"),
    "the day's index": link(f"{INDEX_FOLDER}/{FOLDER}", "index"),
    "the day's index file": link(f"{INDEX_FOLDER}/{FOLDER}/index.jsonl", "text"),
    "sums": link(f"{FOLDER}/{SUMS_NAME}", "text"),
    "a recording": link(f"{FOLDER}/recording-call_1.wav", "precious.wav"),
    "a sidecar": link(f"{FOLDER}/recording-call_1.json", "call.json"),
    "a bad file": link(f"{FOLDER}/recording-call_1.wav.damaged", "precious.wav"),
    "settings": link(SETTINGS_NAME, "settings"),
    "tombstones": link(ERASED_NAME, "text"),
    "new tombstones": link(ERASED_NAME, "none"),
    "the lock": link(LOCK_NAME, "text"),
    "the lock, hard": hard_link(LOCK_NAME, "text"),
    "the catalog": link(CATALOG, "catalog"),
    "the catalog's log": link(f"{CATALOG}-wal", "text"),
    "the catalog's journal": link(f"{CATALOG}-journal", "text"),
    "an old catalog": link(f"{CATALOG}.old-1", "text"),
    "the workshop": workshop,
    "a lying index": lying_index,
    "lying sums": lying_sums,
    "a lying template": lying_template,
}


async def export_all(folder: Path) -> None:
    async with await Catalog.open(folder, write=False) as catalog:
        async for _ in export(catalog, "csv"):
            pass


def snapshot(top: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        path.relative_to(top).as_posix(): (
            path.lstat().st_mode,
            path.read_bytes() if path.is_file() else None,
        )
        for path in top.rglob("*")
    }


async def test_nothing_outside_is_touched_by_anything(
    emulator: Emulator, client: AsyncAgentPhone, tmp_path: Path, monkeypatch
):
    fill(emulator, 2)
    original = tmp_path / "original"
    await archived(client, original, metadata=True)

    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))

    async def everything(folder: Path, number: int) -> None:
        ways = [
            lambda: verify(folder),
            lambda: export_all(folder),
            lambda: hold(folder, ["call_0"]),
            lambda: archived(
                client, folder, RunOptions(refresh=True, fsync=Fsync.OFF), metadata=True
            ),
            lambda: repair(folder, client),
            lambda: rebuild(folder),
            lambda: forget(folder, ["call_1"], dry_run=False),
            lambda: prune(folder, timedelta(0), dry_run=False),
        ]
        for way in ways[number:] + ways[:number]:
            with suppress(AgentPhoneError):
                await way()

    async def tried(name: str, number: int) -> None:
        top = tmp_path / str(number)
        archive, outside = top / "archive", top / "outside"
        shutil.copytree(original, archive)
        outside.mkdir()
        for precious, data in PRECIOUS.items():
            (outside / precious).write_bytes(data)
        TRICKS[name](archive, outside)
        before = snapshot(outside)
        await everything(archive, number % 8)
        after = snapshot(outside)
        assert after == before, name
        assert sorted(os.listdir(top)) == ["archive", "outside"], name
        assert os.listdir(copies) == [], name

    for number, name in enumerate(TRICKS):
        await tried(name, number)
