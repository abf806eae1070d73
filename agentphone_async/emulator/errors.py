"""How the API says no: the bodies of its errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from xml.sax.saxutils import escape

from agentphone_async.emulator.reply import Reply, json_reply

ErrorShape = Literal["error", "detail", "message", "html", "xml", "cloudflare", "empty"]
"""The documented body, ``{"detail": text}``, ``{"message": text}``, a proxy's page, the XML of an
object store, Cloudflare's ``error code: 1010``, nothing."""

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    422: "validation_error",
    429: "rate_limit_error",
}
_CODES = {
    400: "VALIDATION_ERROR",
    401: "UNAUTHORIZED",
    402: "INSUFFICIENT_BALANCE",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    502: "CARRIER_ERROR",
    503: "SERVICE_UNAVAILABLE",
    504: "GATEWAY_TIMEOUT",
}
_STORAGE_CODES = {
    400: "RequestTimeout",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "OperationAborted",
    500: "InternalError",
    503: "SlowDown",
}
_MESSAGES = {
    400: "The request is not valid.",
    401: "Invalid or missing API key.",
    402: "Insufficient balance.",
    403: "You may not do this.",
    404: "Not found.",
    409: "The request conflicts with the current state.",
    429: "Rate limit exceeded. Please slow down.",
    500: "Something went wrong on our side.",
    502: "The carrier did not answer.",
    503: "The service is temporarily unavailable.",
    504: "The service took too long to answer.",
}


class ApiError(Exception):
    """An answer other than success, in the API's own error body.

    Args:
        status: The HTTP status.
        message: For people; a usual one for the status by default.
        code: For programs; likewise.
        headers: Further headers of the answer.
        framework: The answer of the web framework and not of the API: ``{"detail": text}``.
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        code: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        framework: bool = False,
    ) -> None:
        self.status = status
        self.message = message or _MESSAGES.get(status, f"HTTP {status}")
        self.code = code or _CODES.get(status, f"HTTP_{status}")
        self.headers = dict(headers or {})
        self.framework = framework
        super().__init__(f"{status}: {self.message}")


class InvalidRequestError(Exception):
    """A 422 with FastAPI's list of what is wrong where."""

    def __init__(self, problems: Sequence[Mapping[str, Any]]) -> None:
        self.problems = list(problems)
        super().__init__("the request is not valid")

    def body(self) -> bytes:
        """The validation body."""
        return json.dumps({"detail": self.problems}).encode()


def problem(
    where: Sequence[str | int], message: str, kind: str, value: object, **context: object
) -> dict[str, Any]:
    """One entry of a validation body, as pydantic 2 writes it."""
    entry: dict[str, Any] = {"type": kind, "loc": list(where), "msg": message, "input": value}
    return entry | ({"ctx": context} if context else {})


def error_body(
    status: int, message: str, code: str, shape: ErrorShape = "error"
) -> tuple[bytes, str]:
    """The body of an error in one of its shapes, and its media type."""
    if shape == "empty":
        return b"", "text/plain"
    if shape == "html":
        page = (
            f"<html>\r\n<head><title>{status}</title></head>\r\n"
            f"<body>\r\n<center><h1>{status}</h1></center>\r\n<hr>"
            "<center>nginx</center>\r\n</body>\r\n</html>\r\n"
        )
        return page.encode(), "text/html"
    if shape == "xml":
        return storage_error(
            _STORAGE_CODES.get(status, "InternalError"), message
        ), "application/xml"
    if shape == "cloudflare":
        return b"error code: 1010", "text/plain; charset=UTF-8"
    if shape == "error":
        kind = _TYPES.get(status, "api_error")
        content: dict[str, Any] = {
            "error": {"message": message, "code": code, "type": kind, "details": []}
        }
    else:
        content = {shape: message}
    return json.dumps(content).encode(), "application/json"


def storage_error(code: str, message: str) -> bytes:
    """An error in the XML of an object store."""
    text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode()


def not_ready(status: int, shape: ErrorShape = "error") -> Reply:
    """A recording that is there later: 202, 404, 409, 423, 425 or whatever a server says."""
    if status < 300:
        return json_reply({"status": "processing"}, status)
    message, code = "The recording is not ready yet.", "RECORDING_NOT_READY"
    body, media_type = error_body(status, message, code, shape)
    return Reply(status, [("Content-Type", media_type)], body)


def default_error_body(
    status: int, shape: ErrorShape = "error", message: str | None = None
) -> tuple[bytes, str]:
    """The usual error for a status, and its media type."""
    usual = ApiError(status, message)
    return error_body(status, usual.message, usual.code, shape)
