"""Get Call Recording: public, whole or in part."""

from __future__ import annotations

import re
from typing import Literal

from agentphone_async.emulator.errors import ApiError, not_ready, storage_error
from agentphone_async.emulator.exchange import Exchange
from agentphone_async.emulator.models import EmulatedCall
from agentphone_async.emulator.reply import FileSlice, Headers, Reply
from agentphone_async.emulator.serializers import storage_signature

Wanted = tuple[int, int] | Literal["all", "unsatisfiable"]

_ONE_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_UNSAFE_IN_A_QUOTED_NAME = re.compile(r"[^ !#-\[\]-~]")


async def recording(exchange: Exchange) -> Reply:
    """The audio, or a part of it, or 404: no call, no recording, or none yet."""
    service = exchange.service
    call = exchange.any_call()
    now, settings = service.now(), service.settings
    there = call.has_recording(now) and service.account.recording_addon
    if not there and call.expects_recording(now) and settings.not_ready_status != 404:
        return not_ready(settings.not_ready_status, settings.error_shape)
    reply = _audio(exchange, call) if there else None
    if reply is None:
        raise ApiError(404, "Recording not found.", "RECORDING_NOT_FOUND")
    extension = "mp3" if call.media_type == "audio/mpeg" else "wav"
    name = _UNSAFE_IN_A_QUOTED_NAME.sub("_", call.id)
    said = f'attachment; filename="recording-{name}.{extension}"'
    if reply.status < 300:
        reply.headers.insert(1, ("Content-Disposition", said))
    return reply


async def storage(exchange: Exchange) -> Reply:
    """A recording at a signed address of an object store, which speaks XML when it refuses."""
    service, query = exchange.service, exchange.query()
    now, expires = service.now(), query.get("Expires", "")
    call = service.account.get(exchange.found.identity)
    signature = storage_signature(service.settings.seed, exchange.found.identity, expires)
    if "Authorization" in exchange.headers:
        return _refused(400, "InvalidArgument", "Only one auth mechanism allowed")
    if query.get("Signature") != signature:
        return _refused(403, "SignatureDoesNotMatch", "The signature does not match.")
    if now.timestamp() >= int(expires):
        return _refused(403, "AccessDenied", "Request has expired")
    reply = _audio(exchange, call) if call is not None and call.has_recording(now) else None
    return reply or _refused(404, "NoSuchKey", "The specified key does not exist.")


def _refused(status: int, code: str, message: str) -> Reply:
    return Reply(status, [("Content-Type", "application/xml")], storage_error(code, message))


def _audio(exchange: Exchange, call: EmulatedCall) -> Reply | None:
    """The bytes that are asked for; None when the file behind them is gone."""
    store = exchange.service.store
    try:
        whole, etag = store.whole(call), store.etag(call)
    except OSError:  # the user has taken the file away
        return None
    headers = [("Content-Type", call.media_type), ("Accept-Ranges", "bytes"), ("ETag", etag)]
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
        body = b'{"detail": "Requested Range Not Satisfiable"}'
        told = [("Content-Range", f"bytes */{size}"), ("Content-Type", "application/json")]
        return Reply(416, told, body, whole)
    start, stop = wanted
    headers = [*headers, ("Content-Range", f"bytes {start}-{stop - 1}/{size}")]
    return Reply(206, headers, cut(whole, start, stop), whole)


def cut(whole: bytes | FileSlice, start: int, stop: int) -> bytes | FileSlice:
    """The bytes from ``start`` to before ``stop``."""
    if isinstance(whole, bytes):
        return whole[start:stop]
    return FileSlice(whole.path, whole.start + start, stop - start)


def wanted_range(header: str | None, size: int) -> Wanted:
    """First byte and the one after the last, or everything, or nothing that exists.

    Other units and several ranges are ignored, as RFC 9110 allows; what is not a range at all is
    refused, as nginx does.
    """
    unit, _, ranges = (header or "").strip().partition("=")
    if unit.strip().lower() != "bytes" or "," in ranges:
        return "all"
    match = _ONE_RANGE.fullmatch(ranges.strip())
    if match is None or match.groups() == ("", ""):
        return "unsatisfiable"
    first, last = (_position(digits) for digits in match.groups())
    if first is None:
        length = min(last or 0, size)
        return (size - length, size) if length else "unsatisfiable"
    if last is not None and last < first:
        return "unsatisfiable"
    stop = size if last is None else min(last + 1, size)
    return (first, stop) if first < size else "unsatisfiable"


def _position(digits: str) -> int | None:
    """A number of a range; no recording reaches what has more than eighteen digits."""
    return int(digits[:19]) if digits else None


def range_applies(if_range: str | None, etag: str | None) -> bool:
    """Whether the representation is still the one that ``If-Range`` names (section 13.1.5).

    The emulator's own validators are strong and it sends no dates, so equality decides.
    """
    return if_range is None or if_range == etag
