"""``erased.jsonl``: which calls were erased, told by a keyed hash, so that none of them comes back.

A tombstone is written, and on the disk, before the first file of its call goes. It says nothing of
whose call it was: the hash can be compared with an id, and not be turned back into one. The file
lies beside the catalog, so that a lost catalog brings no call back, either.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from agentphone_async.archive.settings_file import erasure_key
from agentphone_async.sinks.disk import FILE_MODE, destination_errors, sync_folder, write_all
from agentphone_async.sinks.erased import ERASED_NAME, Tombstones, id_hash

_FLAGS = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


def bury(folder: Path, call_ids: Iterable[str], now: datetime) -> list[str]:
    """Write tombstones, durably, for calls that have none yet; return the hashes of all.

    Raises:
        DestinationError: the file cannot be written.
    """
    key = erasure_key(folder)
    known = Tombstones.load(folder).hashes
    hashes = [id_hash(call_id, key) for call_id in call_ids]
    news = [one for one in dict.fromkeys(hashes) if one not in known]
    if news:
        at = now.isoformat(timespec="seconds")
        lines = [json.dumps({"hash": one, "at": at}) + "\n" for one in news]
        _append(folder / ERASED_NAME, "".join(lines).encode("ascii"))
    return hashes


def is_erased(folder: str | Path, call_id: str) -> bool:
    """Whether a call was erased from the archive in a folder; it must not be written there."""
    return Tombstones.load(Path(folder)).covers(call_id)


def _append(path: Path, text: bytes) -> None:
    with destination_errors(path):
        fd = os.open(path, _FLAGS, FILE_MODE)
        try:
            size = os.fstat(fd).st_size
            torn = size and os.pread(fd, 1, size - 1) != b"\n"  # a kill, or a full disk
            write_all(fd, [b"\n", text] if torn else [text])
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(path.parent)
