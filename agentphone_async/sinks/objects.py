"""An object store as the place where recordings come to rest.

One recording is one create-only put: the store makes it visible whole, or not at all, so nothing
has to be renamed, and no multipart upload can be left open. Every object carries the SHA-256 of its
bytes, which tells a lost answer from somebody else's recording.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import anyio

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.recording import Audio
from agentphone_async.sinks.bucket import LARGEST_OBJECT, Bucket, Head
from agentphone_async.sinks.bucket_errors import BucketError
from agentphone_async.sinks.interface import Staged, Stored, Target
from agentphone_async.sinks.store import Data, Spool, StoreSink
from agentphone_async.sinks.threads import FilePool

_TRIES = 5
_PAUSE = 0.2
_MOST_VERSIONS = 1000
_VERSION = re.compile(r"\.v([1-9]\d*)$")
_WRITER = secrets.token_hex(8)  # tells what this process wrote from what others did


class ObjectSink(StoreSink):
    """Recordings as objects below one prefix.

    Args:
        bucket: where; see `from_url`.
        overwrite: whether a name that is taken is replaced. Otherwise other bytes than those that
            have the name become its next version: ``recording-x.v2.wav``.
        spool: folder for what is too large for memory; by default a private one of the system's.
        pool: threads to write and hash on; one of its own if not given.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        overwrite: bool = False,
        spool: Path | None = None,
        pool: FilePool | None = None,
    ) -> None:
        self.bucket = bucket
        self._overwrite = overwrite
        self._sink_spool = Spool(spool)
        self._sink_own_pool = pool is None
        if pool is not None:
            self._sink_pool = pool

    def __repr__(self) -> str:
        return f"<ObjectSink {self.bucket.url}>"

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        overwrite: bool = False,
        allow_overwrite: bool = False,
        pool: FilePool | None = None,
    ) -> ObjectSink:
        """A sink for ``s3://bucket/prefix``, ``gs://…``, ``az://…``; nothing is sent yet.

        Args:
            url: where; credentials are found by obstore, in the environment or the machine's role.
            overwrite: see the class.
            allow_overwrite: use a store even if it ignores create-only puts.
            pool: see the class.

        Raises:
            ConfigurationError: the URL cannot work, or the extra is not installed.
        """
        bucket = Bucket.from_url(url, allow_overwrite=allow_overwrite)
        return cls(bucket, overwrite=overwrite, pool=pool)

    async def _sink_ready(self) -> None:
        await super()._sink_ready()
        if not self.bucket.checked:
            try:
                await self._sink_pool.run(self.bucket.prove)
            except DestinationError as error:
                self._sink_error = error
                raise

    async def has(self, name: str) -> bool:
        """Whether this name is taken."""
        try:
            return await self.bucket.head_async(name) is not None
        except BucketError as error:
            if error.refused:  # without permission to list, so S3 says that it is not there
                return False
            raise

    async def create(self, name: str, data: Data, recording: Staged) -> bool:
        """Put one object; False if its name is taken."""
        metadata = metadata_of(recording.audio, recording.sha256)
        return await self._create_object(name, data, metadata) is None

    _sink_has = has

    async def _sink_store(self, data: Data, recording: Staged) -> Stored:
        size, sha256 = recording.size, recording.sha256
        if size > LARGEST_OBJECT:
            raise DestinationError(
                f"{self.bucket.url}: a recording of {size} bytes is more than the {LARGEST_OBJECT} "
                "that a store takes in one request; set --max-file-size",
                filename=self.bucket.url,
            )
        target = recording.target.for_bytes(sha256)
        metadata = metadata_of(recording.audio, sha256)
        name = target.named(recording.audio.media_type)
        if self._overwrite:
            await self.bucket.put(str(name), data, metadata, mode="overwrite")
            return Stored(name, size, sha256)
        for _ in range(_MOST_VERSIONS):
            there = await self._create_object(str(name), data, metadata)
            if there is None:
                return Stored(name, size, sha256)
            if there.size == size and await self._sha256(there) == sha256:
                # Ours after a lost answer; or another writer was faster with the same bytes.
                ours = there.metadata.get("writer") == _WRITER
                return Stored(name, size, sha256, new=ours)
            if target.extension is not None:  # the whole name was chosen by the user
                return Stored(name, size, sha256, new=False)
            target = next_version(target)
            name = target.named(recording.audio.media_type)
        raise DestinationError(
            f"{self.bucket.url}: {printable(str(name), 120)} and {_MOST_VERSIONS} versions of it "
            "are taken by other bytes",
            filename=self.bucket.url,
        )

    async def _create_object(self, path: str, data: Data, metadata: dict[str, str]) -> Head | None:
        """Put one object; return what has its name already, or None.

        "Taken" is believed only when something is there: a put that raced with a delete is
        answered so, too. Who may not list is told 403 of an object that is not there.
        """
        refused: BucketError | None = None
        for attempt in range(_TRIES):
            if await self.bucket.create(path, data, metadata):
                return None
            try:
                there = await self.bucket.head_async(path)
            except BucketError as error:
                if not error.refused:
                    raise
                refused, there = error, None
            if there is not None:
                return there
            await anyio.sleep(_PAUSE * attempt)
        raise refused or DestinationError(
            f"{self.bucket.url} says that {printable(path, 120)} is there, and then that it is "
            "not; try again later",
            filename=self.bucket.url,
        )

    async def _sha256(self, there: Head) -> str:
        said = there.metadata.get("sha256")
        if said is not None:
            return said
        return await self._sink_pool.run(self.bucket.sha256, there.path)


def metadata_of(audio: Audio, sha256: str) -> dict[str, str]:
    """What an object says of itself: enough to catalogue it without reading its bytes."""
    known = {
        "Content-Type": audio.media_type,
        "sha256": sha256,
        "writer": _WRITER,
        "rate": audio.sample_rate,
        "channels": audio.channels,
        "seconds": audio.duration_seconds,
        "suspect": audio.suspect and audio.suspect.encode("ascii", "replace").decode()[:200],
    }
    return {name: str(value) for name, value in known.items() if value is not None}


def next_version(target: Target) -> Target:
    """The name for other bytes than those that have this one: ``x``, then ``x.v2``, ``x.v3``."""
    found = _VERSION.search(target.stem)
    if found is None:
        return target._replace(stem=f"{target.stem}.v2")
    return target._replace(stem=f"{target.stem[: found.start()]}.v{int(found[1]) + 1}")
