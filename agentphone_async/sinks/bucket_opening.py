"""Object stores by their URLs, and a look at the environment that obstore takes settings from.

obstore finds credentials itself (environment, web identity, instance metadata). They are not kept
or printed here. Only whether they can be sent at all is looked at, since obstore ends in a panic
where they cannot: at a line break at the end of a key, or an endpoint that is not a URL.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from agentphone_async.errors import ConfigurationError, DestinationError
from agentphone_async.protocol.display import printable

SCHEMES = ("s3", "gs", "az", "file", "memory")
"""The URLs that are understood; ``memory://`` is for tests, and forgotten with the process."""

_MEANT = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "azure": "az"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_PASSWORD = re.compile(r"(?<=//)[^/]*@")
_WORDS = {
    "s3": (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION",
        "AWS_DEFAULT_REGION", "AWS_SERVER_SIDE_ENCRYPTION", "AWS_SSE_KMS_KEY_ID",
    ),
    "gs": (),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN", "AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET",
    ),
}  # fmt: skip
"""Variables whose values are one word each."""

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL", "GOOGLE_STORAGE_BASE_URL"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_ALLOWED = {"s3": "AWS_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP"}
_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")
_ONE_WORD = re.compile(r"[!-~]+")
_memories: dict[str, Any] = {}


class Patience(NamedTuple):
    """How long a store is waited for; all in seconds.

    Attributes:
        connect: for a connection.
        request: for one request, with its bytes.
        silence: while nothing comes; None for no limit but that of the request.
        retries: how often it is asked again.
        retry_time: after which it is not asked again.
    """

    connect: float
    request: float
    silence: float | None
    retries: int
    retry_time: float


FIRST = Patience(5, 10, None, 8, 10)
"""Until it has answered once: an address that is wrong is told soon."""

USUAL = Patience(10, 3600, 300, 14, 120)
"""A store that has worked is waited for."""

LARGE = USUAL._replace(silence=None)
"""Until bytes are sent there is no answer, and 4 GiB on a slow line take long."""


def harmless(url: str) -> str:
    """A URL for messages: without user, password and query."""
    text = re.split(r"[?#]", url, maxsplit=1)[0]
    return printable(_PASSWORD.sub("", text), 200)


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme, bucket (or container) and prefix of a destination's URL.

    Raises:
        ConfigurationError: it is not one that can work; the message never repeats a password.
    """
    shown = harmless(url)
    if not url.isprintable():
        raise ConfigurationError(f"{shown} has a control character in it; write it without")
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise ConfigurationError(_strange(scheme, shown))
    if scheme == "file":
        return "file", "", _folder_of(url, shown)
    netloc, _, path = rest.partition("/")
    if "@" in netloc or "?" in rest or "#" in rest:
        raise ConfigurationError(
            f"{shown} carries more than a bucket and a prefix; credentials are taken from the "
            "environment, never from the URL"
        )
    if not netloc:
        raise ConfigurationError(f"{shown} names no bucket; write {scheme}://bucket/prefix")
    if _NOT_IN_NAMES.search(netloc) or not netloc.strip("."):
        raise ConfigurationError(
            f"{shown}: a bucket's name has letters, digits, dots, hyphens and underscores only"
        )
    prefix = path.strip("/")
    if prefix and any(part in {"", ".", ".."} for part in prefix.split("/")):
        raise ConfigurationError(f"{shown} has an empty or dotted part; write each slash once")
    return scheme, netloc, prefix


def _strange(scheme: str, shown: str) -> str:
    meant = _MEANT.get(scheme)
    if meant is not None:
        return f"{shown} is not a destination; write {meant}:// instead of {scheme}://"
    line = (
        f"{shown} is not a destination; use a folder, or a URL that begins with s3://, gs://, "
        "az:// or file://"
    )
    if scheme in {"http", "https"}:
        line += "; the address of a store is set as AWS_ENDPOINT_URL"
    return line


def _folder_of(url: str, shown: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError(f"{shown} is not a folder's URL; write file:///folder") from None
    folder = unquote(parts.path).strip("/")
    odd = parts.query or parts.fragment or parts.netloc.lower() not in {"", "localhost"}
    if odd or not folder or "\0" in folder:
        raise ConfigurationError(f"{shown} is not a folder's URL; write file:///folder")
    if any(part in {"", ".", ".."} for part in folder.split("/")):
        raise ConfigurationError(f"{shown} has an empty or dotted part; write each slash once")
    return folder


def check_environment(scheme: str, shown: str) -> None:
    """Refuse what obstore could not send.

    Raises:
        ConfigurationError: it names the variable, and never what is in it.
    """
    for name in _WORDS.get(scheme, ()):
        value = os.environ.get(name)
        if value is not None and not _ONE_WORD.fullmatch(value):
            wrong = "has white space or other odd characters in it" if value else "is empty"
            raise ConfigurationError(f"{shown}: {name} {wrong}; correct it, or unset it")
    for name in _ENDPOINTS.get(scheme, ()):
        value = os.environ.get(name)
        if value is not None:
            _check_endpoint(shown, name, value)
    if scheme == "s3":
        given = [name in os.environ for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
        if given[0] != given[1]:
            lacking = "AWS_SECRET_ACCESS_KEY" if given[0] else "AWS_ACCESS_KEY_ID"
            other = "AWS_ACCESS_KEY_ID" if given[0] else "AWS_SECRET_ACCESS_KEY"
            raise ConfigurationError(f"{shown}: {lacking} is not set, but {other} is; set both")


def _check_endpoint(shown: str, name: str, value: str) -> None:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        parts, sound = urlsplit(""), None
    if not sound or not _ONE_WORD.fullmatch(value) or "@" in parts.netloc:
        raise ConfigurationError(
            f"{shown}: {name} is {harmless(value)!r}, which is not the address of a store; write "
            "it like https://host:9000, without credentials"
        )


def open_store(stores: Any, scheme: str, container: str, prefix: str, patience: Patience) -> Any:
    """A store with the prefix in it; nothing is sent yet."""
    if scheme == "memory":
        return _memories.setdefault(f"{container}/{prefix}", stores.MemoryStore())
    if scheme == "file":
        return _open_folder(stores, Path("/") / prefix, make=patience is not FIRST)
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=patience.connect),
        "timeout": timedelta(seconds=patience.request),
    }
    if patience.silence is not None:
        options["read_timeout"] = timedelta(seconds=patience.silence)
    if _may_be_plain(scheme):
        options["allow_http"] = True
    settings: dict[str, Any] = {
        "prefix": prefix or None,
        "retry_config": {
            "max_retries": patience.retries,
            "retry_timeout": timedelta(seconds=patience.retry_time),
        },
        "client_options": options,
    }
    if scheme == "gs":
        return stores.GCSStore(container, **settings)
    if scheme == "az":
        return stores.AzureStore(container, **settings)
    # Some stores know no DeleteObjects; DeleteObject is known to all.
    return stores.S3Store(
        container, checksum_algorithm="SHA256", disable_bulk_delete=True, **settings
    )


def _open_folder(stores: Any, folder: Path, *, make: bool) -> Any:
    """A folder; before anything is written, one that is not there is an empty store."""
    from agentphone_async.sinks.disk import destination_errors, make_folder  # noqa: PLC0415 - rare

    with destination_errors(folder):
        if make:
            make_folder(folder, PurePosixPath())
        elif not folder.exists():
            return stores.MemoryStore()
        if not folder.is_dir():
            raise DestinationError(
                f"{printable(str(folder), 200)} is a file; name a folder", filename=str(folder)
            )
    return stores.LocalStore(folder)


def _may_be_plain(scheme: str) -> bool:
    """Whether an endpoint without TLS is used: on this machine, or where the user says so."""
    if os.environ.get(_ALLOWED[scheme], "").lower() in {"1", "true", "yes"}:
        return True
    return any(os.environ.get(name, "").startswith(_LOOPBACK) for name in _ENDPOINTS[scheme])
