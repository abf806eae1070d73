"""A response becomes data or an error, here and nowhere else.

Four error bodies occur (API page "Errors" and what was observed): ``{"error": {…}}``,
``{"detail": "text"}``, ``{"detail": [{loc, msg, type}]}`` and ``{"message": "text"}``. HTML from a
proxy and empty bodies occur, too, so nothing here may fail on any bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from agentphone_async.errors import (
    AuthenticationError,
    ConflictError,
    FieldProblem,
    InsufficientBalanceError,
    MismatchedAnswerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RecordingGoneError,
    RecordingNotFoundError,
    RecordingNotReadyError,
    ResponseError,
    ServerError,
    UnexpectedResponseError,
    ValidationError,
)
from agentphone_async.protocol import retry_after
from agentphone_async.protocol.display import printable, sample
from agentphone_async.protocol.endpoints import Request

_KINDS: dict[int, type[ResponseError]] = {
    400: ValidationError,
    401: AuthenticationError,
    402: InsufficientBalanceError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: ValidationError,
    429: RateLimitError,
}

_RECORDING_KINDS: dict[int, type[ResponseError]] = {
    202: RecordingNotReadyError,
    409: RecordingNotReadyError,
    410: RecordingGoneError,
    423: RecordingNotReadyError,
    425: RecordingNotReadyError,
}

_ADVICE: dict[int, str] = {
    401: "check the API key",
    402: "top up the account",
    407: "a proxy wants a user and a password: give them in the proxy's URL",
    403: "this key may not do that",
}

_NO_KEY = "no API key was sent, so the key is not the reason: look for a proxy or a firewall"
_NOT_THE_API = "the answer is not the API's: look for a proxy or a firewall that refuses"


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete response.

    Attributes:
        status: HTTP status.
        headers: looked up without regard to case.
        body: all of it, decoded from any content coding.
        attempts: how many times the request was sent to get it; 0 if not counted.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    attempts: int = 0

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body)


@dataclass(frozen=True, slots=True)
class _Said:
    """What an error body says, whichever of the shapes it has."""

    message: str = ""
    code: str | None = None
    details: tuple[FieldProblem, ...] = ()


def data_of(request: Request, reply: Reply) -> dict[str, Any]:
    """The JSON object of a successful reply; ``{}`` for an empty body of a 2xx.

    Raises:
        ResponseError: the status is not 2xx, or the body is not a JSON object.
    """
    data = _json_of(request, reply)
    if not isinstance(data, dict):
        raise not_api(request, reply)
    return data


def transcript_of(request: Request, reply: Reply) -> dict[str, Any] | list[Any] | str:
    """What a transcript's reply says: an object, a bare list, or text.

    Raises:
        ResponseError: the status is not 2xx, or the body is none of these.
    """
    data = _json_of(request, reply)
    if isinstance(data, dict | list | str):
        return data
    text = _text_of(reply).strip()
    # What begins like this is a web page, or JSON that was cut off.
    if _media_type(reply) in _PLAIN_TEXT and text and not text.startswith(("<", "{", '["', "[{")):
        return text
    raise not_api(request, reply)


_PLAIN_TEXT = {"text/plain", "text/markdown", "application/octet-stream", ""}


def _text_of(reply: Reply) -> str:
    charset = re.search(r"charset=\"?([\w.:-]+)", reply.headers.get("Content-Type", ""))
    try:
        return reply.body.decode(charset[1] if charset else "utf-8", "replace")
    except LookupError:
        return reply.body.decode("utf-8", "replace")


_ROWS = ("data", "calls", "numbers", "agents", "items", "results", "rows")
"""Where a page may have its rows; in the order in which they are looked for."""


def rows_of(request: Request, reply: Reply) -> dict[str, Any]:
    """A page of a list, its rows under ``data``.

    204 is an empty page, and so is null if the page says that it is the last; a bare list is all of
    one; rows may be under another name, or a level deeper, as gateways have it.

    Raises:
        ResponseError: the status is not 2xx, or the body is neither.
    """
    data = _json_of(request, reply)
    if reply.status == 204:
        return {"data": [], "hasMore": False}
    if isinstance(data, list):
        return {"data": data}
    if not isinstance(data, dict):
        raise not_api(request, reply)
    inner = data.get("data")
    if isinstance(inner, dict):
        data = {**data, "data": None, **inner}
    more = data.get("hasMore", data.get("has_more"))
    if more is not None:
        data = {**data, "hasMore": {"true": True, "false": False}.get(str(more).lower(), more)}
    rows = next((data[name] for name in _ROWS if isinstance(data.get(name), list)), None)
    if rows is None and inner is None and (data.get("hasMore") is False or data.get("total") == 0):
        rows = []  # it says that there is nothing
    return data if rows is None else {**data, "data": rows}


def _json_of(request: Request, reply: Reply) -> Any:
    """The JSON of a successful reply: ``{}`` without a body, None for what is not JSON."""
    if not 200 <= reply.status < 300:
        raise error_of(request, reply)
    if not reply.body.strip() and (reply.status == 204 or not request.repeatable):
        return {}  # ending a call has been seen to answer without a body
    return _parsed(reply.body)


def not_api(request: Request, reply: Reply) -> UnexpectedResponseError:
    """The error for a successful reply that is not JSON, or not of the kind that was due."""
    kind = printable(reply.headers.get("Content-Type") or "no media type", 60)
    what = f"not the JSON that the AgentPhone API speaks: {kind}"
    return unexpected(request, reply, f"{what}, {sample(reply.body)}")


_NAMING = {"Get Call": "id", "End Call": "id", "Get Call Transcript": "callId"}
"""Where the answers to these requests name the call."""


def mismatch(request: Request, reply: Reply) -> MismatchedAnswerError | None:
    """The error for an answer that names another call than was asked for; None for all others."""
    name = _NAMING.get(request.name)
    if name is None or not 200 <= reply.status < 300:
        return None
    data = _parsed(reply.body)
    named = data.get(name) if isinstance(data, dict) else None
    if not isinstance(named, str | int) or str(named) in {request.call_id, ""}:
        return None
    return MismatchedAnswerError(
        f"{what_was_asked(request)} was answered for another call; "
        "a server or proxy on the way mixes up answers"
    ).about(request)


def unexpected(request: Request, reply: Reply, what: str) -> UnexpectedResponseError:
    """The error for a successful reply that is not what the endpoint gives, but ``what``."""
    error = UnexpectedResponseError(
        f"{reply.status} from {what_was_asked(request)}, but {what}; check the base URL",
        status=reply.status,
    ).about(request)
    error.attempts = reply.attempts
    return error


def error_of(request: Request, reply: Reply, now: datetime | None = None) -> ResponseError:
    """The error that a non-2xx reply stands for; ``now`` is for dates in ``Retry-After``."""
    said = (_read_once if len(reply.body) <= _SHORT else _read)(reply.body)
    kind = _KINDS.get(reply.status, ServerError if reply.status >= 500 else ResponseError)
    if 300 <= reply.status < 400:
        kind = UnexpectedResponseError
    if reply.status in {401, 403} and not _is_about_the_key(request, reply):
        kind = ResponseError if _is_json(reply.body) else UnexpectedResponseError
    if kind is NotFoundError and request.name == "Get Call Recording":
        # A page for people is not a word of the API's: the recording may well exist elsewhere.
        kind = UnexpectedResponseError if _is_html(reply) else RecordingNotFoundError
    elif request.name == "Get Call Recording":
        kind = _RECORDING_KINDS.get(reply.status, kind)
    words = said.message or (f"the body was {sample(reply.body)}" if reply.body else "no reason")
    code = f" [{said.code}]" if said.code else ""
    fields = "".join(f"; {printable(str(detail))}" for detail in said.details)
    advice = _advice(request, reply)
    if kind is UnexpectedResponseError and reply.status == 404:
        advice = "; the API answers in JSON: check the base URL"
    if kind is NotFoundError and request.name == "List Calls" and not said.code:
        advice = "; there is no AgentPhone API: check the base URL"
    error = kind(
        f"{reply.status} from {what_was_asked(request)}: {printable(words)}{code}{fields}{advice}",
        status=reply.status,
        code=said.code,
        details=said.details,
        retry_after=retry_after.of(reply.headers, now),
    ).about(request)
    error.attempts = reply.attempts
    return error


def _advice(request: Request, reply: Reply) -> str:
    """What to do about it. A key that was not sent is not blamed, nor is the API for a proxy."""
    if reply.status in {401, 403} and not request.authenticated:
        return f"; {_NO_KEY}"
    if reply.status == 403 and reply.body and not _is_json(reply.body):
        return f"; {_NOT_THE_API}"
    return f"; {_ADVICE[reply.status]}" if reply.status in _ADVICE else ""


def _is_about_the_key(request: Request, reply: Reply) -> bool:
    """Whether it is the API that refuses the key: not a proxy, a CDN or a storage in its place."""
    if not request.authenticated:
        return False
    return _is_json(reply.body) or (reply.status == 401 and not _is_html(reply))


def _parsed(body: bytes) -> Any:
    """What the JSON says; None if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_json(body: bytes) -> bool:
    return _parsed(body) is not None or body.strip() == b"null"


def _media_type(reply: Reply) -> str:
    return reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _is_html(reply: Reply) -> bool:
    """Whether it is a page for people, or a storage's XML: nothing that the API says."""
    return _media_type(reply) in {"text/html", "application/xml", "text/xml"}


def what_was_asked(request: Request) -> str:
    """Method and path for a message, harmless in a terminal."""
    return f"{request.method} {printable(request.path)}"


def _read(body: bytes) -> _Said:
    data = _parsed(body)
    if not isinstance(data, dict):
        return _Said()
    error = data.get("error")
    if isinstance(error, dict):
        code = error.get("code")
        return _Said(
            _text(error.get("message")),
            printable(code, 60) if isinstance(code, str) else None,
            _problems(error.get("details"), "field", "message"),
        )
    detail = data.get("detail")
    if isinstance(detail, list):
        return _Said("the request is not valid", None, _problems(detail, "loc", "msg"))
    return _Said(_text(detail) or _text(error) or _text(data.get("message")))


_SHORT = 1000
"""Bytes of a body that is not read again when it comes again; a run meets one refusal often."""

_read_once = lru_cache(maxsize=8)(_read)


def _problems(rows: Any, where: str, what: str) -> tuple[FieldProblem, ...]:
    if not isinstance(rows, list):
        return ()
    return tuple(
        FieldProblem(_dotted(row.get(where)), _text(row.get(what)), _text(row.get("type")))
        for row in rows[:20]
        if isinstance(row, dict)
    )


def _dotted(location: Any) -> str:
    if isinstance(location, list):
        return printable(".".join(str(part) for part in location[:10]), 100)
    return _text(location)


def _text(value: Any) -> str:
    return printable(value) if isinstance(value, str) else ""
