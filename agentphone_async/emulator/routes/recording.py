"""Get Call Recording: public, whole or in part."""

from __future__ import annotations

import re

from agentphone_async.emulator.exchange import Exchange
from agentphone_async.emulator.ranges import range_applies, wanted_range
from agentphone_async.emulator.refusals import RefusalError
from agentphone_async.emulator.reply import FileSlice, Headers, Reply

_UNSAFE_IN_A_QUOTED_NAME = re.compile(r"[^ !#-\[\]-~]")


async def recording(exchange: Exchange) -> Reply:
    """The audio, or a part of it, or 404: no call, no recording, or none yet."""
    service = exchange.service
    call = exchange.any_call()
    if not call.has_recording(service.now()) or not service.world.recording_addon:
        raise RefusalError(404, "Recording not found.", "RECORDING_NOT_FOUND")
    try:
        whole, etag = service.shelf.whole(call), service.shelf.etag(call)
    except OSError as error:  # the user has taken the file away
        raise RefusalError(404, "Recording not found.", "RECORDING_NOT_FOUND") from error
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
