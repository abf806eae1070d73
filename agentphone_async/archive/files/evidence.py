"""What lies beside the files of an archive and vouches for them, whatever became of the catalog.

``SHA256SUMS`` in each folder vouches for bytes: a file that matches its sum is what was archived,
whatever its header says. The index, in ``.agentphone-index`` at the top, tells whose each file is,
also where names do not: one JSON object for each file, in one ``index.jsonl`` for each folder.
Both are written together, from the catalog. Blocking, for threads.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from agentphone_async.archive.catalog.rows import (
    NAMES,
    SIDECAR_NAMES,
    RecordingRow,
    SidecarRow,
    id_from_text,
    id_to_text,
    moment_of,
    recording_row,
)
from agentphone_async.archive.names import SUMS_NAME
from agentphone_async.models import Call
from agentphone_async.sinks.disk import destination_errors

INDEX_FOLDER = ".agentphone-index"
"""At the top of an archive; holds call ids, and is as private as the catalog."""

_INDEX_NAME = "index.jsonl"
_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+?)\r?", re.DOTALL)
_BOM = b"\xef\xbb\xbf"  # and line ends of two characters: of editors on Windows
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r"})
_ESCAPED = re.compile(r"\\[\\nr]")
_PLAIN = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_STATES = ("archived", "suspect", "empty")
_INDEXED = tuple(
    name for name in NAMES if name not in {"call_id", "path", "run", "disputed", "ask_after"}
)
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def sums_in(folder: Path) -> Mapping[str, str]:
    """The sums that a folder's ``SHA256SUMS`` has, by file name; empty if there is none.

    Raises:
        DestinationError: the file cannot be read.
    """
    path = folder / SUMS_NAME
    with destination_errors(path):
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        if not stat.S_ISREG(status.st_mode):
            return {}  # a link may lead anywhere, and a pipe never ends
        return _sums(path, status.st_mtime_ns, status.st_size, status.st_ino)


@lru_cache(maxsize=16)
def _sums(path: Path, _written: int, _size: int, _number: int) -> Mapping[str, str]:
    text = path.read_bytes().removeprefix(_BOM).decode("utf-8", "surrogateescape")
    found: dict[str, str] = {}
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        if match:
            name = match[3]
            if match[1]:
                name = _ESCAPED.sub(lambda one: _PLAIN[one[0]], name)
            found[name] = match[2].lower()
    return found


def sums_line(name: str, sha256: str) -> str:
    """One line as ``sha256sum`` writes it (GNU coreutils manual, "cksum common options").

    A name with a backslash or a line break is escaped, and its line begins with a backslash.
    """
    escaped = name.translate(_ESCAPES)
    mark = "" if escaped == name else "\\"
    return f"{mark}{sha256}  {escaped}\n"


def index_path(folder: PurePosixPath) -> PurePosixPath:
    """Where the index of a folder is, relative to the archive."""
    return PurePosixPath(INDEX_FOLDER) / folder / _INDEX_NAME


def recording_line(name: str, columns: Sequence[Any]) -> str:
    """The line of a recording in the index of its folder, from its row in the catalog."""
    said = dict(zip(NAMES, columns, strict=True))
    told = {key: said[key] for key in _INDEXED}
    return _line({"name": name, "kind": "recording", "call_id": id_from_text(columns[0])} | told)


def call_line(text: str, raw: str, first_seen: str, last_seen: str) -> str:
    """The line of a call of which files lie in a folder, from its row in the catalog."""
    return _line(
        {
            "kind": "call",
            "call_id": id_from_text(text),
            "first_seen": first_seen,
            "last_seen": last_seen,
            "raw": raw,
        }
    )


def sidecar_line(name: str, columns: Sequence[Any]) -> str:
    """The line of a file beside a recording, from its row in the catalog."""
    said = dict(zip(SIDECAR_NAMES, columns, strict=True))
    del said["path"]
    return _line({"name": name} | said | {"call_id": id_from_text(columns[0])})


@dataclass(frozen=True, slots=True)
class IndexedCall:
    """A call as the index has it: its JSON, and when it was listed last."""

    call: Call
    last_seen: datetime


Indexed = RecordingRow | SidecarRow | IndexedCall


def indexed(archive: Path) -> Iterator[Indexed]:
    """Everything that the index tells, as far as it can be read; nothing of it is proved."""
    top = archive / INDEX_FOLDER
    for at, folders, names in os.walk(top):
        folders.sort()
        if _INDEX_NAME not in names:
            continue
        folder = PurePosixPath(Path(at).relative_to(top).as_posix())
        with suppress(OSError), (Path(at) / _INDEX_NAME).open("rb") as file:
            for line in file:
                row = _row(folder, line)
                if row is not None:
                    yield row


def _line(fields: Mapping[str, Any]) -> str:
    return _ENCODER.encode(fields) + "\n"


def _row(folder: PurePosixPath, line: bytes) -> Indexed | None:
    try:
        said = json.loads(line)
        if said["kind"] == "call":
            return IndexedCall(
                Call.from_json(json.loads(said["raw"])), moment_of(said["last_seen"])
            )
        name = said["name"]
        if not isinstance(name, str) or "/" in name or name in {"", ".", ".."} or "\0" in name:
            return None
        if said["kind"] == "recording":
            return _recording(folder / name, said)
        return SidecarRow(
            str(said["call_id"]),
            str(said["kind"]),
            folder / name,
            int(said["size"]),
            str(said["sha256"]),
            moment_of(said["updated"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError):
        return None  # torn, or somebody else's


def _recording(path: PurePosixPath, said: Mapping[str, Any]) -> RecordingRow | None:
    if said["state"] not in _STATES:
        return None
    told = {name: said[name] for name in _INDEXED}
    told |= {name: int(said[name]) for name in ("version", "size", "attempts")}
    told |= {"call_id": id_to_text(str(said["call_id"])), "path": path.as_posix()}
    return recording_row([told.get(name) for name in NAMES])
