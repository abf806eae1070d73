"""Get Call Recording: public, whole or in part."""

from __future__ import annotations

import re
from typing import Literal

from agentphone_async.emulator.errors import ApiError
from agentphone_async.emulator.exchange import Exchange
from agentphone_async.emulator.reply import FileSlice, Headers, Reply

_UNSAFE_IN_A_QUOTED_NAME = re.compile(r"[^ !#-\[\]-~]")


async def recording(exchange: Exchange) -> Reply:
    """The audio, or a part of it, or 404: no call, no recording, or none yet."""
    service = exchange.service
    call = exchange.any_call()
    if not call.has_recording(service.now()) or not service.account.recording_addon:
        raise ApiError(404, "Recording not found.", "RECORDING_NOT_FOUND")
    try:
        whole, etag = service.store.whole(call), service.store.etag(call)
    except OSError as error:  # the user has taken the file away
        raise ApiError(404, "Recording not found.", "RECORDING_NOT_FOUND") from error
    extension = "mp3" if call.media_type == "audio/mpeg" else "wav"
    name = _UNSAFE_IN_A_QUOTED_NAME.sub("_", call.id)
    headers: Headers = [
        ("Content-Type", call.media_type),
        ("Content-Disposition", f'attachment; filename="recording-{name}.{extension}"'),
        ("Accept-Ranges", "bytes"),
        ("ETag", etag),
    ]
    asked = exchange.headers.get("Range")
    if asked is None or not range_applies(exchange.headers.get("If-Range"), etag):
        return Reply(200, headers, whole, whole)
    return partial(whole, asked, headers)


def partial(whole: bytes | FileSlice, asked: str, headers: Headers) -> Reply:
    """The answer to a ``Range`` header that applies: 206, 416, or everything."""
    size = len(whole) if isinstance(whole, bytes) else whole.length
    wanted = wanted_range(asked, size)
    if wanted == "all":
        return Reply(200, headers, whole, whole)
    if wanted == "unsatisfiable":
        return Reply(416, [("Content-Range", f"bytes */{size}")], b"", whole)
    start, stop = wanted
    headers = [*headers, ("Content-Range", f"bytes {start}-{stop - 1}/{size}")]
    return Reply(206, headers, cut(whole, start, stop), whole)


def cut(whole: bytes | FileSlice, start: int, stop: int) -> bytes | FileSlice:
    """The bytes from ``start`` to before ``stop``."""
    if isinstance(whole, bytes):
        return whole[start:stop]
    return FileSlice(whole.path, whole.start + start, stop - start)


_ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)

Wanted = tuple[int, int] | Literal["all", "unsatisfiable"]


def wanted_range(header: str | None, size: int) -> Wanted:
    """First byte and the one after the last, or everything, or nothing that exists.

    A header that is not understood, and one that asks for several ranges, is ignored, as the
    RFC allows.
    """
    match = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return "all"
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else "unsatisfiable"
    start = int(first)
    if last and int(last) < start:
        return "all"
    stop = min(int(last) + 1, size) if last else size
    return (start, stop) if start < size else "unsatisfiable"


def range_applies(if_range: str | None, etag: str | None) -> bool:
    """Whether the representation is still the one that ``If-Range`` names (section 13.1.5).

    The emulator's own validators are strong and it sends no dates, so equality decides.
    """
    return if_range is None or if_range == etag
