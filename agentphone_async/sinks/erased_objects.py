"""Calls that were erased from an archive in a bucket, for whoever stores recordings below it."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import anyio

from agentphone_async.errors import CatalogError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.bucket_errors import BucketError
from agentphone_async.sinks.erased import ERASED_OBJECTS, IDENTITY_OBJECT, Tombstones


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
        for url in _tops(self._url):
            bucket = Bucket(url)
            data = _identity(bucket)
            if data is not None:
                hashes = frozenset(PurePosixPath(h.path).name for h in bucket.list(ERASED_OBJECTS))
                return Tombstones(_key(data, url), hashes) if hashes else Tombstones()
        return Tombstones()


def _tops(url: str) -> list[str]:
    scheme, _, path = url.partition("://")
    least = 2 if scheme == "file" else 1
    parts = path.rstrip("/").split("/")
    return [f"{scheme}://{'/'.join(parts[:n])}" for n in range(len(parts), least - 1, -1)]


def _identity(bucket: Bucket) -> bytes | None:
    try:
        return bucket.read(IDENTITY_OBJECT)
    except FileNotFoundError:
        return None
    except BucketError as error:
        if error.refused:  # as S3 says of what is not there, without the permission to list
            return None
        raise


def _key(data: bytes, url: str) -> bytes:
    try:
        return bytes.fromhex(json.loads(data)["key"])
    except (ValueError, KeyError, TypeError, RecursionError):
        where = f"{url}/{IDENTITY_OBJECT}"
        raise CatalogError(
            f"{where} is damaged, and tells which calls were erased; restore it", filename=where
        ) from None
