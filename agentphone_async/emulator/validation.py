"""Checks of a request's JSON body, and the 422 that tells what is wrong with it."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentphone_async.emulator.errors import ApiError, InvalidRequestError, problem

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})
_FALSE = frozenset({"false", "0", "no", "off", "f", "n"})
_LARGEST_BODY = 1024 * 1024
_TIERS = ("turbo", "balanced", "max")

Check = Callable[[Any], tuple[str, str] | None]
"""What is wrong with a value, as pydantic's error type and message; None if nothing is."""


def text(value: Any) -> tuple[str, str] | None:
    """Any string."""
    return None if isinstance(value, str) else ("string_type", "Input should be a valid string")


def e164(value: Any) -> tuple[str, str] | None:
    """A phone number with ``+`` and country code."""
    if isinstance(value, str) and not _E164.fullmatch(value):
        return "value_error", "Value error, must be in E.164 format, like +15551234567"
    return text(value)


def tier(value: Any) -> tuple[str, str] | None:
    """One of the model tiers."""
    allowed = "'turbo', 'balanced' or 'max'"
    return None if value in _TIERS else ("literal_error", f"Input should be {allowed}")


def boolean(value: Any) -> tuple[str, str] | None:
    """True or false."""
    return None if isinstance(value, bool) else ("bool_type", "Input should be a valid boolean")


def between(least: int, most: int) -> Check:
    """A whole number in a range."""

    def check(value: Any) -> tuple[str, str] | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return "int_type", "Input should be a valid integer"
        if value < least:
            return "greater_than_equal", f"Input should be greater than or equal to {least}"
        if value > most:
            return "less_than_equal", f"Input should be less than or equal to {most}"
        return None

    return check


def table(value: Any) -> tuple[str, str] | None:
    """An object of anything."""
    return None if isinstance(value, dict) else ("dict_type", "Input should be a valid dictionary")


def strings(value: Any) -> tuple[str, str] | None:
    """An object whose values are strings."""
    if isinstance(value, dict) and not all(isinstance(item, str) for item in value.values()):
        return "string_type", "Input should be a dictionary of strings"
    return table(value)


def decoded_body(body: bytes, coding: str) -> bytes:
    """A body without its content coding.

    Raises:
        ApiError: 415 for an unknown coding, 400 when the body is not coded so, 413 when it is
            larger than a megabyte.
    """
    coding = coding.strip().lower()
    if coding in {"", "identity"}:
        return body
    if coding not in _CODINGS:
        raise ApiError(415, f"Content-Encoding {coding[:40]} is not supported.", framework=True)
    unpacker = zlib.decompressobj(_CODINGS[coding])
    try:
        plain = unpacker.decompress(body, _LARGEST_BODY)
    except zlib.error as error:
        raise ApiError(400, f"The body is not {coding}.", framework=True) from error
    if unpacker.unconsumed_tail:
        raise ApiError(413, "The body is too large.", framework=True)
    if not unpacker.eof or unpacker.unused_data:
        raise ApiError(400, f"The body is not whole {coding}.", framework=True)
    return plain


def checked_body(
    body: bytes, required: Mapping[str, Check], optional: Mapping[str, Check]
) -> dict[str, Any]:
    """The body as an object whose known fields are right; unknown fields are let through.

    Raises:
        InvalidRequestError: With every problem there is.
    """
    try:
        content = json.loads(body, parse_constant=_no_number)
    except ValueError as error:
        at = getattr(error, "pos", 0)
        raise InvalidRequestError(
            [problem(("body", at), "JSON decode error", "json_invalid", {}, error=str(error))]
        ) from error
    if not isinstance(content, dict):
        message = "Input should be a valid dictionary or object to extract fields from"
        raise InvalidRequestError([problem(("body",), message, "model_attributes_type", content)])
    problems = [
        problem(("body", name), "Field required", "missing", content)
        for name in required
        if name not in content
    ]
    for name, check in {**required, **optional}.items():
        value = content.get(name)
        if name not in content or (value is None and name in optional):
            continue
        wrong = check(value)
        if wrong is not None:
            problems.append(problem(("body", name), wrong[1], wrong[0], value))
    if problems:
        raise InvalidRequestError(problems)
    return content


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def page_bounds(
    query: Mapping[str, str], problems: Sequence[dict[str, Any]] = ()
) -> tuple[int, int]:
    """``limit`` and ``offset`` of a list.

    Raises:
        InvalidRequestError: One of them is out of range, or there are problems already.
    """
    found = list(problems)
    limit = whole_number(query, "limit", 20, (1, 100), found)
    offset = whole_number(query, "offset", 0, (0, None), found)
    if found:
        raise InvalidRequestError(found)
    return limit, offset


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean of the query, in any of the words that the web framework takes; False by default.

    Raises:
        InvalidRequestError: It is none of them.
    """
    text = query.get(name, "false")
    if text.lower() not in _TRUE | _FALSE:
        message = "Input should be a valid boolean, unable to interpret input"
        raise InvalidRequestError([problem(("query", name), message, "bool_parsing", text)])
    return text.lower() in _TRUE


def whole_number(
    query: Mapping[str, str],
    name: str,
    default: int,
    bounds: tuple[int, int | None],
    problems: list[dict[str, Any]],
) -> int:
    """A number of the query; whatever is wrong with it goes to ``problems``."""
    text = query.get(name)
    if text is None:
        return default
    where, (least, most) = ("query", name), bounds
    try:
        value = int(text)
    except ValueError:
        message = "Input should be a valid integer, unable to parse string as an integer"
        problems.append(problem(where, message, "int_parsing", text))
        return default
    if value < least:
        message = f"Input should be greater than or equal to {least}"
        problems.append(problem(where, message, "greater_than_equal", text, ge=least))
    elif most is not None and value > most:
        message = f"Input should be less than or equal to {most}"
        problems.append(problem(where, message, "less_than_equal", text, le=most))
    return value
