"""From a faithful answer and a fault to what is really sent: pure, no I/O."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from agentphone_async.emulator.audio import mpeg_bytes
from agentphone_async.emulator.errors import ErrorShape, default_error_body, not_ready
from agentphone_async.emulator.faults.book import FaultEvent
from agentphone_async.emulator.faults.damage import damaged_page, damaged_wave
from agentphone_async.emulator.faults.fault import (
    REDIRECTED,
    Coding,
    Fault,
    LimitHeaders,
    Place,
    RecordingLink,
)
from agentphone_async.emulator.reply import Breakage, Cut, Delivery, Headers, Reply
from agentphone_async.emulator.seeding import digest, numeric_id
from agentphone_async.emulator.serializers import recording_url, storage_path

_MPEG_SECONDS = 3.0
_GOOD_FOR = timedelta(minutes=1)
_HTML = b"<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head></html>\n"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a change has to know besides the answer and the fault.

    Attributes:
        now: The emulator's wall clock.
        base_url: Of the emulator.
        target: Path and query of the request.
        seed: Of the emulator.
        error_shape: The usual body of its errors.
    """

    now: datetime
    base_url: str
    target: str
    seed: int
    error_shape: ErrorShape


def error_reply(fault: Fault, usual_shape: ErrorShape) -> Reply:
    """The answer to a request that is not even carried out."""
    status = fault.answered or 500
    if fault.not_ready_status is not None and fault.error_shape is None:
        return not_ready(status, usual_shape)
    shape = fault.error_shape or ("html" if fault.maintenance else usual_shape)
    message = None
    if fault.offset_limit is not None:
        message = f"offset must be at most {fault.offset_limit}."
    body, media_type = default_error_body(status, shape, message)
    return Reply(status, [("Content-Type", media_type)], body)


def apply_fault(reply: Reply, event: FaultEvent, around: Circumstances) -> Reply:
    """Change what is answered; ``reply`` has its body in memory or comes from an iterator."""
    for change in _CHANGES:
        reply = change(reply, event, around)
    return reply


def delivery(reply: Reply, fault: Fault) -> Delivery:
    """How a changed answer is put on the wire."""
    told = fault.content_length
    if told is None and fault.length_off_by and reply.length is not None:
        told = max(0, reply.length + fault.length_off_by)
    return Delivery(
        delay=fault.delay,
        framing=fault.framing,
        content_length=told,
        cut=_cut(fault, reply),
        bandwidth=fault.bandwidth,
        surplus=b"\xa5" * fault.surplus,
        endless=fault.endless,
        hang_up=fault.hang_up,
        repeated=("at once" if fault.duplicate_answer else "late" if fault.late_answer else None),
        drip=(fault.bandwidth or 1.0) if fault.drip_extensions else None,
    )


def _cut(fault: Fault, reply: Reply) -> Cut | None:
    breakages: tuple[tuple[Breakage, int | Place | None], ...] = (
        ("close", fault.truncate),
        ("reset", fault.reset),
        ("stall", fault.stall),
    )
    for how, where in breakages:
        if isinstance(where, int):
            return Cut(how, "body", where, fault.after_events)
        if where is not None:
            return Cut(how, where)
    if fault.cut_every is not None and (reply.length or 0) > fault.cut_every:
        return Cut("close", "body", fault.cut_every)
    return None


def _status(reply: Reply, event: FaultEvent, around: Circumstances) -> Reply:
    """Another status; an error takes an error's body with it."""
    fault = event.fault
    if fault.status is None or reply.status in {fault.status, event.refused_with}:
        return reply
    if fault.status == 204:
        return replace(reply, status=204, body=b"")
    if fault.status < 300:
        return replace(reply, status=fault.status)
    if fault.status == 304:
        return replace(reply, status=304, body=b"")
    return error_reply(fault, around.error_shape)


def _content(reply: Reply, event: FaultEvent, around: Circumstances) -> Reply:
    """Another body."""
    fault = event.fault
    if fault.html:
        return Reply(fault.status or 200, [("Content-Type", "text/html; charset=utf-8")], _HTML)
    if fault.mpeg:
        audio = mpeg_bytes(around.seed, event.call_id, _MPEG_SECONDS)
        headers = with_header(reply.headers, "Content-Type", "audio/mpeg")
        return Reply(reply.status, headers, audio, audio)
    if fault.body is not None:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        return replace(reply, body=body)
    if fault.wav is not None and isinstance(reply.body, bytes) and reply.status == 200:
        return replace(reply, body=damaged_wave(reply.body, fault.wav))
    return reply


def _json(reply: Reply, event: FaultEvent, around: Circumstances) -> Reply:
    """Another JSON: a page's usual troubles, other facts, or whatever a test makes of it."""
    fault, body = event.fault, reply.body
    if not changes_json(fault) or not isinstance(body, bytes) or reply.status != 200:
        return reply
    if ("Content-Type", "application/json") not in reply.headers:
        return reply
    changed = changed_json(body, fault, lambda link, call_id: _link(link, call_id, around))
    return replace(reply, body=changed)


def _link(link: RecordingLink, call_id: str, around: Circumstances) -> str:
    """Where a recording is, when it is not where its call's id says."""
    if link == "token":
        token = digest("token", around.seed, call_id)
        return f"{recording_url(around.base_url, call_id)}?token={token}"
    path = storage_path(around.seed, call_id, around.now + _GOOD_FOR)
    return path if link == "relative" else f"{_other_host(around.base_url)}{path}"


def _range(reply: Reply, event: FaultEvent, _around: Circumstances) -> Reply:
    """Another range than the one that was asked for."""
    fault, whole = event.fault, reply.whole
    if not isinstance(whole, bytes):
        return reply
    if fault.ignore_range and reply.status in {206, 416}:
        headers = [header for header in reply.headers if header[0] != "Content-Range"]
        return replace(reply, status=200, headers=headers, body=whole)
    if fault.shift_range and reply.status == 206 and reply.length:
        told = dict(reply.headers)["Content-Range"]
        start = max(0, int(told.split()[1].partition("-")[0]) + fault.shift_range)
        body = whole[start : start + reply.length]
        told = f"bytes {start}-{start + len(body) - 1}/{len(whole)}"
        return replace(reply, headers=with_header(reply.headers, "Content-Range", told), body=body)
    return reply


def _compression(reply: Reply, event: FaultEvent, _around: Circumstances) -> Reply:
    """A body that is compressed although nobody asked."""
    fault = event.fault
    coding = fault.coding or ("gzip" if fault.gzip else None)
    said = "gzip"
    if fault.gzip_bomb:
        body = _bomb(fault.gzip_bomb)
    elif coding is not None and isinstance(reply.body, bytes):
        said, body = _coded(reply.body, coding)
    else:
        return reply
    return replace(reply, headers=with_header(reply.headers, "Content-Encoding", said), body=body)


def _coded(body: bytes, coding: Coding) -> tuple[str, bytes]:
    """``Content-Encoding``, and the body in that coding."""
    half = len(body) // 2
    if coding == "gzip-members":
        return "gzip", gzip.compress(body[:half], mtime=0) + gzip.compress(body[half:], mtime=0)
    if coding == "gzip-twice":
        return "gzip, gzip", gzip.compress(gzip.compress(body, mtime=0), mtime=0)
    if coding == "gzip":
        return "gzip", gzip.compress(body, mtime=0)
    return "deflate", zlib.compress(body, wbits=15 if coding == "deflate" else -15)


def _redirection(reply: Reply, event: FaultEvent, around: Circumstances) -> Reply:
    """Somewhere else."""
    fault = event.fault
    if fault.redirect is None and not fault.expired_redirect:
        return reply
    return Reply(fault.redirect_status, [("Location", _location(event, around))], b"")


def _location(event: FaultEvent, around: Circumstances) -> str:
    fault, base_url = event.fault, around.base_url
    if fault.expired_redirect or fault.redirect == "storage":
        until = around.now + (-_GOOD_FOR if fault.expired_redirect else _GOOD_FOR)
        path = storage_path(around.seed, event.call_id, until)
        return f"{_other_host(base_url)}{path}"
    bases = {
        "same": base_url,
        "loop": base_url,
        "other-host": _other_host(base_url),
        "downgrade": f"http://{urlsplit(base_url).netloc}",
    }
    base = bases.get(fault.redirect or "")
    path, _, query = around.target.partition("?")
    marked = query if REDIRECTED in query else "&".join(filter(None, (query, REDIRECTED)))
    return fault.redirect or "" if base is None else f"{base}{path}?{marked}"


def _other_host(base_url: str) -> str:
    host = urlsplit(base_url)
    return f"{host.scheme}://localhost:{host.port}"


def _headers(reply: Reply, event: FaultEvent, around: Circumstances) -> Reply:
    """Other headers."""
    fault, headers = event.fault, reply.headers
    if fault.media_type is not None:
        headers = with_header(headers, "Content-Type", fault.media_type)
    if fault.content_range is not None:
        headers = with_header(headers, "Content-Range", fault.content_range)
    if fault.etag is not None:
        etag = f'"{digest("new", event.number)}"' if fault.etag == "new" else fault.etag
        headers = with_header(headers, "ETag", etag)
    if event.refused_with == 429 and (fault.rate_limit or fault.concurrency_limit):
        for name, value in _limit_headers(event, around.now):
            headers = with_header(headers, name, value)
    if fault.retry_after is not None:
        headers = with_header(headers, "Retry-After", _retry_after(fault.retry_after, around.now))
    for name, value in fault.headers.items():
        headers = with_header(headers, name, value)
    return replace(reply, headers=headers)


_CHANGES: tuple[Callable[[Reply, FaultEvent, Circumstances], Reply], ...] = (
    _range,
    _status,
    _content,
    _json,
    _compression,
    _redirection,
    _headers,
)


def with_header(headers: Headers, name: str, value: str) -> Headers:
    """The headers with one replaced or added; an empty value takes it away."""
    kept = [header for header in headers if header[0].lower() != name.lower()]
    return [*kept, (name, value)] if value else kept


def _limit_headers(event: FaultEvent, now: datetime) -> Headers:
    """When to come again, in one of the ways in which servers say it."""
    fault = event.fault
    wait = math.ceil(event.wait) or 1
    limit = math.ceil(fault.rate_limit or fault.concurrency_limit or 1)
    counted = [("Limit", str(limit)), ("Remaining", "0")]
    known: dict[LimitHeaders, Headers] = {
        "none": [],
        "retry-after": [("Retry-After", str(wait))],
        "date": [("Retry-After", _retry_after(f"date:{wait}", now))],
        "ratelimit-field": [
            ("RateLimit-Policy", f'"default";q={limit};w=1'),
            ("RateLimit", f'"default";r=0;t={wait}'),
        ],
    }
    if fault.limit_headers in known:
        return known[fault.limit_headers]
    prefix = "RateLimit-" if fault.limit_headers == "ratelimit" else "X-RateLimit-"
    at = math.ceil(now.timestamp()) if fault.limit_headers == "x-ratelimit" else 0
    return [(prefix + name, value) for name, value in (*counted, ("Reset", str(at + wait)))]


def _retry_after(value: float | str, now: datetime) -> str:
    if isinstance(value, str) and value.startswith("date:"):
        moment = now + timedelta(seconds=float(value.removeprefix("date:")))
        return format_datetime(moment.replace(microsecond=0), usegmt=True)
    return value if isinstance(value, str) else f"{value:.10g}"


@lru_cache(maxsize=2)
def _bomb(size: int) -> bytes:
    """Zeros, compressed: about a thousandth of their size."""
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1024 * 1024)
    parts = [packer.compress(block) for _ in range(size // len(block))]
    return b"".join((*parts, packer.compress(bytes(size % len(block))), packer.flush()))


Link = Callable[[RecordingLink, str], str]
"""Where the recording of a call is, in one of the ways of saying it."""


def changes_json(fault: Fault) -> bool:
    """Whether a fault changes what JSON says."""
    said = (fault.page, fault.edit, fault.call_status, fault.recording_available)
    return fault.numeric_ids or any(item is not None for item in (*said, fault.recording_url))


def changed_json(body: bytes, fault: Fault, link: Link) -> bytes:
    """A body with whatever the fault makes of it."""
    if fault.page == "malformed":
        return body[: len(body) // 2]
    content = json.loads(body)
    _change_calls(content, fault, link)
    if fault.page is not None:
        content = damaged_page(content, fault.page)
    if fault.edit is not None:
        content = fault.edit(content)
    return json.dumps(content).encode()


def _change_calls(content: Any, fault: Fault, link: Link) -> None:
    """Let every call in a JSON answer say something else of itself, in place."""
    for call in _calls(content):
        call_id = call["id"]
        if fault.call_status is not None:
            call["status"] = fault.call_status
        if fault.recording_available == "missing":
            call.pop("recordingAvailable", None)
        elif fault.recording_available is not None:
            call["recordingAvailable"] = json.loads(fault.recording_available)
        if fault.recording_url is not None and call.get("recordingUrl") is not None:
            call["recordingUrl"] = link(fault.recording_url, call_id)
        if fault.numeric_ids:
            call["id"] = numeric_id(call_id)
    if fault.numeric_ids and isinstance(content, dict) and "callId" in content:
        content["callId"] = numeric_id(content["callId"])


def _calls(content: Any) -> list[dict[str, Any]]:
    rows = content.get("data", [content]) if isinstance(content, dict) else []
    return [row for row in rows if isinstance(row, dict) and "status" in row and "id" in row]
