"""One prefix of an object store: opened by its URL, written create-only, spoken to by obstore.

This is the only room that speaks obstore. What it promises: `Bucket.create` either makes an object
whole under a name that was free, or changes nothing. A store that ignores the condition would
overwrite without a word, so `Bucket.prove` puts one key again before anything else is written.
Credentials are found by obstore itself (environment, web identity, instance metadata); they are
never read, kept or printed here.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentphone_async.errors import ConfigurationError, DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.bucket_errors import BucketError, Doing, bucket_errors
from agentphone_async.sinks.bucket_opening import (
    FIRST,
    LARGE,
    USUAL,
    Patience,
    check_environment,
    open_store,
    split_url,
)

LARGEST_OBJECT = 5 * 1024**3
"""Bytes; what S3 takes in one request. A create-only put has to be one."""

_LARGE = 1024 * 1024
"""Bytes of an object that may be on its way for long."""

_PROBES = 4
"""Times that one key is put at first: some stores ignore the condition only now and then."""

_TRIES = 5
_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of an object without reading it.

    Attributes:
        path: its key below the prefix.
        size: bytes.
        modified: when it was written, by the store's clock.
        metadata: what its writer said of it; ``sha256`` among them if we wrote it.
    """

    path: str
    size: int
    modified: datetime
    metadata: Mapping[str, str]


class Bucket:
    """A prefix of an object store. Methods without ``async`` block, and are for threads.

    Args:
        url: ``s3://bucket/prefix``, ``gs://…``, ``az://container/prefix``, ``file:///folder``.
        allow_overwrite: use a store that cannot create without overwriting. Names are then looked
            up first, and two writers at once may still overwrite each other.

    Raises:
        ConfigurationError: the URL or the environment cannot work, or the extra is not installed.
    """

    def __init__(self, url: str, *, allow_overwrite: bool = False) -> None:
        self._place = split_url(url)
        scheme, container, prefix = self._place
        self.url = f"{scheme}://{container}" + (f"/{prefix}" if prefix else "")
        self.allow_overwrite = allow_overwrite
        self.checked = False  # create-only is honoured, or need not be
        self.careful = False  # it is not, and the user has allowed that
        self._local = scheme == "file"
        self._stores: dict[Patience, Any] = {}
        self._reached = False
        try:
            import obstore  # noqa: PLC0415 - an extra
            from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError(
                f"{self.url} needs the extra for object stores; run: "
                "pip install 'agentphone-async[s3]'"
            ) from None
        self._api: Any = obstore
        self._taken: type[Exception] = AlreadyExistsError
        check_environment(scheme, self.url)
        try:
            with bucket_errors(self.url, "open"):
                self._store(FIRST)
        except BucketError as error:
            raise ConfigurationError(str(error)) from None

    def __repr__(self) -> str:
        return f"<Bucket {self.url}>"

    @classmethod
    def from_url(cls, url: str, *, allow_overwrite: bool = False) -> Bucket:
        """The same as the class itself; nothing is sent yet."""
        return cls(url, allow_overwrite=allow_overwrite)

    def _store(self, patience: Patience) -> Any:
        store = self._stores.get(patience)
        if store is None:
            from obstore import store as stores  # noqa: PLC0415 - an extra

            store = self._stores[patience] = open_store(stores, *self._place, patience)
        return store

    @contextlib.contextmanager
    def _asked(self, doing: Doing, size: int = 0) -> Iterator[Any]:
        """The store, with as much patience as it has earned; errors become ours."""
        write = doing == "write"
        known = self._reached or (self._local and write)
        try:
            with bucket_errors(self.url, doing):
                yield self._store((LARGE if size > _LARGE else USUAL) if known else FIRST)
        except (DestinationError, GeneratorExit):
            raise
        except Exception:  # that a name is taken, or free, is an answer
            self._reached = self._reached or write or not self._local
            raise
        self._reached = self._reached or write or not self._local

    # ------------------------------------------------------------ writing

    async def create(self, path: str, data: Any, metadata: Mapping[str, str]) -> bool:
        """Write an object if its name is free; False if it is taken. ``metadata`` as in `Head`."""
        if self.careful and await self.head_async(path) is not None:
            return False
        return await self.put(path, data, metadata, mode=self._mode)

    async def put(self, path: str, data: Any, metadata: Mapping[str, str], *, mode: str) -> bool:
        """Write an object; False if ``mode`` is ``create`` and its name is taken."""
        try:
            with self._asked("write", len(data)) as store:
                await self._api.put_async(store, path, data, **self._how(metadata, mode))
        except self._taken:
            return False
        return True

    def put_now(self, path: str, data: bytes, metadata: Mapping[str, str], *, mode: str) -> bool:
        """`put`, blocking."""
        try:
            with self._asked("write", len(data)) as store:
                self._api.put(store, path, data, **self._how(metadata, mode))
        except self._taken:
            return False
        return True

    def _how(self, metadata: Mapping[str, str], mode: str) -> dict[str, Any]:
        attributes = dict(metadata) if metadata and not self._local else None
        return {"mode": mode, "use_multipart": False, "attributes": attributes}

    def create_now(self, path: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        """`create`, blocking; the answer "taken" is believed only if something is there.

        S3 answers so, too, to a put that raced with a delete (apache/arrow-rs-object-store#852).
        """
        for _ in range(_TRIES):
            if self.careful and self.head(path) is not None:
                return False
            if self.put_now(path, data, metadata, mode=self._mode):
                return True
            if self.head(path) is not None:
                return False
            time.sleep(_PAUSE)
        raise DestinationError(
            f"{self.url} says that {printable(path, 120)} is there, and then that it is not; try "
            "again later",
            filename=self.url,
        )

    def remove(self, path: str) -> bool:
        """Delete an object; False if there was none."""
        try:
            with self._asked("delete") as store:
                self._api.delete(store, path)
        except FileNotFoundError:
            return False
        return True

    def copy(self, path: str, to: str) -> None:
        """Copy an object within the store, with what it says of itself."""
        with self._asked("write", LARGEST_OBJECT) as store:
            self._api.copy(store, path, to)

    def prove(self) -> None:
        """Find out, once, whether the store creates without overwriting.

        Raises:
            DestinationError: it does not; or it cannot be written to at all, and why.
        """
        if self.checked:
            return
        probe = f".agentphone-probe-{secrets.token_hex(8)}"
        try:
            created = [self.put_now(probe, b"probe", {}, mode="create") for _ in range(_PROBES)]
            lacks = "overwrites objects that are there" if any(created[1:]) else None
        except BucketError as error:
            if error.status != 501:
                raise
            lacks = "does not know If-None-Match (501)"
        finally:
            self._forget(probe)
        if lacks is not None:
            if not self.allow_overwrite:
                raise DestinationError(
                    f"{self.url}: the store {lacks}, so that two runs could overwrite each other's "
                    "recordings; use another store, or --allow-overwrite if nobody else writes "
                    "to it",
                    filename=self.url,
                )
            self.careful = True
        self.checked = True

    def _forget(self, path: str) -> None:
        try:
            self.remove(path)
        except DestinationError:  # who may not delete leaves a probe of five bytes
            return

    # ------------------------------------------------------------ reading

    def head(self, path: str) -> Head | None:
        """What is known of an object; None if it is not there."""
        try:
            with self._asked("read") as store:
                return _head(self._api.get(store, path, options={"head": True}))
        except FileNotFoundError:
            return None

    async def head_async(self, path: str) -> Head | None:
        """`head`, without blocking the loop."""
        try:
            with self._asked("read") as store:
                return _head(await self._api.get_async(store, path, options={"head": True}))
        except FileNotFoundError:
            return None

    def read(self, path: str) -> bytes:
        """All of a small object.

        Raises:
            FileNotFoundError: it is not there.
        """
        with self._asked("read") as store:
            return bytes(self._api.get(store, path).bytes())

    def chunks(self, path: str, size: int = 1024 * 1024) -> Iterator[bytes]:
        """An object's bytes, a few at a time; raises as `read`."""
        with self._asked("read") as store:
            for chunk in self._api.get(store, path).stream(min_chunk_size=size):
                yield bytes(chunk)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """A part of an object; raises as `read`."""
        with self._asked("read") as store:
            return bytes(self._api.get_range(store, path, start=start, length=length))

    async def stream(self, path: str, start: int, end: int, size: int) -> AsyncGenerator[bytes]:
        """A part of an object in one request, in pieces of about ``size``; raises as `read`."""
        with self._asked("read") as store:
            options = {"range": (start, end)}
            got = await self._api.get_async(store, path, options=options)
            async for piece in got.stream(min_chunk_size=size):
                yield bytes(piece)

    def list(self, under: str = "", *, after: str | None = None) -> Iterator[Head]:
        """All objects whose keys begin with the folder ``under``, without their metadata."""
        with self._asked("list") as store:
            pages = self._api.list(store, under or None, offset=after, chunk_size=1000)
            for page in pages:
                for meta in page:
                    yield Head(meta["path"], meta["size"], meta["last_modified"], {})

    def starting(self, text: str) -> Iterator[Head]:
        """`list`, of keys that begin with these characters, whatever else is in their folder."""
        for head in self.list(text.rpartition("/")[0], after=text):
            if head.path.startswith(text):
                yield head
            elif not self._local:  # a store lists in order
                return

    def sha256(self, path: str) -> str:
        """The SHA-256 of an object's bytes, read and counted."""
        digest = hashlib.sha256()
        for chunk in self.chunks(path):
            digest.update(chunk)
        return digest.hexdigest()

    @property
    def _mode(self) -> str:
        return "overwrite" if self.careful else "create"


def _head(got: Any) -> Head:
    meta = got.meta
    metadata = {str(key).lower(): str(value) for key, value in got.attributes.items()}
    return Head(meta["path"], meta["size"], meta["last_modified"], metadata)
