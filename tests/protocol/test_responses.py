from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from agentphone_async import errors
from agentphone_async.errors import FieldProblem, ResponseError
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.responses import Reply, data_of, error_of

GET = endpoints.get_call("call_1")
POST = endpoints.end_call("call_1")

STATUSES: list[tuple[int, type[ResponseError], bool]] = [
    (400, errors.ValidationError, False),
    (401, errors.AuthenticationError, False),
    (402, errors.InsufficientBalanceError, False),
    (403, errors.PermissionDeniedError, False),
    (404, errors.NotFoundError, False),
    (405, errors.ResponseError, False),
    (408, errors.ResponseError, True),
    (409, errors.ConflictError, False),
    (410, errors.ResponseError, False),
    (418, errors.ResponseError, False),
    (422, errors.ValidationError, False),
    (429, errors.RateLimitError, True),
    (500, errors.ServerError, True),
    (502, errors.ServerError, True),
    (503, errors.ServerError, True),
    (504, errors.ServerError, True),
    (599, errors.ServerError, True),
    (302, errors.UnexpectedResponseError, False),
]

SHAPES: list[tuple[str, Any, str, str | None, tuple[FieldProblem, ...]]] = [
    (
        "documented",
        {
            "error": {
                "message": "no such thing",
                "code": "SOME_CODE",
                "type": "x",
                "details": [{"field": "toNumber", "message": "not E.164", "type": "format"}],
            }
        },
        "no such thing",
        "SOME_CODE",
        (FieldProblem("toNumber", "not E.164", "format"),),
    ),
    ("detail text", {"detail": "no such thing"}, "no such thing", None, ()),
    (
        "detail list",
        {"detail": [{"loc": ["body", "toNumber", 0], "msg": "bad", "type": "value_error"}]},
        "body.toNumber.0: bad",
        None,
        (FieldProblem("body.toNumber.0", "bad", "value_error"),),
    ),
    ("message", {"message": "no such thing"}, "no such thing", None, ()),
    ("error text", {"error": "no such thing"}, "no such thing", None, ()),
]


def reply(status: int, body: Any, **headers: str) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, headers, data)


@pytest.mark.parametrize(("status", "kind", "transient"), STATUSES)
@pytest.mark.parametrize(("name", "body", "words", "code", "details"), SHAPES, ids=lambda v: "")
def test_every_shape_of_body_with_every_status(
    status: int,
    kind: type[ResponseError],
    transient: bool,
    name: str,
    body: Any,
    words: str,
    code: str | None,
    details: tuple[FieldProblem, ...],
):
    error = error_of(GET, reply(status, body))
    assert type(error) is kind, name
    assert error.status == status
    assert error.code == code
    assert error.details == details
    assert error.transient is transient
    assert (error.method, error.path, error.call_id) == ("GET", "/v1/calls/call_1", "call_1")
    assert words in str(error)
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "no reason"),
        (b"<html><h1>Bad Gateway</h1></html>", "<html><h1>Bad Gateway</h1></html>"),
        (b"\xff\xfe\x00", "\\xff"),
        (b"[]", "[]"),
        (b"null", "null"),
        (b"{", "{"),
        (b"[" * 100_000, "[[["),
        (b'{"error": null, "detail": 5}', "502"),
    ],
)
def test_bodies_that_are_none_of_the_shapes(body: bytes, shown: str):
    error = error_of(GET, reply(502, body))
    assert isinstance(error, errors.ServerError)
    assert shown in str(error)
    assert len(str(error)) < 400


def test_huge_texts_and_lists_are_cut():
    huge = {"detail": [{"loc": ["body", "f" * 9999], "msg": "m" * 9999}] * 5000}
    error = error_of(GET, reply(422, huge))
    assert len(error.details) == 20
    assert len(str(error)) < 20_000
    error = error_of(GET, reply(500, {"message": "x" * 10_000_000}))
    assert len(str(error)) < 400


@given(st.binary(max_size=300), st.integers(300, 599))
def test_no_bytes_can_break_it_or_the_terminal(body: bytes, status: int):
    error = error_of(GET, Reply(status, {}, body))
    assert error.status == status
    assert str(error).isprintable()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "detail", "message", "details", "loc", "msg", "code"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_can_break_it(body: Any):
    assert str(error_of(GET, reply(422, body))).isprintable()


def test_a_recording_that_is_not_there_has_an_error_of_its_own():
    request = endpoints.get_recording("call_1")
    error = error_of(request, reply(404, {"detail": "Recording not found"}))
    assert type(error) is errors.RecordingNotFoundError
    assert isinstance(error, errors.NotFoundError)


def test_a_page_for_people_does_not_say_that_there_is_no_recording():
    """A server that is not AgentPhone must not look like one whose calls were not recorded."""
    request = endpoints.get_recording("call_1")
    page = Reply(404, CIMultiDict({"Content-Type": "Text/HTML; charset=utf-8"}), b"<h1>404</h1>")
    error = error_of(request, page)
    assert type(error) is errors.UnexpectedResponseError
    assert not error.transient
    assert "check the base URL" in str(error)
    assert type(error_of(request, reply(404, b""))) is errors.RecordingNotFoundError


def test_the_advice_says_what_to_do():
    pages = endpoints.list_calls(limit=20, offset=0)
    assert "check the base URL" in str(error_of(pages, reply(404, {"detail": "Not Found"})))
    known = {"error": {"message": "Sub-account not found.", "code": "SUB_ACCOUNT_NOT_FOUND"}}
    assert "base URL" not in str(error_of(pages, reply(404, known)))
    assert "check the API key" in str(error_of(GET, reply(401, {})))
    assert "top up" in str(error_of(GET, reply(402, {})))


NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1000000000", 1e9),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
    ],
)
def test_retry_after(header: str, seconds: float | None):
    error = error_of(GET, reply(429, {}, **{"Retry-After": header}), NOW)
    assert error.retry_after == seconds


def test_data_of_a_good_reply():
    assert data_of(GET, reply(200, {"id": "x"})) == {"id": "x"}


def test_an_empty_body_is_fine_for_ending_a_call_only():
    assert data_of(POST, reply(200, b"")) == {}
    assert data_of(POST, reply(204, b" \n")) == {}
    with pytest.raises(errors.UnexpectedResponseError, match=r"nothing \(0 bytes\)"):
        data_of(GET, reply(200, b""))


@pytest.mark.parametrize(
    "body", [b"<html>hello</html>", b"[1]", b"null", b"3", b"{", b"\xff", b"[" * 100_000]
)
def test_a_server_that_speaks_no_json_is_quoted(body: bytes):
    with pytest.raises(errors.UnexpectedResponseError) as caught:
        data_of(GET, reply(200, body, **{"Content-Type": "text/html"}))
    error = caught.value
    assert error.status == 200
    assert "text/html" in str(error)
    assert "check the base URL" in str(error)
    assert not error.transient


def test_an_error_status_is_raised():
    with pytest.raises(errors.ConflictError):
        data_of(POST, reply(409, {"detail": "already over"}))
