"""A body is resumed only when the answer proves that it is the rest of the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from agentphone_async.protocol.ranges import (
    ContentRange,
    Resume,
    Validator,
    judge_resume,
    parse_content_range,
    resume_headers,
)

ETAG = Validator(etag='"v1"')
DATED = Validator(last_modified="Sat, 21 Nov 2026 12:00:00 GMT")
GOOD = {
    "ETag": '"v1"',
    "Content-Range": "bytes 400-999/1000",
    "Content-Length": "600",
    "Content-Type": "audio/wav",
}


def judge(
    status: int = 206,
    *,
    offset: int = 400,
    total: int | None = 1000,
    validator: Validator = ETAG,
    without: str = "",
    **changes: str,
) -> Resume:
    headers = CIMultiDict(GOOD)
    for name, value in changes.items():
        headers[name.replace("_", "-")] = value
    headers.pop(without, None)
    return judge_resume(status, headers, offset, total, validator)


def test_the_proven_rest_goes_on() -> None:
    assert judge() is Resume.CONTINUE
    assert judge(without="Content-Length") is Resume.CONTINUE
    assert judge(total=None) is Resume.CONTINUE
    assert judge(content_range="bytes 400-999/*") is Resume.CONTINUE
    assert judge(content_encoding="identity") is Resume.CONTINUE


@pytest.mark.parametrize(
    "changes",
    [
        {"without": "Content-Range"},
        {"content_range": "bytes 0-999/1000", "content_length": "1000"},
        {"content_range": "bytes 0-999/1000", "without": "Content-Length"},
        {"content_range": "bytes 399-999/1000", "without": "Content-Length"},
        {"content_range": "bytes 401-999/1000", "without": "Content-Length"},
        {"content_range": "bytes 399-999/1000", "content_length": "601"},  # overlaps
        {"content_range": "bytes 401-999/1000", "content_length": "599"},  # leaves a gap
        {"content_range": "bytes 400-899/1000", "content_length": "500"},  # stops early
        {"content_range": "bytes 400-1999/2000", "content_length": "1600"},  # another total
        {"content_range": "bytes 400-999/*", "total": None},  # nobody knows the end
        {"content_range": "bytes */1000"},
        {"content_range": "lines 400-999/1000"},
        {"content_range": "bytes 400-999/1000, bytes 0-1/1000"},
        {"content_length": "599"},
        {"content_length": "six hundred"},
        {"content_type": "multipart/byteranges; boundary=x"},
        {"content_encoding": "gzip"},
        {"etag": '"v2"'},
        {"etag": 'W/"v1"'},
        {"without": "ETag"},
        {"validator": Validator()},
        {"validator": DATED},
        {"offset": 0},
    ],
)
def test_a_206_that_proves_less_starts_again(changes: dict[str, object]) -> None:
    assert judge(**changes) is Resume.RESTART  # type: ignore[arg-type]


def test_a_date_must_be_repeated_too() -> None:
    same = {"last_modified": "Sat, 21 Nov 2026 12:00:00 GMT"}
    assert judge(validator=DATED, **same) is Resume.CONTINUE
    assert judge(validator=DATED, last_modified="Sat, 21 Nov 2026 12:00:01 GMT") is Resume.RESTART


def test_a_200_is_the_whole_from_zero() -> None:
    assert judge(200, without="Content-Range") is Resume.RESTART_WITH_THIS_BODY
    assert judge(200, content_range="bytes 0-999/1000") is Resume.RESTART_WITH_THIS_BODY


@pytest.mark.parametrize(
    "span", ["bytes 400-999/1000", "bytes 0-99/1000", "bytes 0-9/*", "rubbish"]
)
def test_a_200_that_admits_to_be_a_part_is_of_no_use(span: str) -> None:
    assert judge(200, content_range=span) is Resume.RESTART


@pytest.mark.parametrize("status", [204, 301, 304, 404, 416, 500])
def test_no_other_status_has_a_body_for_us(status: int) -> None:
    assert judge(status) is Resume.RESTART


def test_headers_are_found_in_any_case() -> None:
    headers = CIMultiDict({name.lower(): value for name, value in GOOD.items()})
    assert judge_resume(206, headers, 400, 1000, ETAG) is Resume.CONTINUE
    assert Validator.from_headers(headers) == ETAG


OLD = {"Last-Modified": "Sat, 21 Nov 2026 12:00:00 GMT", "Date": "Sat, 21 Nov 2026 12:01:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({}, Validator()),
        ({"ETag": '"v1"'}, ETAG),
        ({"ETag": '"v1"', **OLD}, ETAG),
        ({"ETag": 'W/"v1"'}, Validator()),
        ({"ETag": 'W/"v1"', **OLD}, Validator()),
        ({"ETag": "v1"}, Validator()),
        ({"ETag": '"a b"'}, Validator()),
        ({"ETag": '""'}, Validator(etag='""')),
        (OLD, DATED),
        ({**OLD, "Date": "Sat, 21 Nov 2026 12:00:59 GMT"}, Validator()),
        ({"Last-Modified": OLD["Last-Modified"]}, Validator()),
        ({"Last-Modified": "yesterday", "Date": OLD["Date"]}, Validator()),
    ],
)
def test_only_strong_validators_count(headers: dict[str, str], validator: Validator) -> None:
    assert Validator.from_headers(CIMultiDict(headers)) == validator


def test_the_request_for_the_rest() -> None:
    assert resume_headers(ETAG, 400) == {"Range": "bytes=400-", "If-Range": '"v1"'}
    assert resume_headers(DATED, 1)["If-Range"] == DATED.last_modified
    assert resume_headers(ETAG, 0) == {}
    assert resume_headers(Validator(), 400) == {}


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("bytes 0-499/1234", ContentRange(0, 499, 1234)),
        (" BYTES 0-499/* ", ContentRange(0, 499, None)),
        ("bytes */1234", ContentRange(None, None, 1234)),
        ("bytes */*", None),
        ("bytes 5-4/10", None),
        ("bytes 0-10/10", None),
        ("bytes=0-10/11", None),
        ("bytes 0-/11", None),
        ("bytes -5/11", None),
        ("bytes 0-" + "9" * 5000 + "/*", None),
        ("bytes \N{ARABIC-INDIC DIGIT ZERO}-9/10", None),
        ("", None),
    ],
)
def test_content_range(value: str, parsed: ContentRange | None) -> None:
    assert parse_content_range(value) == parsed


@settings(max_examples=200)
@given(
    body=st.binary(min_size=2, max_size=40),
    data=st.data(),
)
def test_what_goes_on_always_completes_the_same_bytes(body: bytes, data: st.DataObject) -> None:
    """Whatever range a server claims and sends: to continue is to end with the original."""
    offset = data.draw(st.integers(1, len(body) - 1))
    known = data.draw(st.sampled_from([None, len(body)]))
    first = offset + data.draw(st.sampled_from([0, 0, 0, -1, 1, -offset]))
    last = len(body) - 1 + data.draw(st.sampled_from([0, 0, 0, -1, 1]))
    total = data.draw(st.sampled_from([len(body), last + 1, "*"]))
    headers = CIMultiDict({"ETag": '"v1"', "Content-Range": f"bytes {first}-{last}/{total}"})
    if judge_resume(206, headers, offset, known, ETAG) is Resume.CONTINUE:
        assert first == offset
        if known is not None:
            assert body[:offset] + body[first : last + 1] == body


@settings(max_examples=150)
@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from([*GOOD, "Content-Encoding", "Date", "Last-Modified"]), st.text(max_size=20)
    ),
    st.integers(-1, 100),
)
def test_it_never_raises(status: int, headers: dict[str, str], offset: int) -> None:
    multi = CIMultiDict(headers)
    validator = Validator.from_headers(multi)
    assert isinstance(judge_resume(status, multi, offset, None, validator), Resume)
