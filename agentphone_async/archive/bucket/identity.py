"""Who an archive in a bucket is: ``_catalog/archive.json``, written once by whoever comes first.

It holds the archive's id, and the key that names are hashed with, so that all machines name alike.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentphone_async.archive.bucket import manifest
from agentphone_async.errors import CatalogError, DestinationError
from agentphone_async.sinks.bucket import Bucket
from agentphone_async.sinks.erased import IDENTITY_OBJECT

HEAD = IDENTITY_OBJECT
_KEY = 16  # bytes, at least


@dataclass(frozen=True, slots=True)
class Identity:
    """What ``archive.json`` says.

    Attributes:
        id: tells this archive from others that had its place.
        key: names, and the tombstones of erased calls, are hashed with it.
        hashed: whether names are.
    """

    id: str
    key: bytes
    hashed: bool = True


def identify(bucket: Bucket, *, make: bool, hashed: bool = True) -> Identity | None:
    """Who the archive is; None if there is none and none is to be made.

    Args:
        bucket: its prefix.
        make: whether one is made where there is none.
        hashed: whether names in a new one are hashed.

    Raises:
        DestinationError: somebody else's objects are there, or the store does not work.
        CatalogError: it is damaged, or newer than we are.
    """
    for _ in range(3):
        try:
            return _read(bucket)
        except FileNotFoundError:
            pass
        _refuse_strangers(bucket)
        if not make:
            return None
        bucket.prove()
        head = {
            "format": manifest.FORMAT,
            "version": manifest.VERSION,
            "id": secrets.token_hex(16),
            "key": secrets.token_hex(32),
            "hashed": hashed,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        bucket.create_now(HEAD, json.dumps(head).encode(), {"Content-Type": "application/json"})
    raise DestinationError(f"{bucket.url}: {HEAD} was written and cannot be read; try again later")


def no_archive(url: str) -> CatalogError:
    """The error where there is none."""
    return CatalogError(f"there is no archive in {url}", filename=url)


def _read(bucket: Bucket) -> Identity:
    where = f"{bucket.url}/{HEAD}"
    data = bucket.read(HEAD)
    try:
        head = json.loads(data)
        manifest.refuse_newer(int(head["version"]), where)
        return _parsed(head)
    except (ValueError, KeyError, TypeError, RecursionError):
        if data.lstrip().startswith(b"<"):
            line = f"{where} is a web page; is AWS_ENDPOINT_URL the address of the store?"
        else:
            line = f"{where} is damaged or not ours; restore it, or choose another prefix"
        raise CatalogError(line, filename=where) from None


def _parsed(head: Any) -> Identity:
    key = bytes.fromhex(head["key"])
    if head["format"] != manifest.FORMAT or not isinstance(head["id"], str) or len(key) < _KEY:
        raise ValueError("not an archive's")
    return Identity(head["id"], key, bool(head.get("hashed", True)))


def _refuse_strangers(bucket: Bucket) -> None:
    for head in bucket.list():
        if not head.path.startswith(".agentphone-probe-"):
            raise DestinationError(
                f"{bucket.url} holds objects that are not of an archive; choose an empty prefix",
                filename=bucket.url,
            )
