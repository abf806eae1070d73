"""Compacted manifests as Parquet, for programs that read data frames; written where pyarrow is.

One file holds the rows of all tables. A column is named by its table and its name there, such as
``recordings.sha256``, and is NULL in the rows of other tables; ``table`` says whose a row is. What
the first line of a manifest says is in the schema's metadata, under ``agentphone-archive``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import Any

from agentphone_async.archive.bucket import manifest
from agentphone_async.archive.bucket.manifest import Part, Row
from agentphone_async.errors import ConfigurationError
from agentphone_async.protocol.display import printable

ENDING = ".parquet"
_ROWS = 4_000
_KEY = manifest.FORMAT.encode()

Columns = Mapping[str, Mapping[str, str]]
"""For each table its columns: their names, and their types in SQL."""


def is_available() -> bool:
    """Whether Parquet can be written here."""
    return find_spec("pyarrow") is not None


def encode(part: Part, rows: Iterable[Row], columns: Columns) -> bytes:
    """A compacted manifest's bytes; the rows are taken a few thousand at a time."""
    arrow, parquet = _pyarrow(part.name)
    types = {"INTEGER": arrow.int64(), "REAL": arrow.float64()}
    fields = [("table", arrow.string())]
    for table, some in columns.items():
        fields += [
            (f"{table}.{name}", types.get(kind, arrow.string())) for name, kind in some.items()
        ]
    fields += [(f"gone.{name}", arrow.string()) for name in ("table", "key", "at")]
    head = json.dumps(manifest.head(part)).encode()
    schema = arrow.schema(fields, metadata={_KEY: head})
    written = io.BytesIO()
    with parquet.ParquetWriter(written, schema, compression="zstd") as writer:
        iterator = iter(rows)
        while some_rows := list(islice(iterator, _ROWS)):
            batch = arrow.RecordBatch.from_pylist(list(map(_flat, some_rows)), schema=schema)
            writer.write_batch(batch)
    return written.getvalue()


def _flat(row: Row) -> Row:
    if "gone" in row:
        return {
            "table": "gone",
            "gone.table": row["gone"],
            "gone.key": json.dumps(row["key"]),
            "gone.at": row["at"],
        }
    table = row["table"]
    return {(name if name == "table" else f"{table}.{name}"): value for name, value in row.items()}


def head_of(data: bytes, name: str) -> Part:
    """What a compacted manifest is, and what it covers."""
    return manifest.part_of(_head(_open(data, name), name))


def decode(data: bytes, name: str) -> Iterator[Row]:
    """Its rows, as `manifest.decode` gives them.

    Raises:
        CatalogError: it is cut off, damaged, newer than we are, or not a manifest at all.
        ConfigurationError: pyarrow is not installed.
    """
    file = _open(data, name)
    _head(file, name)
    names: dict[str, list[tuple[str, str]]] = {}
    for column in file.schema_arrow.names:
        table, dot, rest = column.partition(".")
        if dot:
            names.setdefault(table, []).append((column, rest))
    size = 0
    try:
        for batch in file.iter_batches(_ROWS):
            size += batch.nbytes
            manifest.refuse_size(size, name)
            for row in batch.to_pylist():
                yield _deep(row, names.get(row["table"], []))
    except (OSError, ValueError) as error:
        raise manifest.torn(name, printable(str(error), 80)) from None


def _deep(row: Row, names: Sequence[tuple[str, str]]) -> Row:
    if row["table"] == "gone":
        key = json.loads(row["gone.key"])
        return {"gone": row["gone.table"], "key": key, "at": row["gone.at"]}
    found = {name: row[column] for column, name in names}
    found["table"] = row["table"]
    return found


def _open(data: bytes, name: str) -> Any:
    _, parquet = _pyarrow(name)
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        groups = map(file.metadata.row_group, range(file.num_row_groups))
        size = sum(group.total_byte_size for group in groups)
    except (OSError, ValueError) as error:
        raise manifest.torn(name, printable(str(error), 80)) from None
    manifest.refuse_size(size, name)
    return file


def _head(file: Any, name: str) -> Row:
    return manifest.checked((file.schema_arrow.metadata or {}).get(_KEY, b""), name)


def _pyarrow(name: str) -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigurationError(
            f"{printable(name, 200)} is Parquet, which catalog compact writes where pyarrow is; "
            "run: pip install 'agentphone-async[parquet]'"
        ) from None
