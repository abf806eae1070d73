"""Faults as values: which requests they hit, and what then goes wrong.

A fault is described by ``Fault`` alone; ``apply_fault`` turns it into a changed answer and
``send`` puts that on the wire.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Literal, TypedDict, get_args
from urllib.parse import parse_qs

from agentphone_async.emulator.errors import ErrorShape
from agentphone_async.emulator.faults.damage import PageDamage, WaveDamage
from agentphone_async.emulator.reply import Framing
from agentphone_async.emulator.routes import CALL_LISTS, ROUTES, Route

Place = Literal["connection", "headers"]
"""Before the first byte of an answer; in the middle of its headers."""

LimitHeaders = Literal[
    "retry-after",
    "date",
    "x-ratelimit",
    "x-ratelimit-after",
    "ratelimit",
    "ratelimit-field",
    "none",
]
"""How a limit says when to come again: ``Retry-After`` in seconds or as a date;
``X-RateLimit-Reset`` as unix time or in seconds; ``RateLimit-Reset``; one ``RateLimit`` field; not
at all."""

Hint = Literal["true", "false", "null", "missing"]
"""What a field says: a JSON value, or nothing at all."""

RecordingLink = Literal["relative", "other-host", "token"]
"""``recordingUrl`` as a path; at another host; with a token in its query."""

WebhookDamage = Literal["drop", "never", "duplicate", "late", "test", "forged", "old"]
"""An event whose first delivery is lost on its way, and sent again; that is never sent; sent twice;
sent after the next one; marked as a test; signed with another secret; signed ten minutes ago."""

Coding = Literal["gzip", "deflate", "raw-deflate", "gzip-members", "gzip-twice"]
"""Content codings; zlib's format, deflate without it, two gzip members, gzip within gzip."""

_CHOICES: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("route", (None, *ROUTES)),
    ("wav", (None, *get_args(WaveDamage))),
    ("page", (None, *get_args(PageDamage))),
    ("framing", get_args(Framing)),
    ("error_shape", (None, *get_args(ErrorShape))),
    ("limit_headers", get_args(LimitHeaders)),
    ("recording_url", (None, *get_args(RecordingLink))),
    ("recording_available", (None, *get_args(Hint))),
    ("webhook", (None, *get_args(WebhookDamage))),
    ("coding", (None, *get_args(Coding))),
)
_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("times", 1, math.inf),
    ("skip", 0, math.inf),
    ("probability", 0, 1),
    ("status", 200, 599),
    ("redirect_status", 300, 399),
    ("gzip_bomb", 0, math.inf),
    ("delay", 0, math.inf),
    ("bandwidth", 1, math.inf),
    ("content_length", 0, math.inf),
    ("after_events", 1, math.inf),
    ("surplus", 0, math.inf),
    ("arrive", 0, math.inf),
    ("vanish", 0, math.inf),
    ("concurrency_limit", 1, math.inf),
    ("rate_limit", 1e-6, math.inf),
    ("offset_limit", 0, math.inf),
    ("not_ready_status", 200, 599),
    ("cut_every", 1, math.inf),
)
_WITH_CALL: frozenset[Route] = frozenset(
    {"get_call", "end_call", "transcript", "transcript_stream", "recording"}
)
_JSON_CALLS: frozenset[Route] = CALL_LISTS | {"get_call", "create_call", "end_call"}
_ONLY: tuple[tuple[str, frozenset[Route]], ...] = (
    ("page", CALL_LISTS),
    ("offset_limit", CALL_LISTS),
    ("maintenance", frozenset({"recording", "storage"})),
    ("not_ready_status", frozenset({"recording"})),
    ("expired_redirect", frozenset({"recording"})),
    ("recording_url", _JSON_CALLS | {"recording"}),
    ("recording_available", _JSON_CALLS),
    ("call_status", _JSON_CALLS),
    ("other_call", _WITH_CALL),
    ("webhook", frozenset({"webhook"})),
)
"""Faults that make sense for some endpoints only; they never hit others."""


@dataclass(frozen=True, slots=True, repr=False)
class Fault:
    """What goes wrong, and for whom. Times are in seconds, sizes in bytes.

    Attributes:
        route: Only requests of this endpoint; None for every one.
        call_id: Only requests with this id in their path.
        times: This many times, then never again; None for always.
        skip: Let this many matching requests pass first.
        per_call: Count ``times`` and ``skip`` for each id apart.
        probability: Hit a matching request with this chance, by the emulator's seeded dice.
        processed: Whether the request is carried out although its answer goes wrong. By
            default it is, except where ``status`` refuses it: a POST that is answered 500
            with ``processed=True`` has placed its call.
        status: Answer this. Below 300 the body stays, otherwise it is an error's.
        error_shape: Which of the error bodies.
        retry_after: Seconds, or any text; ``date:5`` is the HTTP date of five seconds from
            now, ``date:-5`` one in the past.
        body: In place of the real one.
        media_type: ``Content-Type`` in place of the real one.
        headers: Added, or put in the place of those of the same name.
        html: A page of HTML, with status 200 unless ``status`` is given.
        mpeg: ``audio/mpeg`` frames in place of the recording.
        wav: What is unusual about the WAVE file; ``damaged_wave`` recomputes it.
        gzip: Compress the body, whatever the client accepts.
        gzip_bomb: A compressed body that expands to this many zeros.
        coding: Compress the body in this way, and say so.
        redirect: ``same`` host; ``other-host``, which is ``localhost``; ``downgrade`` to http;
            ``loop``; ``storage``, where a signed address is good for a minute; or a URL.
        expired_redirect: Redirect to a signed address of the storage that is good no longer:
            it answers 403 in XML.
        redirect_status: 301, 302, 303, 307 or 308.
        ignore_range: Answer 200 and everything to a ``Range``.
        shift_range: Answer another range: this many bytes later than asked, and say so.
        content_range: ``Content-Range`` in place of the real one.
        etag: In place of the real one; empty for none, ``new`` for another each time.
        change_recording: The recording becomes another one just before it is sent.
        delay: Silence before the headers; infinite: forever.
        bandwidth: Bytes a second.
        framing: How the end of the body is told: ``length``, ``close`` or ``chunked``.
        content_length: A wrong ``Content-Length``.
        length_off_by: A ``Content-Length`` that is this much too large, or too small.
        truncate: End in good order after this many bytes of the body; with a length, without
            one, or without the last chunk, as ``framing`` says. Negative counts from the
            body's end, here and in the next two.
        reset: Reset the connection after this many bytes of the body, before the answer
            (``connection``), or inside its ``headers``.
        stall: Fall silent there, with the connection open.
        after_events: Count these three from the end of this event of a transcript stream.
        surplus: This many extra bytes after the body.
        endless: The body is repeated forever.
        hang_up: Close the connection after the answer without having said so.
        arrive: This many new calls begin after a list was answered.
        vanish: This many of the newest calls disappear after it.
        page: What is wrong with a page of a list.
        edit: Changes the JSON of an answer; only from Python.
        concurrency_limit: Refuse a matching request with 429 while this many others are under way.
        rate_limit: Refuse with 429 what exceeds this many matching requests a second.
        limit_headers: How these two say when to come again; ``retry_after`` may add to it.
        maintenance: Recordings answer 503 with a page of HTML; everything else works.
        not_ready_status: Recordings are said to be not ready, with this status.
        offset_limit: Lists refuse larger offsets with 400.
        cut_every: An answer whose body is longer is cut after this many bytes, in good order.
        duplicate_answer: The answer is sent twice, at once.
        late_answer: The answer is sent again when the next request comes in on the same
            connection, before the answer to that one.
        drip_extensions: No body, but the extensions of its first chunk without end, one byte a
            second or as fast as ``bandwidth`` says.
        webhook: What becomes of an event on its way out; ``delay`` may add to it.
        other_call: The answer is another call's.
        numeric_ids: Ids of calls are numbers in JSON; calls are found by these, too.
        call_status: ``status`` of every call in JSON.
        recording_available: ``recordingAvailable`` of every call in JSON: ``true``, ``false``,
            ``null`` or ``missing``.
        recording_url: ``recordingUrl`` of every call in JSON; the recording is only there, and
            404 where it usually is.

    Raises:
        ValueError: A value is out of its range, or two exclude each other.
    """

    route: Route | None = None
    _: KW_ONLY
    call_id: str | None = None
    times: int | None = None
    skip: int = 0
    per_call: bool = False
    probability: float = 1.0
    processed: bool | None = None
    status: int | None = None
    error_shape: ErrorShape | None = None
    retry_after: float | str | None = None
    body: bytes | str | None = None
    media_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    html: bool = False
    mpeg: bool = False
    wav: WaveDamage | None = None
    gzip: bool = False
    gzip_bomb: int = 0
    coding: Coding | None = None
    redirect: str | None = None
    expired_redirect: bool = False
    redirect_status: int = 302
    ignore_range: bool = False
    shift_range: int = 0
    content_range: str | None = None
    etag: str | None = None
    change_recording: bool = False
    delay: float = 0.0
    bandwidth: float | None = None
    framing: Framing = "length"
    content_length: int | None = None
    length_off_by: int = 0
    truncate: int | None = None
    reset: int | Place | None = None
    stall: int | Place | None = None
    after_events: int | None = None
    surplus: int = 0
    endless: bool = False
    hang_up: bool = False
    arrive: int = 0
    vanish: int = 0
    page: PageDamage | None = None
    edit: Callable[[Any], Any] | None = None
    concurrency_limit: int | None = None
    rate_limit: float | None = None
    limit_headers: LimitHeaders = "retry-after"
    maintenance: bool = False
    not_ready_status: int | None = None
    offset_limit: int | None = None
    cut_every: int | None = None
    duplicate_answer: bool = False
    late_answer: bool = False
    drip_extensions: bool = False
    other_call: bool = False
    webhook: WebhookDamage | None = None
    numeric_ids: bool = False
    call_status: str | None = None
    recording_available: Hint | None = None
    recording_url: RecordingLink | None = None

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_numbers(self)
        _check_routes(self)
        if sum(item is not None for item in (self.truncate, self.reset, self.stall)) > 1:
            raise ValueError("truncate, reset and stall exclude each other")

    def __repr__(self) -> str:
        said = (
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if getattr(self, item.name) not in (item.default, {})
        )
        return f"Fault({', '.join(said)})"

    @property
    def answered(self) -> int | None:
        """The status that it puts in the place of the real one; None if it puts none."""
        if self.status is not None or self.not_ready_status is not None:
            return self.status or self.not_ready_status
        if self.concurrency_limit is not None or self.rate_limit is not None:
            return 429
        if self.maintenance:
            return 503
        return None if self.offset_limit is None else 400

    @property
    def carries_out(self) -> bool:
        """Whether the request is carried out, whatever is answered."""
        if self.processed is not None:
            return self.processed
        if self.not_ready_status is not None:
            return False
        return self.answered is None or self.answered < 300

    def concerns(self, route: Route, call_id: str, query: str) -> bool:
        """Whether a request is one of those that it is for."""
        if self.route not in {None, route} or self.call_id not in {None, call_id}:
            return False
        if any(route not in allowed for name, allowed in _ONLY if self._has(name)):
            return False
        if route == "webhook":
            return self.webhook is not None
        if self.redirect == "storage":
            return route == "recording"
        if self.recording_url is not None:
            return route != "recording" or "token=" not in query
        if self.redirect not in {None, "loop"} and REDIRECTED in query:
            return False
        return self.offset_limit is None or _offset(query) > self.offset_limit

    def _has(self, name: str) -> bool:
        value = getattr(self, name)
        return value is not None and value is not False


def _offset(query: str) -> int:
    written = parse_qs(query).get("offset", ["0"])[-1]
    return int(written[:19]) if written.isascii() and written.isdecimal() else 0


def _check_choices(fault: Fault) -> None:
    for name, allowed in _CHOICES:
        value = getattr(fault, name)
        if value not in allowed:
            known = ", ".join(str(item) for item in allowed if item is not None)
            raise ValueError(f"{name} must be one of {known}, not {value!r}")
    for name in ("reset", "stall"):
        place = getattr(fault, name)
        if isinstance(place, str) and place not in get_args(Place):
            raise ValueError(f"{name} must be a number, connection or headers, not {place!r}")


def _check_numbers(fault: Fault) -> None:
    for name, least, most in _BOUNDS:
        value = getattr(fault, name)
        if value is not None and not least <= value <= most:
            span = f"be at least {least:g}" if math.isinf(most) else f"lie in {least:g} to {most:g}"
            raise ValueError(f"{name} must {span}, not {value:g}")


def _check_routes(fault: Fault) -> None:
    for name, allowed in _ONLY:
        if fault.route is not None and fault.route not in allowed and fault._has(name):  # noqa: SLF001 - its own check
            known = ", ".join(sorted(allowed))
            raise ValueError(f"{name} is for the routes {known}, not for {fault.route}")


REDIRECTED = "redirected=1"
"""Marks the target of a redirect, so that following it arrives."""


class FaultFields(TypedDict, total=False):
    """The same names and types as keyword arguments; ``Fault`` says what they mean."""

    route: Route | None
    call_id: str | None
    times: int | None
    skip: int
    per_call: bool
    probability: float
    processed: bool | None
    status: int | None
    error_shape: ErrorShape | None
    retry_after: float | str | None
    body: bytes | str | None
    media_type: str | None
    headers: Mapping[str, str]
    html: bool
    mpeg: bool
    wav: WaveDamage | None
    gzip: bool
    gzip_bomb: int
    coding: Coding | None
    redirect: str | None
    expired_redirect: bool
    redirect_status: int
    ignore_range: bool
    shift_range: int
    content_range: str | None
    etag: str | None
    change_recording: bool
    delay: float
    bandwidth: float | None
    framing: Framing
    content_length: int | None
    length_off_by: int
    truncate: int | None
    reset: int | Place | None
    stall: int | Place | None
    after_events: int | None
    surplus: int
    endless: bool
    hang_up: bool
    arrive: int
    vanish: int
    page: PageDamage | None
    edit: Callable[[Any], Any] | None
    concurrency_limit: int | None
    rate_limit: float | None
    limit_headers: LimitHeaders
    maintenance: bool
    not_ready_status: int | None
    offset_limit: int | None
    cut_every: int | None
    duplicate_answer: bool
    late_answer: bool
    drip_extensions: bool
    other_call: bool
    webhook: WebhookDamage | None
    numeric_ids: bool
    call_status: str | None
    recording_available: Hint | None
    recording_url: RecordingLink | None
