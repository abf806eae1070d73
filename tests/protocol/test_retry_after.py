"""`Retry-After` in all its forms, and everything that is none of them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.protocol.retry_after import of, parse, parse_http_date

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
MOMENT = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        ("0", 0.0),
        ("  7\t", 7.0),
        ("1.5", 1.5),
        ("2.", 2.0),
        ("1000000000", 1e9),
        ("-5", None),
        ("+5", None),
        ("1e3", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("5 seconds", None),
        ("٣", None),
        ("Sat, 21 Nov 2026 12:01:30 GMT", 90.0),
        ("Saturday, 21-Nov-26 12:01:30 GMT", 90.0),
        ("Sat Nov 21 12:01:30 2026", 90.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Sat, 32 Nov 2026 12:01:30 GMT", None),
        ("Sat, 21 Nov 2026 12:01:61 GMT", None),
        ("2026-11-21T12:01:30Z", None),
    ],
)
def test_table(value: str | None, seconds: float | None) -> None:
    assert parse(value, NOW) == seconds


@pytest.mark.parametrize("digits", [400, 5000, 100_000])
def test_a_huge_number_stays_finite(digits: int) -> None:
    seconds = parse("9" * digits, NOW)
    assert seconds is not None
    assert math.isfinite(seconds)


def test_now_may_be_in_any_zone() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert parse("Sat, 21 Nov 2026 12:01:30 GMT", elsewhere) == 90.0


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Xyz, 06 Nov 1994 08:49:37 GMT",
    ],
)
def test_the_three_forms_of_a_date(text: str) -> None:
    assert parse_http_date(text) == MOMENT


@settings(max_examples=80)
@given(st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1900))
def test_every_date_that_python_writes_is_read_back(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert parse_http_date(format_datetime(moment, usegmt=True)) == moment
    assert parse_http_date(moment.strftime("%a %b %e %H:%M:%S %Y")) == moment


@settings(max_examples=150)
@given(
    st.text(max_size=40)
    | st.lists(st.integers(0, 99), min_size=6, max_size=6).map(
        lambda n: "Sat, {:02} Nov {:02}{:02} {:02}:{:02}:{:02} GMT".format(*n)
    )
)
def test_it_never_raises_and_never_gives_nonsense(value: str) -> None:
    seconds = parse(value, NOW)
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


SERVER = "Sat, 21 Nov 2026 13:00:00 GMT"  # an hour ahead of ours
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7", "X-RateLimit-Reset": "99"}, 7),
        ({"Retry-After": "Sat, 21 Nov 2026 13:00:30 GMT", "Date": SERVER}, 30),
        ({"Retry-After": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30),
        ({"X-RateLimit-Reset": "45"}, 45),
        ({"X-Rate-Limit-Reset": "45"}, 45),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"RateLimit": '"second";r=0;t=5, "day";r=7;t=600'}, 5),
        ({"RateLimit": '"second";r=0;t=5, "day";r=0;t=600'}, 600),
        ({"RateLimit": '"second";r=3;t=5'}, None),
        ({"X-RateLimit-Reset": str(EPOCH + 45)}, 45),
        ({"X-RateLimit-Reset": str(EPOCH + 3645), "Date": SERVER}, 45),
        ({"X-RateLimit-Reset": str((EPOCH + 45) * 1000)}, 45),
        ({"X-RateLimit-Reset": str(EPOCH - 45)}, 0),
        ({"X-RateLimit-Reset": "45", "X-RateLimit-Remaining": "0"}, 45),
        ({"X-RateLimit-Reset": "45", "X-RateLimit-Remaining": "3"}, None),
        ({"X-RateLimit-Reset-After": "1.5"}, 1.5),
        ({"RateLimit-Reset": "45", "X-RateLimit-Reset": "1"}, 45),
        ({"RateLimit-Reset": "Sat, 21 Nov 2026 12:01:00 GMT"}, 60),
        ({"RateLimit": '"default";r=0;t=30'}, 30),
        ({"RateLimit": '"default";r=5;t=30'}, None),
        ({"RateLimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"RateLimit": "nonsense", "RateLimit-Reset": "soon"}, None),
    ],
)
def test_every_way_to_say_how_long(headers, seconds):
    assert of(headers, NOW) == seconds
