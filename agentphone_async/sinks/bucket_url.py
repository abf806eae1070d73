"""URLs of destinations: the scheme, bucket and prefix that they name, and what may be shown."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from agentphone_async.errors import ConfigurationError
from agentphone_async.protocol.display import printable

SCHEMES = ("s3", "gs", "az", "file", "memory")
"""The URLs that are understood; ``memory://`` is for tests, and forgotten with the process."""

_USUAL = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "azure": "az"}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_PASSWORD = re.compile(r"(?<=//)[^/]*@")


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
        return "file", "", _folder(url, shown)
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
    meant = _USUAL.get(scheme)
    if meant is not None:
        return f"{shown} is not a destination; write {meant}:// instead of {scheme}://"
    line = (
        f"{shown} is not a destination; use a folder, or a URL that begins with s3://, gs://, "
        "az:// or file://"
    )
    if scheme in {"http", "https"}:
        line += "; the address of a store is set as AWS_ENDPOINT_URL"
    return line


def _folder(url: str, shown: str) -> str:
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
