"""Calls that were erased from an archive for good, so that nobody writes them there again.

An archive keeps a tombstone for each in ``erased.jsonl``: a hash of the call's id, keyed with what
``archive.json`` beside it says. Both are read here, and written by the archive only. Whoever stores
recordings below an archive's folder has to look, also who knows nothing of archives.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import anyio

from agentphone_async.errors import CatalogError
from agentphone_async.protocol.display import printable

if TYPE_CHECKING:
    from agentphone_async.sinks.bucket import Bucket

ERASED_NAME = "erased.jsonl"
"""In an archive's folder."""

SETTINGS_NAME = "archive.json"
"""Beside it."""

IDENTITY_OBJECT = "_catalog/archive.json"
"""In an archive in a bucket, what says who it is."""

ERASED_OBJECTS = "_catalog/erased"
"""In such an archive, what the names of its tombstones begin with."""

_Stamp: TypeAlias = tuple[int, int, int]


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
        return cls(_key_beside(path), hashes) if hashes else cls()

    def __len__(self) -> int:
        return len(self.hashes)

    def covers(self, call_id: str) -> bool:
        """Whether this call was erased."""
        if self.key is None or not self.hashes:
            return False
        return id_hash(call_id, self.key) in self.hashes


class Erased(Protocol):
    """Tells which calls must not be stored in a place."""

    async def look(self) -> Tombstones:
        """Those that were erased from the archive that it is, or lies in."""


@dataclass(slots=True)
class ErasedHere:
    """Tombstones of the archives that a folder is, or lies in, by its path or by its real one.

    They are looked for once, and read again only after they have changed.
    """

    folder: Path
    _tops: dict[Path, None] = field(default_factory=dict, init=False)

    async def look(self) -> Tombstones:
        """Those of the innermost archive as they are now; a file that is not read costs a `stat`.

        Raises:
            CatalogError: as `Tombstones.load`.
        """
        if not self._tops:
            # The functions of `os.path` take names that are too long, which `Path` does not.
            by_name = Path(os.path.abspath(self.folder))  # noqa: PTH100, ASYNC240 - see above
            real = Path(os.path.realpath(self.folder))  # noqa: ASYNC240 - once
            self._tops = dict.fromkeys((real, *real.parents, by_name, *by_name.parents))
        for top in self._tops:
            path = os.path.join(top, ERASED_NAME)  # noqa: PTH118 - for every folder above, each time
            there = os.path.lexists(path)  # noqa: ASYNC240 - microseconds, a hop takes more
            if there and (erased := _stamp(path)) is not None:
                return _loaded(top, erased, _stamp(os.path.join(top, SETTINGS_NAME)))  # noqa: PTH118
        return _NONE


class ErasedInBucket:
    """Tombstones of the archive that a URL is, or lies in. They are read once.

    Args:
        url: of the destination.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._found: Tombstones | None = None

    async def look(self) -> Tombstones:
        """Those of the innermost archive; none if there is none.

        Raises:
            CatalogError: its key cannot be read: nobody could tell which calls must not come back.
            DestinationError: the store cannot be asked.
        """
        if self._found is None:
            self._found = await anyio.to_thread.run_sync(self._load)
        return self._found

    def _load(self) -> Tombstones:
        from agentphone_async.sinks.bucket import Bucket  # noqa: PLC0415 - optional

        for url in _tops(self._url):
            bucket = Bucket(url)
            data = _identity(bucket)
            if data is not None:
                hashes = frozenset(PurePosixPath(h.path).name for h in bucket.list(ERASED_OBJECTS))
                return Tombstones(_key_of(data, url), hashes) if hashes else Tombstones()
        return Tombstones()


_NONE = Tombstones()


def id_hash(call_id: str, key: bytes) -> str:
    """What stands for a call id in a tombstone: HMAC-SHA-256, in hexadecimal."""
    return hmac.new(key, call_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


@lru_cache(maxsize=8)
def _loaded(top: Path, erased: _Stamp, settings: _Stamp | None) -> Tombstones:  # noqa: ARG001 - they tell whether it is still true
    return Tombstones.load(top)


def _stamp(path: str) -> _Stamp | None:
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _key_beside(path: Path) -> bytes:
    try:
        said: Any = json.loads((path.parent / SETTINGS_NAME).read_bytes())["erasure_key"]
        return bytes.fromhex(said)
    except FileNotFoundError:
        raise _unusable(path, f"{SETTINGS_NAME}, which has its key, is gone") from None
    except OSError as error:
        reason = printable(error.strerror or str(error), 100)
        raise _unusable(path.parent / SETTINGS_NAME, reason) from error
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _unusable(path, f"{SETTINGS_NAME} does not have its key") from None


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


def _tops(url: str) -> list[str]:
    scheme, _, path = url.partition("://")
    least = 2 if scheme == "file" else 1
    parts = path.rstrip("/").split("/")
    return [f"{scheme}://{'/'.join(parts[:n])}" for n in range(len(parts), least - 1, -1)]


def _identity(bucket: Bucket) -> bytes | None:
    from agentphone_async.sinks.bucket_errors import BucketError  # noqa: PLC0415 - optional

    try:
        return bucket.read(IDENTITY_OBJECT)
    except FileNotFoundError:
        return None
    except BucketError as error:
        if error.refused:  # as S3 says of what is not there, without the permission to list
            return None
        raise


def _key_of(data: bytes, url: str) -> bytes:
    try:
        return bytes.fromhex(json.loads(data)["key"])
    except (ValueError, KeyError, TypeError, RecursionError):
        where = f"{url}/{IDENTITY_OBJECT}"
        raise CatalogError(
            f"{where} is damaged, and tells which calls were erased; restore it", filename=where
        ) from None
