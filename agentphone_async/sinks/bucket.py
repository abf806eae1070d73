"""One prefix of an object store: opened by its URL, written create-only, spoken to by obstore.

This is the only room that speaks obstore. What it promises: `Bucket.create` either makes an object
whole under a name that was free, or changes nothing. A store that ignores the condition would
overwrite without a word, so `Bucket.prove` puts one key twice before anything else is written.
Credentials are found by obstore itself (environment, web identity, instance metadata); they are
never read, kept or printed here.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from agentphone_async.errors import ConfigurationError, DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.sinks.bucket_errors import BucketError, bucket_errors

SCHEMES = ("s3", "gs", "az", "file", "memory")
"""The URLs that are understood; ``memory://`` is for tests, and forgotten with the process."""

LARGEST_OBJECT = 5 * 1024**3
"""Bytes; what S3 takes in one request. A create-only put has to be one."""

_RETRIES = 8
_RETRY_SECONDS = 60.0
_TRIES = 5
_PAUSE = 0.1
_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL", "GOOGLE_STORAGE_BASE_URL"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_ALLOWED = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_memories: dict[str, Any] = {}


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
        store: an obstore store, with the prefix already in it.
        url: for messages.
        allow_overwrite: use a store that cannot create without overwriting. Names are then looked
            up first, and two writers at once may still overwrite each other.
    """

    def __init__(self, store: Any, url: str, *, allow_overwrite: bool = False) -> None:
        self.store = store
        self.url = url
        self.allow_overwrite = allow_overwrite
        self.checked = False  # create-only is honoured, or need not be
        self.careful = False  # it is not, and the user has allowed that
        self.has_metadata = type(store).__name__ != "LocalStore"

    def __repr__(self) -> str:
        return f"<Bucket {self.url}>"

    @classmethod
    def from_url(cls, url: str, *, allow_overwrite: bool = False) -> Bucket:
        """Open ``s3://bucket/prefix``, ``gs://…``, ``az://container/prefix``, ``file:///folder``.

        Nothing is sent yet.

        Raises:
            ConfigurationError: the URL cannot work, or the extra is not installed.
        """
        scheme, container, prefix = split_url(url)
        shown = f"{scheme}://{container}" + (f"/{prefix}" if prefix else "")
        try:
            from obstore import store as stores  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError(
                f"{shown} needs the extra for object stores; run: "
                "pip install 'agentphone-async[s3]'"
            ) from None
        try:
            with bucket_errors(shown, "open"):
                store = _open(stores, scheme, container, prefix)
        except BucketError as error:
            raise ConfigurationError(str(error)) from None
        return cls(store, shown, allow_overwrite=allow_overwrite)

    # ------------------------------------------------------------ writing

    async def create(self, path: str, data: Any, metadata: Mapping[str, str]) -> bool:
        """Write an object if its name is free; False if it is taken. ``metadata`` as in `Head`."""
        if self.careful and await self.head_async(path) is not None:
            return False
        return await self.put(path, data, metadata, mode=self._mode)

    async def put(self, path: str, data: Any, metadata: Mapping[str, str], *, mode: str) -> bool:
        """Write an object; False if ``mode`` is ``create`` and its name is taken."""
        with bucket_errors(self.url, "write"):
            try:
                await self._api.put_async(self.store, path, data, **self._how(metadata, mode))
            except self._taken:
                return False
        return True

    def put_now(self, path: str, data: bytes, metadata: Mapping[str, str], *, mode: str) -> bool:
        """`put`, blocking."""
        with bucket_errors(self.url, "write"):
            try:
                self._api.put(self.store, path, data, **self._how(metadata, mode))
            except self._taken:
                return False
        return True

    def _how(self, metadata: Mapping[str, str], mode: str) -> dict[str, Any]:
        attributes = dict(metadata) if self.has_metadata and metadata else None
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
        with bucket_errors(self.url, "delete"):
            try:
                self._api.delete(self.store, path)
            except FileNotFoundError:
                return False
        return True

    def copy(self, path: str, to: str) -> None:
        """Copy an object within the store, with what it says of itself."""
        with bucket_errors(self.url, "write"):
            self._api.copy(self.store, path, to)

    def prove(self) -> None:
        """Find out, once, whether the store creates without overwriting.

        Raises:
            DestinationError: it does not; or it cannot be written to at all, and why.
        """
        if self.checked:
            return
        probe = f".agentphone-probe-{secrets.token_hex(8)}"
        try:
            created = [self.put_now(probe, b"probe", {}, mode="create") for _ in range(2)]
        finally:
            self._forget(probe)
        if created[1]:
            if not self.allow_overwrite:
                raise DestinationError(
                    f"{self.url} overwrites objects that are there, whatever it is asked (it "
                    "ignores If-None-Match); use another store, or --allow-overwrite if nobody "
                    "else writes to it",
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
        with bucket_errors(self.url, "read"):
            try:
                return _head(self._api.get(self.store, path, options={"head": True}))
            except FileNotFoundError:
                return None

    async def head_async(self, path: str) -> Head | None:
        """`head`, without blocking the loop."""
        with bucket_errors(self.url, "read"):
            try:
                return _head(await self._api.get_async(self.store, path, options={"head": True}))
            except FileNotFoundError:
                return None

    def read(self, path: str) -> bytes:
        """All of a small object.

        Raises:
            FileNotFoundError: it is not there.
        """
        with bucket_errors(self.url, "read"):
            return bytes(self._api.get(self.store, path).bytes())

    def chunks(self, path: str, size: int = 1024 * 1024) -> Iterator[bytes]:
        """An object's bytes, a few at a time; raises as `read`."""
        with bucket_errors(self.url, "read"):
            for chunk in self._api.get(self.store, path).stream(min_chunk_size=size):
                yield bytes(chunk)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """A part of an object; raises as `read`."""
        with bucket_errors(self.url, "read"):
            return bytes(self._api.get_range(self.store, path, start=start, length=length))

    async def stream(self, path: str, start: int, end: int, size: int) -> AsyncGenerator[bytes]:
        """A part of an object in one request, in pieces of about ``size``; raises as `read`."""
        with bucket_errors(self.url, "read"):
            options = {"range": (start, end)}
            got = await self._api.get_async(self.store, path, options=options)
            async for piece in got.stream(min_chunk_size=size):
                yield bytes(piece)

    def list(self, under: str = "", *, after: str | None = None) -> Iterator[Head]:
        """All objects whose keys begin with the folder ``under``, without their metadata."""
        with bucket_errors(self.url, "list"):
            pages = self._api.list(self.store, under or None, offset=after, chunk_size=1000)
            for page in pages:
                for meta in page:
                    yield Head(meta["path"], meta["size"], meta["last_modified"], {})

    def sha256(self, path: str) -> str:
        """The SHA-256 of an object's bytes, read and counted."""
        digest = hashlib.sha256()
        for chunk in self.chunks(path):
            digest.update(chunk)
        return digest.hexdigest()

    @property
    def _mode(self) -> str:
        return "overwrite" if self.careful else "create"

    @property
    def _taken(self) -> type[Exception]:
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415 - an extra

        return AlreadyExistsError

    @property
    def _api(self) -> Any:
        import obstore  # noqa: PLC0415 - an extra

        return obstore


def _head(got: Any) -> Head:
    meta = got.meta
    metadata = {str(key).lower(): str(value) for key, value in got.attributes.items()}
    return Head(meta["path"], meta["size"], meta["last_modified"], metadata)


def harmless(url: str) -> str:
    """A URL for messages: without user, password and query."""
    parts = urlsplit(url)
    return printable(f"{parts.scheme}://{parts.hostname or ''}{parts.path}", 200)


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme, bucket (or container) and prefix of a destination's URL.

    Raises:
        ConfigurationError: it is not one that can work; the message never repeats a password.
    """
    parts = urlsplit(url)
    shown = harmless(url)
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(
            f"{shown} is not a destination; use a folder, or a URL that begins with "
            + ", ".join(f"{scheme}://" for scheme in SCHEMES[:-2])
            + " or file://"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{shown} carries more than a bucket and a prefix; credentials are taken from the "
            "environment, never from the URL"
        )
    path = unquote(parts.path) if parts.scheme == "file" else parts.path
    if parts.scheme == "file":
        if parts.netloc not in {"", "localhost"} or not path.strip("/"):
            raise ConfigurationError(f"{shown} is not a folder's URL; write file:///folder")
        return "file", "", path.strip("/")
    prefix = path.strip("/")
    if not parts.netloc:
        raise ConfigurationError(f"{shown} names no bucket; write {parts.scheme}://bucket/prefix")
    if _NOT_IN_NAMES.search(parts.netloc):
        raise ConfigurationError(
            f"{shown}: a bucket's name has letters, digits, dots, hyphens and underscores only"
        )
    if any(part in {"", ".", ".."} for part in prefix.split("/")) and prefix:
        raise ConfigurationError(f"{shown} has an empty or dotted part; write each slash once")
    return parts.scheme, parts.netloc, prefix


def _open(stores: Any, scheme: str, container: str, prefix: str) -> Any:
    if scheme == "memory":
        return _memories.setdefault(f"{container}/{prefix}", stores.MemoryStore())
    if scheme == "file":
        return stores.LocalStore(f"/{prefix}", mkdir=True)
    settings: dict[str, Any] = {
        "prefix": prefix or None,
        "retry_config": {
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
        },
        "client_options": {
            "connect_timeout": timedelta(seconds=10),
            "timeout": timedelta(hours=1),  # of one request: 4 GiB on a slow line take long
        },
    }
    if _may_be_plain(scheme):
        settings["client_options"]["allow_http"] = True
    if scheme == "gs":
        return stores.GCSStore(container, **settings)
    if scheme == "az":
        return stores.AzureStore(container, **settings)
    # Some stores know no DeleteObjects; DeleteObject is known to all.
    return stores.S3Store(
        container, checksum_algorithm="SHA256", disable_bulk_delete=True, **settings
    )


def _may_be_plain(scheme: str) -> bool:
    """Whether an endpoint without TLS is used: on this machine, or where the user says so."""
    if os.environ.get(_ALLOWED[scheme], "").lower() in {"1", "true", "yes"}:
        return True
    return any(os.environ.get(name, "").startswith(_LOOPBACK) for name in _ENDPOINTS[scheme])
