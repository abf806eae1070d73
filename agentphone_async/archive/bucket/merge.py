"""Rows of manifests go into the cached catalog; the result does not depend on their order.

Two machines that did not know of each other may have stored different bytes for one call, under
two names. Both stay: a call's versions are put in the order of their names, and numbered again.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.bucket.journal import (
    columns_of,
    drop_triggers,
    gone_values,
    set_triggers,
)
from agentphone_async.archive.bucket.manifest import Row
from agentphone_async.archive.bucket.tables import TABLES, Table

CHUNK = 5_000
"""Rows that are in memory at a time."""

BULK = 20_000
"""So many new rows in a table that making its indexes again may pay."""

_VERSION = re.compile(r"\.v([1-9]\d*)$")


NEVER = "0001-01-01T00:00:00.000000Z"
"""When a call was seen last of which only the id is known."""

_STAND_INS = (
    # A call of which only the id is known, and no recording any more, is not known at all.
    (
        f"DELETE FROM main.calls WHERE last_seen = '{NEVER}' "  # noqa: S608 - ours
        "AND id IN (SELECT call_id FROM incoming.touched) "
        "AND NOT EXISTS (SELECT 1 FROM main.recordings WHERE call_id = calls.id)"
    ),
    (
        "INSERT OR IGNORE INTO main.calls (id, raw, first_seen, last_seen) "  # noqa: S608 - ours
        f"SELECT call_id, json_object('id', call_id), '{NEVER}', '{NEVER}' "
        "FROM (SELECT call_id FROM incoming.recordings "
        "UNION ALL SELECT call_id FROM incoming.touched) AS some "
        "WHERE EXISTS (SELECT 1 FROM main.recordings WHERE call_id = some.call_id) "
        "AND NOT EXISTS (SELECT 1 FROM main.calls WHERE id = some.call_id)"
    ),
    (
        "UPDATE main.calls SET first_seen = coalesce("  # noqa: S608 - ours
        "(SELECT min(created) FROM main.recordings WHERE call_id = calls.id), first_seen) "
        f"WHERE last_seen = '{NEVER}' "
        "AND id IN (SELECT call_id FROM incoming.recordings "
        "UNION ALL SELECT call_id FROM incoming.touched)"
    ),
)


_SAME_VERSION = (
    "SELECT incoming.call_id FROM {temp} AS incoming "
    "CROSS JOIN main.recordings AS known USING (call_id, version) "
    "WHERE incoming.path <> known.path "
    "UNION SELECT call_id FROM {temp} WHERE path IS NOT NULL "
    "GROUP BY call_id, version HAVING count(*) > 1 AND count(DISTINCT path) > 1"
)
_SAME_PATH = (
    "SELECT DISTINCT incoming.call_id FROM {temp} AS incoming "
    "CROSS JOIN main.recordings AS known USING (call_id, path) "
    "WHERE incoming.version <> known.version "
    "UNION SELECT call_id FROM {temp} WHERE path IS NOT NULL "
    "GROUP BY call_id, path HAVING count(DISTINCT version) > 1"
)


_OVERTAKEN = (
    "DELETE FROM main.recordings WHERE path IS NULL AND state <> 'erased' "
    "AND call_id IN (SELECT call_id FROM incoming.recordings) "
    "AND version < (SELECT max(version) FROM main.recordings AS stored "
    "WHERE stored.call_id = recordings.call_id AND stored.path IS NOT NULL)"
)
"""A failure is of no interest any more where a later version is stored."""


def merge(connection: sqlite3.Connection, parts: Iterable[tuple[str, Iterable[Row]]]) -> None:
    """Merge manifests, each with its name; all of them or nothing.

    Foreign keys have to be off in this connection, since rows come in any order. At the end every
    recording has a call, be it one of which only the id is known.
    """
    connection.execute("ATTACH '' AS incoming")  # a temporary file, gone when it is detached
    try:
        without_triggers(connection, lambda: _merge(connection, parts))
    finally:
        connection.execute("DETACH incoming")


def without_triggers(connection: sqlite3.Connection, work: Callable[[], object]) -> None:
    """Do something in one transaction of which the journal is not to know."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        drop_triggers(connection)
        work()
        set_triggers(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _merge(connection: sqlite3.Connection, parts: Iterable[tuple[str, Iterable[Row]]]) -> None:
    merger = _Merger(connection)
    names: list[tuple[str]] = []
    for name, rows in parts:
        iterator = iter(rows)
        while chunk := list(islice(iterator, CHUNK)):
            merger.take(chunk)
        names.append((name,))
    merger.finish()
    connection.executemany("INSERT OR IGNORE INTO bucket_parts VALUES (?)", names)


class _Merger:
    """Rows are gathered in temporary tables, and each table is then merged in one statement.

    So rows go in by the order of their keys, and a page of the catalog is written once, not once
    for every row that happens to lie in it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._columns = {
            table.name: columns for table in TABLES if (columns := columns_of(connection, table))
        }
        self._came = dict.fromkeys(self._columns, 0)
        (self._stand_ins,) = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM calls WHERE last_seen = ?)", (NEVER,)
        ).fetchone()
        connection.execute("CREATE TABLE incoming.touched (call_id)")
        self._touched = False
        self._moved = False
        """Whether rows were numbered again, so that counting them tells nothing."""
        for name in self._columns:
            connection.execute(
                f"CREATE TABLE incoming.{name} AS SELECT * FROM main.{name} WHERE 0"  # noqa: S608
            )

    def take(self, rows: Sequence[Row]) -> None:
        by_table: dict[str, list[Row]] = {}
        gone: list[Row] = []
        for row in rows:
            name = row.get("table")
            if name is not None:
                by_table.setdefault(name, []).append(row)
            elif "gone" in row:
                gone.append(row)
        if gone:
            self._forget(gone)
        for name, columns in self._columns.items():
            came = by_table.get(name)
            if came:
                self._connection.executemany(
                    f"INSERT INTO incoming.{name} "  # noqa: S608 - names of ours
                    f"VALUES ({', '.join('?' * len(columns))})",
                    [tuple(map(row.get, columns)) for row in came],
                )
                self._came[name] += len(came)

    def finish(self) -> None:
        """Merge what was taken."""
        (any_gone,) = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM bucket_gone)"
        ).fetchone()
        for table in TABLES:
            if not self._came.get(table.name):
                continue
            temp = f"incoming.{table.name}"
            if any_gone:
                self._drop_gone(table, temp)
            if table.name == "recordings":
                self._renumber(_SAME_VERSION.format(temp=temp), temp)
            with _unindexed(self._connection, table, self._came[table.name]) as index:
                written = self._upsert(table, temp, index)
            if table.earliest is not None and (self._moved or written < self._came[table.name]):
                self._connection.execute(_keep_earliest(table, temp))

        if self._came["recordings"]:
            self._connection.execute(_OVERTAKEN)
        if self._came["recordings"] or self._touched:
            self._stand_in()

    def _stand_in(self) -> None:
        """Give recordings without a call one of which only the id is known."""
        if self._touched:
            self._connection.execute(_STAND_INS[0])
        self._stand_ins |= self._connection.execute(_STAND_INS[1]).rowcount > 0
        if self._stand_ins:
            self._connection.execute(_STAND_INS[2])

    def _upsert(self, table: Table, temp: str, index: Callable[[], None]) -> int:
        """Merge one table; a file that is known as another version is numbered again first."""
        connection = self._connection
        upsert = _upsert(table, self._columns[table.name], temp)
        connection.execute("SAVEPOINT merging")
        try:
            written = connection.execute(upsert).rowcount
            index()
        except sqlite3.IntegrityError:
            if table.name != "recordings":
                raise
            connection.execute("ROLLBACK TO merging")
            self._renumber(_SAME_PATH.format(temp=temp), temp)
            written = connection.execute(upsert).rowcount
            index()
        connection.execute("RELEASE merging")
        return written

    def _forget(self, gone: Sequence[Row]) -> None:
        self._connection.executemany(
            "INSERT INTO bucket_gone (tbl, k1, k2, at) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
            [gone_values(row) for row in gone],
        )
        touched = [(row["key"][0],) for row in gone if row["gone"] in {"calls", "recordings"}]
        self._connection.executemany("INSERT INTO incoming.touched VALUES (?)", touched)
        self._touched |= bool(touched)
        for table in TABLES:
            keys = [(*row["key"], row["at"]) for row in gone if row["gone"] == table.name]
            if keys and table.name in self._columns:
                where = " AND ".join(f"{name} = ?" for name in table.key)
                self._connection.executemany(
                    f"DELETE FROM main.{table.name} WHERE {where} "  # noqa: S608 - names of ours
                    f"AND {table.stamp.format('', '')} <= ?",
                    keys,
                )

    def _drop_gone(self, table: Table, temp: str) -> None:
        second = f"incoming.{table.key[1]}" if len(table.key) > 1 else "''"
        prefix = "incoming."
        self._connection.execute(
            f"DELETE FROM {temp} AS incoming WHERE EXISTS ("  # noqa: S608 - names of ours
            f"SELECT 1 FROM bucket_gone WHERE tbl = '{table.name}' "
            f"AND k1 = incoming.{table.key[0]} AND k2 = {second} "
            f"AND at >= {table.stamp.format(prefix, prefix)})"
        )

    def _renumber(self, query: str, temp: str) -> None:
        """Number the versions of calls again that the query finds: one version has two files."""
        connection, columns = self._connection, self._columns["recordings"]
        clashes = connection.execute(query).fetchall()
        self._moved |= bool(clashes)
        names = ", ".join(columns)
        for (call_id,) in clashes:
            rows: list[Row] = []
            for source in (temp, "main.recordings"):
                found = connection.execute(
                    f"SELECT {names} FROM {source} WHERE call_id = ? AND path IS NOT NULL",  # noqa: S608
                    (call_id,),
                )
                rows += [dict(zip(columns, values, strict=True)) for values in found]
                connection.execute(
                    f"DELETE FROM {source} WHERE call_id = ? AND path IS NOT NULL",  # noqa: S608
                    (call_id,),
                )
            connection.executemany(
                f"INSERT INTO {temp} VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
                [tuple(row[name] for name in columns) for row in renumbered(rows)],
            )


@contextlib.contextmanager
def _unindexed(
    connection: sqlite3.Connection, table: Table, coming: int
) -> Generator[Callable[[], None]]:
    """Merge a table without its indexes, if that is cheaper: where most of its rows are new.

    Made at once, an index is sorted; row by row, it is written all over the place.
    """
    dropped: list[str] = []
    if coming >= BULK:
        (there,) = connection.execute(f"SELECT count(*) FROM main.{table.name}").fetchone()  # noqa: S608
        if coming > there:
            found = connection.execute(
                "SELECT name, sql FROM sqlite_master "
                "WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
                (table.name,),
            ).fetchall()
            for name, sql in found:
                connection.execute(f"DROP INDEX {name}")
                dropped.append(sql)

    def index() -> None:
        for sql in dropped:
            connection.execute(sql)

    yield index


def renumbered(rows: Iterable[Row]) -> Iterator[Row]:
    """The versions of one call that have files, one a file, in the order of their names."""
    best: dict[str, Row] = {}
    for row in rows:
        other = best.get(row["path"])
        if other is None:
            best[row["path"]] = row
            continue
        winner = max(row, other, key=_rank)
        best[row["path"]] = {**winner, "created": min(row["created"], other["created"])}
    version = 0
    for row in sorted(
        best.values(), key=lambda row: (version_of_name(row["path"]), row["created"], row["path"])
    ):
        version = max(version + 1, version_of_name(row["path"]))
        yield {**row, "version": version}


def version_of_name(path: str) -> int:
    """The version that a recording's name tells: 2 for ``x.v2.wav``, 1 for ``x.wav``."""
    found = _VERSION.search(PurePosixPath(path).stem)
    return int(found[1]) if found else 1


def _rank(row: Row) -> tuple[Any, ...]:
    names = ("updated", "attempts", "state", "sha256", "etag", "last_error", "run")
    return tuple((row.get(name) is not None, row.get(name) or 0) for name in names)


def _upsert(table: Table, columns: Sequence[str], temp: str) -> str:
    names = ", ".join(columns)
    kept = {*table.key, table.earliest}
    changes = [f"{name} = excluded.{name}" for name in columns if name not in kept]
    # Calls lie in the order in which they came; all others by their keys.
    order = "" if table.name == "calls" else f"ORDER BY {', '.join(table.key)} "
    if table.earliest is not None:
        name = table.earliest
        changes.append(f"{name} = {_earliest(table)}")
    return (
        f"INSERT INTO main.{table.name} ({names}) SELECT {names} FROM {temp} "  # noqa: S608 - ours
        f"WHERE true {order}"
        f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {', '.join(changes)} "
        f"WHERE ({_order(table, 'excluded.')}) > ({_order(table, table.name + '.')})"
    )


def _earliest(table: Table) -> str:
    earlier = f"min({table.name}.{table.earliest}, excluded.{table.earliest})"
    if table.name == "recordings":  # of one file: a failure before it was another matter
        return (
            f"CASE WHEN recordings.path IS excluded.path THEN {earlier} ELSE excluded.created END"
        )
    if table.name != "calls":
        return earlier
    return f"CASE WHEN calls.last_seen = '{NEVER}' THEN excluded.first_seen ELSE {earlier} END"


def _keep_earliest(table: Table, temp: str) -> str:
    keys, name = ", ".join(table.key), table.earliest
    same = " AND ".join(f"incoming.{key} = {table.name}.{key}" for key in table.key)
    if table.name == "recordings":
        keys += ", path"
        same += " AND incoming.path IS recordings.path"
    return (
        f"UPDATE main.{table.name} SET {name} = incoming.{name} "  # noqa: S608 - names of ours
        f"FROM (SELECT {keys}, min({name}) AS {name} FROM {temp} GROUP BY {keys}) AS incoming "
        f"WHERE {same} AND incoming.{name} < {table.name}.{name}"
    )


def _order(table: Table, prefix: str) -> str:
    return ", ".join(part.format(*[prefix] * part.count("{}")) for part in table.order)
