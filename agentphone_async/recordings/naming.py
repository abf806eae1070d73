"""Names of files made from call ids: safe on every common file system, and one-to-one.

A call id is opaque text from the network. Nearly all are lower-case letters, digits, ``_`` and
``-``; such an id is its own name, so that ``recording-call_ghi012.wav`` can be found by eye. Every
other id is named by what is readable of it, a ``~``, and a digest of the exact id:
``call_ABC`` becomes ``call_ABC~`` and 26 more characters.

Why that is one-to-one, on ext4 as on Windows and macOS:

* Plain names contain no ``~`` and digest names do, so the two kinds never meet.
* Plain names are lower-case ASCII: neither case folding nor Unicode normalisation changes them,
  and two that differ stay different. That is why ids with upper-case letters are not plain.
* Digest names are ASCII, and their digest is lower-case: folded, two of them are equal only if 130
  bits of SHA-256 are.

No name starts with ``-`` or ``.``, ends with ``.`` or a space, is one of the device names of
Windows, or is longer than 128 bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from agentphone_async.protocol.recording import extension_of

__all__ = [
    "DEVICE_NAMES",
    "MAX_COMPONENT",
    "digest",
    "hashed_id",
    "recording_name",
    "safe_component",
]

MAX_COMPONENT = 128
"""Bytes that a name made from an id may have; beside a prefix and suffixes, 255 stay far."""

DEVICE_NAMES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789\xb9\xb2\xb3"]
)
"""Names (before the first dot, in lower case) that Windows gives to devices."""

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_-]*")
_UNREADABLE = re.compile(r"[^A-Za-z0-9_-]+")
_READABLE_LENGTH = 60
_DIGEST_LENGTH = 26
_HASHED_ID_BYTES = 20
_MIN_KEY_BYTES = 16


def safe_component(call_id: str) -> str:
    """The name of a call id inside a path: no separator, at most `MAX_COMPONENT` ASCII bytes.

    One-to-one also where names are compared without regard to case or to Unicode normal form (see
    the module's text for why), and always the same for the same id. Accepts any text: empty, of
    any length, with lone surrogates.
    """
    if len(call_id) <= MAX_COMPONENT and _PLAIN.fullmatch(call_id) and call_id not in DEVICE_NAMES:
        return call_id
    # What is dropped here lives on in the digest; cut first, so that 10 MB cost no more than 100.
    readable = _UNREADABLE.sub("_", call_id[:_READABLE_LENGTH])
    if readable.startswith("-") or not readable:
        readable = "_" + readable[1:]
    return f"{readable}~{digest(call_id)}"


def recording_name(call_id: str, media_type: str | None = None) -> str:
    """The file name of a recording: ``recording-{id}.wav``, or ``.mp3`` for audio/mpeg.

    `media_type` is a Content-Type, parameters allowed; None is taken for audio/wav.
    """
    plain_type = (media_type or "audio/wav").partition(";")[0].strip().lower()
    return f"recording-{safe_component(call_id)}{extension_of(plain_type)}"


def hashed_id(call_id: str, key: bytes) -> str:
    """A name for a call id that gives nothing away without `key`: 32 characters of ``a-z2-7``.

    The first 160 bits of HMAC-SHA-256 (RFC 2104) in lower-case base32 (RFC 4648): the same id and
    key give the same name, and the id cannot be guessed back, as it could from a plain hash.

    Raises:
        ValueError: the key is shorter than 16 bytes, so short that it could be guessed.
    """
    if len(key) < _MIN_KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes; use at least {_MIN_KEY_BYTES} random ones")
    mac = hmac.new(key, _encode(call_id), hashlib.sha256).digest()
    return _base32(mac[:_HASHED_ID_BYTES])


def digest(text: str) -> str:
    """130 bits of SHA-256 of any text, as 26 characters of ``a-z2-7``."""
    return _base32(hashlib.sha256(_encode(text)).digest())[:_DIGEST_LENGTH]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # lone surrogates are text, too, and distinct


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()
