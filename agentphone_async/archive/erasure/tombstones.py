"""``erased.jsonl``: which calls were erased, told by a keyed hash, so that none of them comes back.

A tombstone is written, and on the disk, before the first file of its call goes. It says nothing of
whose call it was: the hash can be compared with an id, and not be turned back into one. The file
lies beside the catalog, so that a lost catalog brings no call back, either.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agentphone_async.archive.settings_file import erasure_key, load_settings
from agentphone_async.errors import CatalogError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.disk import FILE_MODE, destination_errors, sync_folder, write_all

ERASED_NAME = "erased.jsonl"
"""In the archive's folder."""

_FLAGS = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The calls that were erased from one archive.

    Attributes:
        key: hashes ids; None if nothing was ever erased.
        hashes: of the ids, in hexadecimal.
    """

    key: bytes | None = None
    hashes: Collection[str] = frozenset()

    @classmethod
    def load(cls, folder: Path) -> Tombstones:
        """Those of the archive in a folder; none if it has none.

        Raises:
            CatalogError: the file, or the key beside it, cannot be read: nobody could tell then
                which calls must not come back.
        """
        path = folder / ERASED_NAME
        try:
            lines = path.read_bytes().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except OSError as error:
            raise _unusable(path, printable(error.strerror or str(error), 100)) from error
        hashes = frozenset(said for line in lines if (said := _hash_in(line)) is not None)
        key = load_settings(folder).erasure_key
        if hashes and key is None:
            raise _unusable(path, "archive.json, which has its key, is gone")
        return cls(key, hashes)

    def __len__(self) -> int:
        return len(self.hashes)

    def covers(self, call_id: str) -> bool:
        """Whether this call was erased."""
        if self.key is None or not self.hashes:
            return False
        return id_hash(call_id, self.key) in self.hashes


def id_hash(call_id: str, key: bytes) -> str:
    """What stands for a call id in a tombstone: HMAC-SHA-256, in hexadecimal."""
    return hmac.new(key, call_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


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


def _hash_in(line: bytes) -> str | None:
    try:
        said = json.loads(line)["hash"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return said if isinstance(said, str) else None


def _unusable(path: Path, reason: str) -> CatalogError:
    shown = printable(os.fspath(path), 300)
    return CatalogError(
        f"cannot use {shown}: {reason}; restore it from a backup before going on",
        filename=os.fspath(path),
    )
