"""The archive's objects, asked for like files: what a run needs of the place where it stores.

The catalog is trusted where a file would be looked at: an object that a manifest names was whole
when it was stored, and a store does not lose objects as disks lose files. `check` looks at them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from agentphone_async.archive.catalog.opening import connect, inspect
from agentphone_async.archive.catalog.recordings import owners_of
from agentphone_async.archive.files.on_disk import Found
from agentphone_async.archive.options import Mode
from agentphone_async.protocol.recording import ALL_EXTENSIONS, Audio
from agentphone_async.sinks.bucket import Bucket, Head
from agentphone_async.sinks.local import Fsync
from agentphone_async.sinks.objects import ObjectSink
from agentphone_async.sinks.threads import FilePool

_CHUNK = 400
PROBES = 4
"""Objects of one batch and folder that are asked for, before the whole folder is listed."""


class BucketFiles:
    """All that a run does to objects, besides storing new ones; blocking, for the catalog's thread.

    Args:
        bucket: the archive's prefix.
        cache: the folder of the catalog.
    """

    root = Path()
    """What paths in outcomes begin with: nothing, they are the objects' keys below the prefix."""

    def __init__(self, bucket: Bucket, cache: Path) -> None:
        self.bucket = bucket
        self._cache = cache
        self._connection: sqlite3.Connection | None = None
        self.unlikely = False
        """Whether objects without a manifest are unlikely, as those of a shard nobody has begun."""

    def size_of(self, path: PurePosixPath | str) -> int | None:
        """An object's size, as the catalog or else the store knows it; None if there is none."""
        known = self._known(str(path))
        if known is not None:
            return known
        head = self.bucket.head(str(path))
        return None if head is None else head.size

    def _known(self, path: str) -> int | None:
        if self._connection is None:
            if not inspect(self._cache):
                return None
            self._connection = connect(self._cache, write=False)
        row = self._connection.execute(
            "SELECT size FROM recordings WHERE path = ? AND state IN ('archived', 'suspect')",
            (path,),
        ).fetchone()
        return None if row is None else int(row[0])

    def close(self) -> None:
        """Close what was opened to look things up; fine at any time."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def examine(self, path: PurePosixPath, call_id: str) -> Found | None:  # noqa: ARG002
        """What an object says of itself; ``audio`` is None if we did not write it."""
        head = self.bucket.head(str(path))
        if head is None:
            return None
        return Found(path, head.size, head.metadata.get("sha256", ""), audio_of(head))

    def quarantine(self, path: PurePosixPath) -> PurePosixPath:
        """Leave it: an object cannot be renamed, and ours get names that are free."""
        return path

    def remove(self, path: PurePosixPath) -> None:
        """Delete an object; fine if there is none."""
        self.bucket.remove(str(path))

    def written_before(self, path: PurePosixPath, moment: float) -> bool:
        """Whether an object is older than a moment of `time.time`, by the store's clock."""
        head = self.bucket.head(str(path))
        return head is not None and head.modified.timestamp() < moment

    def untracked(
        self, connection: sqlite3.Connection, folder: PurePosixPath, wanted: Sequence[str]
    ) -> frozenset[str] | None:
        """Names in a folder that the catalog did not know when the folder was listed.

        None if `unlikely` is set and none of a few of ``wanted`` is there. One that is there all
        the same is fetched again, and its put finds it.
        """
        if self.unlikely:
            some = wanted[:: -(-len(wanted) // PROBES)]
            if not any(self.bucket.head(f"{folder / name}.wav") for name in some):
                return None
        return frozenset(self._list(connection, folder))

    def _list(self, connection: sqlite3.Connection, folder: PurePosixPath) -> list[str]:
        under = "" if folder == PurePosixPath() else folder.as_posix()
        unknown: list[str] = []
        paths = (
            head.path
            for head in self.bucket.list(under)
            if head.path.rpartition("/")[0] == under and head.path.endswith(ALL_EXTENSIONS)
        )
        while chunk := list(islice(paths, _CHUNK)):
            known = owners_of(connection, chunk)
            unknown += [path.rpartition("/")[2] for path in chunk if path not in known]
        return unknown

    def make_durable(self, paths: Sequence[PurePosixPath]) -> None:
        """Nothing: a put that was answered is durable."""

    def sweep(self, folder: PurePosixPath) -> int:  # noqa: ARG002 - as for files
        """Nothing: a put that was not answered is there whole, or not at all."""
        return 0

    def sink(self, fsync: Fsync, mode: Mode = "private") -> ObjectSink:  # noqa: ARG002 - as for files
        """Where new recordings go."""
        return ObjectSink(self.bucket)

    def beside(self, fsync: Fsync, pool: FilePool) -> ObjectSink:  # noqa: ARG002 - as for files
        """Where what lies beside recordings goes."""
        return ObjectSink(self.bucket, overwrite=True, pool=pool)

    def has(self, path: PurePosixPath, size: int) -> bool:  # noqa: ARG002 - as for files
        """Whether it is there; what the catalog names was stored."""
        return True

    def remove_if(self, path: PurePosixPath, sha256: str) -> None:
        """Delete an object if it has these bytes."""
        head = self.bucket.head(str(path))
        if head is not None and head.metadata.get("sha256") == sha256:
            self.bucket.remove(str(path))


def audio_of(head: Head) -> Audio | None:
    """What the metadata of an object of ours say of its audio; None for anybody else's."""
    said = head.metadata
    if "sha256" not in said:
        return None
    try:
        return Audio(
            said.get("content-type", "audio/wav"),
            float(said["seconds"]) if "seconds" in said else None,
            int(said["rate"]) if "rate" in said else None,
            int(said["channels"]) if "channels" in said else None,
            said.get("suspect"),
        )
    except ValueError:
        return None
