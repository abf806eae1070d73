"""The catalog as a file: recognised, migrated, private, and refused in one clear line."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.archive.catalog import calls as calls_table
from agentphone_async.archive.catalog import recordings as recordings_table
from agentphone_async.archive.catalog import runs as runs_table
from agentphone_async.archive.catalog import schema, settings
from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.catalog.opening import path_of
from agentphone_async.archive.catalog.rows import (
    RecordingRow,
    SidecarRow,
    id_from_text,
    id_to_text,
    moment_of,
    raw_text,
    stamp,
    stamp_or_none,
)
from agentphone_async.archive.selection import Selection
from agentphone_async.errors import CatalogError
from agentphone_async.models import Call

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


HOSTILE = [
    "plain",
    "with\0nul",
    "\ud800lone",
    "ünï",
    "base64:cGxhaW4=",
    "a/../b",
    "\x1b[31m",
    "'; --",
]


def row(call_id: str, state: str = "archived", **fields: object) -> RecordingRow:
    return RecordingRow(call_id, state, NOW, NOW, **fields)  # type: ignore[arg-type]


def call(call_id: str, **fields: object) -> Call:
    return Call.from_json({"id": call_id, "status": "completed", **fields})


async def test_the_catalog_is_ours_private_and_in_wal_mode(tmp_path):
    async with await Catalog.open(tmp_path / "new" / "deep") as catalog:
        folder = tmp_path / "new" / "deep"
        for file in folder.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        assert await catalog.run(lambda db: db.execute("PRAGMA journal_mode").fetchone()) == (
            "wal",
        )
    header = path_of(folder).read_bytes()[:100]
    assert header[68:72] == b"APac"
    assert int.from_bytes(header[60:64], "big") == len(schema.MIGRATIONS)
    assert not list(folder.glob("*-wal"))


async def test_rows_come_back_as_they_went_in(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:
        rows = [
            row(
                call_id,
                path=PurePosixPath(f"2026/11/{number}.wav"),
                size=number,
                sha256="00",
                media_type="audio/wav",
                sample_rate=8000,
                channels=1,
                duration=1.5,
                etag='"x"',
                attempts=3,
                last_error=None,
            )
            for number, call_id in enumerate(HOSTILE)
        ]
        await catalog.transaction(recordings_table.store_recordings, rows)
        found = await catalog.run(recordings_table.current_recordings, [*HOSTILE, "unknown"])
        assert found == {row.call_id: row for row in rows}
        sendable = [one for one in HOSTILE if "\ud800" not in one]  # a page's row problem otherwise
        calls = [call(call_id) for call_id in sendable]
        await catalog.transaction(
            calls_table.store_calls, [(one, raw_text(one.raw)) for one in calls], NOW
        )
        kept = await catalog.run(calls_table.get_calls, HOSTILE)
        assert set(kept) == set(HOSTILE), "calls of which only the id is known among them"
        sidecar = SidecarRow("plain", "metadata", PurePosixPath("x.json"), 1, "00", NOW)
        await catalog.transaction(recordings_table.store_sidecars, [sidecar])
        assert await catalog.run(recordings_table.sidecars_of, HOSTILE) == [sidecar]


async def test_walking_through_all_rows_takes_each_once(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:
        rows = [
            row(
                f"c{n:03}",
                "archived" if n % 2 else "failed",
                version=v,
                path=PurePosixPath(f"{n}.{v}"),
            )
            for n in range(50)
            for v in (1, 2)
        ]
        await catalog.transaction(recordings_table.store_recordings, rows)
        seen: list[RecordingRow] = []
        while page := await catalog.run(
            recordings_table.recordings_after,
            (seen[-1].call_id, seen[-1].version) if seen else None,
            7,
        ):
            seen += page
        assert seen == rows
        failed = await catalog.run(recordings_table.recordings_after, states=["failed"])
        assert [one for one in rows if one.state == "failed"] == failed
        current = await catalog.run(recordings_table.current_recordings, ["c001"])
        assert current["c001"].version == 2


async def test_unchanged_calls_are_not_written_again(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:
        calls = [call("a"), call("b")]
        store, changed, _ = await catalog.run(calls_table.changed_calls, calls, NOW)
        assert [one.id for one, _ in store] == ["a", "b"]
        assert changed == set()
        await catalog.transaction(calls_table.store_calls, store, NOW)
        assert await catalog.run(calls_table.changed_calls, calls, NOW) == ([], set(), [])
        later = [call("a", durationSeconds=3), call("b")]
        store, changed, _ = await catalog.run(calls_table.changed_calls, later, NOW)
        assert [one.id for one, _ in store] == ["a"]
        assert changed == {"a"}
        week = NOW + timedelta(days=8)
        store, changed, _ = await catalog.run(calls_table.changed_calls, calls, week)
        assert [one.id for one, _ in store] == ["a", "b"]


async def test_a_failed_transaction_leaves_nothing(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:

        def half(db: sqlite3.Connection) -> None:
            recordings_table.store_recordings(db, [row("a", "failed")])
            raise RuntimeError("in the middle")

        with pytest.raises(RuntimeError):
            await catalog.transaction(half)
        assert await catalog.run(recordings_table.count_states) == {}
        await catalog.transaction(recordings_table.store_recordings, [row("b", "failed")])
        assert await catalog.run(recordings_table.count_states) == {"failed": 1}


async def test_a_path_belongs_to_one_recording(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:
        path = PurePosixPath("x.wav")
        await catalog.transaction(recordings_table.store_recordings, [row("a", path=path)])
        with pytest.raises(CatalogError):
            await catalog.transaction(recordings_table.store_recordings, [row("b", path=path)])
        owner = await catalog.run(recordings_table.owner_of, path)
        assert owner is not None
        assert owner.call_id == "a"


async def test_the_hash_key_stays(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:
        key = await catalog.transaction(settings.hash_key)
        assert len(key) == 32
    async with await Catalog.open(tmp_path) as catalog:
        assert await catalog.transaction(settings.hash_key) == key


async def test_last_goes_by_complete_runs_of_filters_that_let_as_much_pass(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:

        async def ran(selection: Selection, covered: datetime, *, complete: bool = True) -> None:
            run = await catalog.transaction(runs_table.begin_run, selection, NOW)
            await catalog.transaction(
                runs_table.finish_run,
                run,
                NOW,
                complete=complete,
                covered_until=covered,
                stop_reason=None,
                counts={"listed": 1},
            )

        assert await catalog.run(runs_table.last_covered, Selection()) is None
        day = timedelta(days=1)
        await ran(Selection(), NOW)
        await ran(Selection(), NOW + 9 * day, complete=False)
        await ran(Selection(direction="inbound"), NOW + day)
        assert await catalog.run(runs_table.last_covered, Selection()) == NOW
        inbound = Selection(direction="inbound")
        assert await catalog.run(runs_table.last_covered, inbound) == NOW + day
        assert await catalog.run(runs_table.last_covered, Selection(direction="outbound")) == NOW
        latest = (await catalog.run(runs_table.runs))[0]
        assert latest.counts == {"listed": 1}
        assert latest.complete


@given(st.text(alphabet=st.characters()))
def test_ids_are_written_one_to_one(call_id):
    text = id_to_text(call_id)
    text.encode()
    assert "\0" not in text
    assert id_from_text(text) == call_id


@given(st.lists(st.datetimes(timezones=st.timezones()), min_size=2, max_size=5))
def test_moments_sort_as_text(moments: Sequence[datetime]):
    stamps = [text for text in map(stamp_or_none, moments) if text is not None]
    assert sorted(stamps) == sorted(stamps, key=moment_of)
    for text in stamps:
        assert stamp(moment_of(text)) == text


async def test_a_read_cannot_write(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:
        with pytest.raises(CatalogError):
            await catalog.run(recordings_table.store_recordings, [row("a")])
        await catalog.transaction(recordings_table.store_recordings, [row("a")])
        with pytest.raises(CatalogError):
            await catalog.run(lambda db: db.execute("DELETE FROM recordings"))
        assert set(await catalog.run(recordings_table.current_recordings, ["a"])) == {"a"}


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/", "../x.wav", "a/../../x.wav", "a/..", "..", "a//b.wav", "./x", "out/x.wav",
     "a\0/x.wav", "x\0.wav"],
)  # fmt: skip
async def test_paths_that_leave_the_archive_are_refused_wherever_rows_are_read(tmp_path, path):
    folder = tmp_path / "archive"
    (tmp_path / "elsewhere").mkdir()
    async with await Catalog.open(folder) as catalog:
        (folder / "out").symlink_to(tmp_path / "elsewhere")
        good = row("a", path=PurePosixPath("a.wav"), size=1, sha256="00")
        sidecar = SidecarRow("a", "metadata", PurePosixPath("a.json"), 1, "00", NOW)
        await catalog.transaction(recordings_table.store_recordings, [good])
        await catalog.transaction(recordings_table.store_sidecars, [sidecar])

        def move(connection, table, to):
            connection.execute(f"UPDATE {table} SET path = ?", (to,))

        for table, reads in (
            ("recordings", [
                (recordings_table.current_recordings, ["a"]),
                (recordings_table.current_columns, ["a"]),
                (recordings_table.recordings_after,),
                (recordings_table.versions_of, "a"),
                (recordings_table.files_after,),
            ]),
            ("sidecars", [
                (recordings_table.sidecars_of, ["a"]),
                (recordings_table.files_after,),
            ]),
        ):  # fmt: skip
            await catalog.transaction(move, table, path)
            for work, *args in reads:
                with pytest.raises(CatalogError, match="outside of the archive"):
                    await catalog.run(work, *args)
            await catalog.transaction(move, table, "fine.x")


async def test_questions_of_every_run_use_indexes(tmp_path):
    async with await Catalog.open(tmp_path) as catalog:

        def plans(connection):
            seen = []
            connection.set_trace_callback(seen.append)
            recordings_table.not_ready_in(connection, 1, "a")
            recordings_table.folders_changed(connection, NOW)(connection)
            connection.set_trace_callback(None)
            return [
                detail
                for query in seen
                for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {query}")
            ]

        details = await catalog.run(plans)
        assert not [one for one in details if one.startswith("SCAN")], details
        for index in ("recordings_open", "recordings_updated", "sidecars_updated"):
            assert any(index in one for one in details), (index, details)
