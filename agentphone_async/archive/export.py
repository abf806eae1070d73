"""The catalog as CSV or as JSON lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from agentphone_async.archive.catalog.database import Catalog
from agentphone_async.archive.query import Entry, entries
from agentphone_async.archive.selection import Selection
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.interface import Target
from agentphone_async.sinks.local import Fsync, LocalSink

Format = Literal["csv", "jsonl"]

COLUMNS = (
    "call_id", "state", "started", "ended", "direction", "status", "from_number", "to_number",
    "call_duration", "agent_id", "agent_name", "path", "version", "size", "sha256", "media_type",
    "sample_rate", "channels", "duration", "etag", "attempts", "last_error", "updated",
)  # fmt: skip
"""Of the CSV. ``call_duration`` is what the API says, ``duration`` what the audio has; seconds."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_LONGEST_CELL = 30_000  # spreadsheets take 32,767 characters


async def export(
    catalog: Catalog,
    format: Format,  # noqa: A002 - the command's word for it
    selection: Selection | None = None,
    *,
    states: Sequence[str] = (),
    versions: bool = False,
    excel: bool = False,
) -> AsyncGenerator[str]:
    """The catalog as text, in pieces of some hundred lines; memory does not grow.

    ``jsonl`` is exact: an object a line (`Entry.as_dict`), in ASCII. ``csv`` (RFC 4180 with line
    feeds, UTF-8, a head line) is for spreadsheets: control characters are written as escapes, and
    a cell that would be taken for a formula begins with an apostrophe. Plain numbers stay as they
    are, telephone numbers such as ``+15551230000`` among them.

    Args:
        catalog: open.
        format: ``csv`` or ``jsonl``.
        selection: which calls, as for `entries`.
        states: likewise.
        versions: likewise.
        excel: begin CSV with a byte-order mark, without which Excel does not read UTF-8.
    """
    if format == "csv":
        yield ("\ufeff" if excel else "") + ",".join(COLUMNS) + "\n"
    write = _csv if format == "csv" else _jsonl
    found = entries(catalog, selection, states=states, versions=versions)
    async with aclosing(found) as batches:
        async for batch in batches:
            yield write(batch)


async def export_to(path: Path, pieces: AsyncGenerator[str]) -> None:
    """Write an export into a file that appears, or is replaced, when it is whole; mode 0600.

    Raises:
        DestinationError: the disk failed; what was there before is there still.
    """
    sink = LocalSink(path.parent, fsync=Fsync.EACH, overwrite=True)
    try:
        upload = await sink.begin(Target(PurePosixPath(), path.name, extension=""))
        async with aclosing(pieces) as texts:
            async for text in texts:
                await upload.write([text.encode()])
        await sink.publish([await upload.stage(Audio("text/plain"))])
    finally:
        await sink.aclose()


def _jsonl(batch: Sequence[Entry]) -> str:
    return "".join(json.dumps(entry.as_dict()) + "\n" for entry in batch)


def _csv(batch: Sequence[Entry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([cell(value) for value in _row(entry)] for entry in batch)
    return text.getvalue()


def _row(entry: Entry) -> list[Any]:
    fields = entry.as_dict()
    call = entry.parsed()
    fields |= {
        "from_number": call.from_number,
        "to_number": call.to_number,
        "call_duration": call.duration_seconds,
        "agent_id": call.agent_id,
        "agent_name": call.agent_name,
    }
    return [fields[name] for name in COLUMNS]


def cell(value: Any) -> str:
    """A value as a cell that no spreadsheet takes for a formula, and no terminal for a command."""
    if value is None:
        return ""
    text = printable(str(value), _LONGEST_CELL)
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text
