"""Manifests make the same catalog in any order, and say so when they are no good."""

from __future__ import annotations

import functools
import itertools
import random
import sqlite3
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.archive.bucket import journal, manifest
from agentphone_async.archive.bucket.merge import merge, renumbered
from agentphone_async.archive.catalog.migrate import migrate
from agentphone_async.errors import CatalogError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PART = manifest.Part("run-1", 0, 1)


@functools.cache
def empty() -> bytes:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, ":memory:")
    journal.install(connection)
    made = connection.serialize()
    connection.close()
    return made


def cache() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(empty())
    connection.execute("PRAGMA foreign_keys = OFF")
    return connection


def call(number: int, seen: str = "2026-11-21T00:00:00.000000Z", raw: str = "{}") -> manifest.Row:
    return {
        "table": "calls",
        "id": f"call_{number}",
        "raw": raw,
        "first_seen": seen,
        "last_seen": seen,
    }


def recording(number: int, updated: str, **columns: object) -> manifest.Row:
    return {
        "table": "recordings",
        "call_id": f"call_{number}",
        "version": 1,
        "state": "archived" if "path" in columns else "failed",
        "attempts": 1,
        "created": updated,
        "updated": updated,
        **columns,
    }


def pending(number: int, since: str) -> manifest.Row:
    return {"table": "pending", "call_id": f"call_{number}", "kind": "transcript", "since": since}


def gone(table: str, number: int, *key: object, at: str) -> manifest.Row:
    return {"gone": table, "key": [f"call_{number}", *key], "at": at}


def contents(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return [
        row
        for table in ("calls", "recordings", "pending")
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
    ]


ROWS = [
    [call(1), recording(1, "2026-11-21T01", path="a/1.wav", sha256="aa", size=1)],
    [recording(1, "2026-11-21T02", last_error="a machine that did not know of it")],
    [call(1, "2026-11-22", '{"id": 1}'), recording(1, "2026-11-21T00", path="a/1.v2.wav")],
    [recording(1, "2026-11-21T03", path="a/1.wav", sha256="aa", size=1, attempts=3)],
    [call(2), recording(2, "2026-11-21T01", last_error="503")],
    [recording(2, "2026-11-21T01", last_error="504")],
    [pending(2, "2026-11-21T01")],
    [gone("pending", 2, "transcript", at="2026-11-21T02")],
    [pending(3, "2026-11-21T03")],
    [gone("pending", 3, "transcript", at="2026-11-21T02")],
    [call(3), recording(3, "2026-11-21T01", path="a/3.wav")],
    [gone("recordings", 3, 1, at="2026-11-21T02")],  # which nobody writes, and nobody heeds
    [recording(4, "2026-11-21T01", path="a/4.wav", not_known_yet=1)],
]


def test_all_orders_make_the_same_catalog():
    expected = None
    orders = random.Random(1)
    for _ in range(15):
        order = orders.sample(range(len(ROWS)), len(ROWS))
        connection = cache()
        for number in order:
            merge(connection, [(f"part-{number}", ROWS[number])])
        expected = expected or contents(connection)
        assert contents(connection) == expected
        compacted = list(journal.everything(connection))
        connection.close()
    states = {row[0]: row[1:4] for row in expected or () if len(row) > 10}
    paths = [row[3] for row in expected or () if len(row) > 10 and row[0] == "call_1"]
    assert paths == ["a/1.wav", "a/1.v2.wav"]
    assert states["call_2"][1] == "failed"
    assert states["call_4"] == (1, "archived", "a/4.wav")
    assert states["call_3"] == (1, "archived", "a/3.wav")
    assert {row["id"] for row in compacted if row.get("table") == "calls"} == {
        "call_1", "call_2", "call_3"  # not the one that stands in for a row
    }  # fmt: skip
    assert [row for row in expected or () if len(row) == 3] == [
        ("call_3", "transcript", "2026-11-21T03")
    ]


def _rows_of_machines() -> st.SearchStrategy[list[list[manifest.Row]]]:
    """What a few machines write about few calls: every kind of row, and many collisions."""
    number = st.integers(1, 2)
    moment = st.integers(1, 4).map("2026-11-2{}T00:00:00.000000Z".format)
    stored = st.builds(
        lambda n, at, named, less: recording(
            n, at, version=max(1, named - less), size=1,
            path=f"{n}.v{named}.wav" if named > 1 else f"{n}.wav",
        ),
        number, moment, st.integers(1, 3), st.integers(0, 2),
    )  # fmt: skip
    failed = st.builds(
        lambda n, at, why: recording(n, at, last_error=why),
        number, moment, st.sampled_from(["503", "504"]),
    )  # fmt: skip
    listed = st.builds(call, number, moment, st.sampled_from(["{}", '{"id": 1}']))
    owed = st.builds(pending, number, moment)
    settled = st.builds(
        lambda n, at, table: gone(table, n, *(() if table == "calls" else ("transcript",)), at=at),
        number, moment, st.sampled_from(["pending", "calls", "recordings"]),
    )  # fmt: skip
    rows = st.one_of(stored, failed, listed, owed, settled)
    return st.lists(st.lists(rows, min_size=2, max_size=6), min_size=2, max_size=5)


@given(_rows_of_machines(), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_rows_in_any_order_and_in_any_portions_make_the_same_catalog(parts, chance, bulk):
    named = list(enumerate(parts))
    found = []
    for portions in (1, 2, len(named) or 1):
        chance.shuffle(named)
        connection = cache()
        for start in range(0, len(named), portions):
            some = named[start : start + portions]
            merge(connection, [(f"part-{name}", rows) for name, rows in some], bulk=bulk)
        found.append(contents(connection))
        connection.close()
    assert found[0] == found[1] == found[2]
    stored = {row["path"] for rows in parts for row in rows if "path" in row}
    assert stored == {row[3] for row in found[0] if len(row) > 10} - {None}


def test_merging_one_manifest_again_changes_nothing():
    connection = cache()
    for _ in range(2):
        for number, rows in enumerate(ROWS):
            merge(connection, [(f"part-{number}", rows)])
    once = cache()
    for number, rows in enumerate(ROWS):
        merge(once, [(f"part-{number}", rows)])
    assert contents(connection) == contents(once)
    connection.close()
    once.close()


def test_two_files_of_one_version_both_stay():
    first = recording(1, "2026-11-21T01", path="1.wav", sha256="aa")
    second = recording(1, "2026-11-21T00", path="1.v2.wav", sha256="bb")
    for rows in itertools.permutations([first, second, {**first, "attempts": 5}]):
        numbered = {row["path"]: row["version"] for row in renumbered(rows)}
        assert numbered == {"1.wav": 1, "1.v2.wav": 2}


def test_what_is_written_is_noted_until_it_is_sent_and_merging_is_not():
    connection = cache()
    rows = [call(1), recording(1, "2026-11-21T01", path="1.wav")]
    merge(connection, [("part-1", rows)])
    assert journal.waiting(connection) == 0
    connection.execute("UPDATE recordings SET attempts = 7")
    changes = journal.collect(connection, 100, NOW)
    assert [row["attempts"] for row in changes.rows] == [7]
    rows += changes.rows
    journal.sent(connection, changes, PART.name)
    connection.execute(
        "INSERT INTO pending VALUES ('call_1', 'transcript', '2026-11-21T00:00:00.000000Z')"
    )
    connection.execute("DELETE FROM pending")
    connection.execute(
        "INSERT INTO calls SELECT 'call_2', raw, NULL, NULL, NULL, NULL, NULL, "
        "first_seen, last_seen FROM calls"
    )
    changes = journal.collect(connection, 100, NOW)
    assert changes.rows[0]["id"] == "call_2"
    assert changes.rows[1]["gone"] == "pending"
    journal.sent(connection, changes, PART.name)
    assert journal.waiting(connection) == 0
    other = cache()
    merge(other, [("part-2", changes.rows), ("part-1", rows)])
    assert contents(other) == contents(connection)
    connection.close()
    other.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "is damaged"),
        (lambda data: b"hello", "is damaged"),
        (lambda data: manifest.compress(b'{"some": "thing"}\n'), "is not a manifest of ours"),
        (
            lambda data: manifest.compress(b'{"format": "agentphone-archive", "version": 2}\n'),
            "knows 1 at most; update",
        ),
        (
            lambda data: manifest.compress(
                b'{"format": "agentphone-archive", "version": 1}\n{"table": "calls"}\n'
            ),
            "is damaged (1 rows of an unknown number)",
        ),
    ],
)
def test_a_manifest_that_is_no_good_is_said_and_leaves_nothing(change, message):
    connection = cache()
    data = change(manifest.encode(PART, [call(1), *[call(n) for n in range(2, 3000)]]))
    with pytest.raises(CatalogError) as caught:
        merge(connection, [(PART.name, manifest.decode(data, PART.name))])
    assert message in str(caught.value)
    assert contents(connection) == []
    assert connection.execute("SELECT count(*) FROM bucket_parts").fetchone() == (0,)
    connection.close()


def test_a_manifest_is_read_as_it_was_written():
    rows = [call(1), recording(1, "2026-11-21T01", path="1.wav")]
    data = manifest.encode(PART, rows)
    assert list(manifest.decode(data, "x")) == rows
    assert manifest.head_of(data, "x") == PART
    assert manifest.Part.of_name(PART.name) == PART
    assert manifest.Part.of_name("_catalog/parts/x/readme.txt") is None
