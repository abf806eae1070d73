"""Rows of manifests go into the cached catalog; the result does not depend on their order.

Two machines that did not know of each other may have stored different bytes for one call, under
two names. Both stay: a call's versions are put in the order of their names, and numbered again.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Any

from agentphone_async.archive.bucket.journal import (
    columns_of,
    drop_triggers,
    note_gone,
    set_triggers,
)
from agentphone_async.archive.bucket.manifest import Row
from agentphone_async.archive.bucket.tables import BY_NAME, NEVER, TABLES, Table

CHUNK = 5_000
"""Rows that are in memory at a time."""

_VERSION = re.compile(r"\.v([1-9]\d*)$")


_STAND_INS = (
    (
        "INSERT INTO main.calls (id, raw, first_seen, last_seen) "  # noqa: S608 - ours
        f"SELECT DISTINCT call_id, json_object('id', call_id), '{NEVER}', '{NEVER}' "
        "FROM main.recordings AS some "
        "WHERE NOT EXISTS (SELECT 1 FROM main.calls WHERE id = some.call_id)"
    ),
    (
        "UPDATE main.calls SET first_seen = "  # noqa: S608 - ours
        "(SELECT min(created) FROM main.recordings WHERE call_id = calls.id) "
        f"WHERE last_seen = '{NEVER}'"
    ),
)
_CAME = " AND {} IN (SELECT call_id FROM incoming.recordings)"


_SAME_VERSION = (
    "SELECT incoming.call_id FROM incoming.recordings AS incoming "
    "CROSS JOIN main.recordings AS known USING (call_id, version) "
    "WHERE incoming.path <> known.path "
    "UNION SELECT call_id FROM incoming.recordings WHERE path IS NOT NULL "
    "GROUP BY call_id, version HAVING count(*) > 1 AND count(DISTINCT path) > 1"
)
_SAME_PATH = (
    "SELECT DISTINCT incoming.call_id FROM incoming.recordings AS incoming "
    "CROSS JOIN main.recordings AS known USING (call_id, path) "
    "WHERE incoming.version <> known.version "
    "UNION SELECT call_id FROM incoming.recordings WHERE path IS NOT NULL "
    "GROUP BY call_id, path HAVING count(DISTINCT version) > 1"
)


_SEEN_BEFORE = "UPDATE main.calls SET first_seen = ?2 WHERE id = ?1 AND first_seen > ?2"
"""A call's row that loses may still tell that it was seen before."""

_TWO_FILES = "excluded.path <> recordings.path"

_OVERTAKEN = (
    "DELETE FROM main.recordings WHERE path IS NULL AND state <> 'erased' AND call_id IN ("
    "SELECT call_id FROM incoming.recordings WHERE path IS NULL OR version > 1) "
    "AND version < (SELECT max(version) FROM main.recordings AS stored "
    "WHERE stored.call_id = recordings.call_id AND stored.path IS NOT NULL)"
)
"""A failure is of no interest any more where a later version is stored."""


def merge(
    connection: sqlite3.Connection,
    parts: Iterable[tuple[str, Iterable[Row]]],
    *,
    bulk: bool = False,
) -> None:
    """Merge manifests, each with its name; all of them or nothing.

    Foreign keys have to be off in this connection, since rows come in any order. At the end every
    recording has a call, be it one of which only the id is known.

    Args:
        connection: of the cache.
        parts: names and rows.
        bulk: most of what the cache will hold comes now. Indexes are then made at the end: at once
            they are sorted; row by row, they are written all over the place.
    """
    connection.execute("ATTACH '' AS incoming")  # a temporary file, gone when it is detached
    try:
        without_triggers(connection, lambda: _Merger(connection, bulk=bulk).merge(parts))
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


class _Merger:
    """Calls are merged as they come; what lies by its key is gathered first, table by table.

    So rows go in by the order of their keys, and a page of the catalog is written once, not once
    for every row that happens to lie in it.
    """

    def __init__(self, connection: sqlite3.Connection, *, bulk: bool) -> None:
        self._connection = connection
        self._columns = {
            table.name: list(columns)
            for table in TABLES
            if (columns := columns_of(connection, table))
        }
        self._came = dict.fromkeys(self._columns, 0)
        self._bulk = bulk
        self._indexes = _drop_indexes(connection) if bulk else {}
        (self._stand_ins,) = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM calls WHERE last_seen = ?)", (NEVER,)
        ).fetchone()
        self._moved = False
        """Whether rows were numbered again, so that counting them tells nothing."""
        for name in self._columns:
            connection.execute(
                f"CREATE TABLE incoming.{name} AS SELECT * FROM main.{name} WHERE 0"  # noqa: S608
            )

    def merge(self, parts: Iterable[tuple[str, Iterable[Row]]]) -> None:
        names: list[tuple[str]] = []
        for name, rows in parts:
            iterator = iter(rows)
            while chunk := list(islice(iterator, CHUNK)):
                self._take(chunk)
            names.append((name,))
        for table in TABLES:
            if self._came.get(table.name) and table.staged:
                self._merge(table)
        for statement in chain.from_iterable(self._indexes.values()):
            self._connection.execute(statement)
        if self._came["recordings"]:
            self._connection.execute(_OVERTAKEN)
            self._stand_in()
        self._connection.executemany("INSERT OR IGNORE INTO bucket_parts VALUES (?)", names)

    def _take(self, rows: Sequence[Row]) -> None:
        """Take rows of any tables: those with the same columns together."""
        groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in rows:
            groups[row.get("table", ""), *row].append(row)
        for (name, *names), some in groups.items():
            if name in self._columns:
                self._insert(BY_NAME[name], names, some)
                self._came[name] += len(some)
            elif "gone" in names:
                self._drop(some)

    def _insert(self, table: Table, names: Sequence[str], rows: Sequence[Row]) -> None:
        columns = self._columns[table.name]
        places = {name: place for place, name in enumerate(names) if name in columns}
        last = max(places.values()) + 1  # a newer version may have written more
        insert = (
            f"INSERT INTO {'incoming' if table.staged else 'main'}.{table.name} "  # noqa: S608
            f"({', '.join(places)}) VALUES ({', '.join(f'?{n + 1}' for n in places.values())}) "
            f"{'' if table.staged else _on_conflict(table, columns)}"
        )
        values = map(tuple, map(dict.values, rows))  # one at a time
        written = self._connection.executemany(
            insert, values if last == len(names) else (some[:last] for some in values)
        )
        if not table.staged and written.rowcount < len(rows):
            self._connection.executemany(_SEEN_BEFORE, map(itemgetter("id", "first_seen"), rows))

    def _merge(self, table: Table) -> None:
        temp = f"incoming.{table.name}"
        if table.deletable:
            self._drop_gone(table, temp)
        written = self._upsert(table, temp)
        if table.earliest is not None and (self._moved or written < self._came[table.name]):
            self._connection.execute(_keep_earliest(table, temp))

    def _stand_in(self) -> None:
        """Give recordings without a call one of which only the id is known."""
        insert, update = _STAND_INS
        if not self._bulk:
            insert += _CAME.format("call_id")
            update += _CAME.format("id")
        self._stand_ins |= self._connection.execute(insert).rowcount > 0
        if self._stand_ins:
            self._connection.execute(update)

    def _upsert(self, table: Table, temp: str) -> int:
        """Merge one table; versions that are two files, or files that are two, are told apart."""
        connection = self._connection
        names = ", ".join(self._columns[table.name])
        upsert = (
            f"INSERT INTO main.{table.name} ({names}) SELECT {names} FROM {temp} "  # noqa: S608
            f"WHERE true ORDER BY {', '.join(table.key)} "
            + _on_conflict(table, self._columns[table.name])
        )
        connection.execute("SAVEPOINT merging")
        try:
            written = self._write(upsert, table)
        except sqlite3.IntegrityError:
            if table.name != "recordings":
                raise
            connection.execute("ROLLBACK TO merging")
            self._renumber(_SAME_VERSION, temp)
            self._renumber(_SAME_PATH, temp)
            written = self._write(upsert, table)
        connection.execute("RELEASE merging")
        self._indexes.pop(table.name, None)
        return written

    def _write(self, upsert: str, table: Table) -> int:
        written = self._connection.execute(upsert).rowcount
        for statement in self._indexes.get(table.name, ()):
            self._connection.execute(statement)
        return written

    def _drop(self, gone: Iterable[Row]) -> None:
        """Drop rows that were deleted elsewhere, those that came after their deletions too."""
        for row in gone:
            table = BY_NAME.get(row["gone"])
            if table is None or not table.deletable:
                continue
            note_gone(self._connection, [row])
            where = " AND ".join(f"{name} = ?" for name in table.key)
            self._connection.execute(
                f"DELETE FROM main.{table.name} WHERE {where} "  # noqa: S608 - names of ours
                f"AND {table.stamp.format('', '')} <= ?",
                (*row["key"], row["at"]),
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
        if clashes:
            self._moved = True
            connection.execute(
                "CREATE INDEX IF NOT EXISTS incoming.by_call ON recordings (call_id)"
            )
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


def _drop_indexes(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Drop the indexes of our tables; for each table, what makes them again."""
    dropped: dict[str, list[str]] = defaultdict(list)
    found = connection.execute(
        "SELECT name, tbl_name, sql FROM main.sqlite_master "
        "WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, table, statement in found:
        if table in BY_NAME:
            connection.execute(f"DROP INDEX main.{name}")
            dropped[table].append(statement)
    return dropped


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


def _on_conflict(table: Table, columns: Sequence[str]) -> str:
    kept = {*table.key, table.earliest}
    changes = {name: f"excluded.{name}" for name in columns if name not in kept}
    better = f"({_order(table, 'excluded.')}) > ({_order(table, table.name + '.')})"
    if table.earliest is not None:
        changes[table.earliest] = _earliest(table)
    if table.name == "recordings":  # two files as one version: it must not be NULL, so this fails
        changes["attempts"] = f"CASE WHEN {_TWO_FILES} THEN NULL ELSE excluded.attempts END"
        better += f" OR {_TWO_FILES}"
    return (
        f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET "
        f"{', '.join(f'{name} = {value}' for name, value in changes.items())} WHERE {better}"
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
