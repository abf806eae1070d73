"""The days of every zone tile the year, and every bad value gets one clear line."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentphone_async.archive.selection import (
    Range,
    Selection,
    SelectionError,
    day_range,
    parse_day,
    parse_moment,
)

BERLIN = ZoneInfo("Europe/Berlin")
TODAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)  # already the 21st in Berlin
DAY = timedelta(days=1)

# Zones in which something happens at or near midnight, and some in which nothing does.
ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"),
    *("America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Africa/Cairo", "Asia/Tehran"),
    *("America/St_Johns", "America/Asuncion", "Pacific/Apia", "Pacific/Kwajalein", "Asia/Gaza"),
    *("Atlantic/Azores", "America/Scoresbysund", "Africa/Casablanca", "Antarctica/Troll"),
]


def hours(day: date, zone: str) -> float:
    return day_range(day, ZoneInfo(zone)).length / timedelta(hours=1)


@pytest.mark.parametrize(
    ("zone", "day", "start", "length"),
    [
        ("UTC", "2026-11-21", "2026-11-21T00:00", 24),
        ("Europe/Berlin", "2026-11-21", "2026-11-20T23:00", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00", 25),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30", 23.5),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00", 23),  # no 00:00 that day
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00", 25),  # back at midnight
        ("America/Havana", "2025-11-02", "2025-11-02T04:00", 25),  # 00:00 comes twice that day
        ("America/St_Johns", "2010-11-07", "2010-11-07T03:30", 24),  # back over midnight
        ("America/St_Johns", "2010-11-06", "2010-11-06T02:30", 25),
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00", 0),  # skipped by the country
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00", 24),
    ],
)
def test_days_that_are_not_like_others(zone: str, day: str, start: str, length: float) -> None:
    which = date.fromisoformat(day)
    span = day_range(which, ZoneInfo(zone))
    assert span.start == datetime.fromisoformat(start + "+00:00")
    assert span.start.tzinfo is span.end.tzinfo is UTC
    assert hours(which, zone) == length


@pytest.mark.parametrize("day", [date(1969, 12, 31), date(9999, 12, 31), date.min])
def test_days_out_of_reach_are_refused(day: date) -> None:
    with pytest.raises(SelectionError, match="out of reach"):
        day_range(day, BERLIN)


@settings(max_examples=40)
@given(st.sampled_from(ZONES), st.integers(1971, 2040))
@example("Pacific/Apia", 2011)
@example("America/St_Johns", 2010)
def test_the_days_of_a_year_tile_it(zone: str, year: int) -> None:
    where = ZoneInfo(zone)
    first = date(year, 1, 1)
    count = (date(year + 1, 1, 1) - first).days
    spans = [day_range(first + DAY * number, where) for number in range(count)]
    for before, after in itertools.pairwise(spans):
        assert before.end == after.start
        assert before.start <= before.end
    assert spans[0].start == day_range(first - DAY, where).end
    assert spans[-1].end == day_range(date(year + 1, 1, 1), where).start


@settings(max_examples=150)
@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(1971, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis adds the zone
)
def test_a_moment_lies_in_the_day_that_the_clock_showed(zone: str, moment: datetime) -> None:
    """Except where a clock was set back over midnight: there the date was shown twice."""
    where = ZoneInfo(zone)
    local = moment.astimezone(where)
    if moment not in day_range(local.date(), where):
        later = (moment + timedelta(hours=3)).astimezone(where)
        assert later.utcoffset() != local.utcoffset()
        assert moment in day_range(local.date() - DAY, where)


@given(st.dates(date(1971, 1, 1), date(9998, 12, 31)), st.integers(-840, 840))
def test_fixed_offsets_have_days_of_24_hours(day: date, minutes: int) -> None:
    assert day_range(day, timezone(timedelta(minutes=minutes))).length == DAY


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", TODAY),
        ("Yesterday", date(2026, 11, 20)),
        ("2026-11-21", TODAY),
        (" 2024-02-29 ", date(2024, 2, 29)),
        ("1970-01-01", date(1970, 1, 1)),
    ],
)
def test_days(text: str, day: date) -> None:
    assert parse_day(text, TODAY) == day


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a date; write YYYY-MM-DD"),
        ("tomorrow", "'tomorrow' is not a date"),
        ("21.11.2026", "'21.11.2026' is not a date"),
        ("20261121", "is not a date"),
        ("2026-W47-6", "is not a date"),
        ("2026-1-1", "is not a date"),
        ("2026-11-21T10:00", "is not a date"),
        ("2026-11-\u0662\u0661", "is not a date"),
        ("2026-02-30", "'2026-02-30' is not in the calendar"),
        ("2026-13-01", "not in the calendar"),
        ("0000-01-01", "not in the calendar"),
        ("0001-01-01", "out of reach"),
        ("9999-12-31", "out of reach"),
        ("\x1b[31m", "'\\x1b[31m' is not a date"),
    ],
)
def test_bad_days(text: str, message: str) -> None:
    with pytest.raises(SelectionError) as caught:
        parse_day(text, TODAY)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", "2026-11-20T23:30"),
        ("today", "2026-11-20T23:00"),
        ("yesterday", "2026-11-19T23:00"),
        ("2026-11-21", "2026-11-20T23:00"),
        ("2026-07-01", "2026-06-30T22:00"),
        ("2026-07-01T10:00", "2026-07-01T08:00"),
        ("2026-07-01 10:00:30.5", "2026-07-01T08:00:30.500000"),
        ("2026-07-01T10:00Z", "2026-07-01T10:00"),
        ("2026-07-01t10:00z", "2026-07-01T10:00"),
        ("2026-07-01T10:00+05:30", "2026-07-01T04:30"),
        ("2026-07-01T10:00 -0400", "2026-07-01T14:00"),
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # twice: the first
        ("2026-03-29T02:30", "2026-03-29T01:30"),  # never: as if the clock had not been set
        ("36h", "2026-11-19T11:30"),
        ("7d", "2026-11-13T23:30"),
        ("0", "2026-11-20T23:30"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    parsed = parse_moment(text, BERLIN, NOW)
    assert parsed == datetime.fromisoformat(moment + "+00:00")
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a point in time; write YYYY-MM-DD"),
        ("10x", "'10x' is not a point in time"),
        ("last", "'last' is not a point in time"),
        ("-5h", "not a point in time"),
        ("2026-11-21T", "not a point in time"),
        ("2026-11-21T25:00", "'2026-11-21T25:00' is not in the calendar or on the clock"),
        ("2026-02-30", "not in the calendar"),
        ("2026-02-30T10:00", "not in the calendar"),
        ("2026-11-21T10:00+99:00", "not in the calendar"),
        ("9999-12-31T10:00", "out of reach"),
        ("99y", "not a point in time"),
        ("100d100d", "not a point in time"),
        ("99999d", "more than 100 years"),
        ("30000d", "out of reach"),
        ("\x00", "'\\x00' is not a point"),
    ],
)
def test_bad_moments(text: str, message: str) -> None:
    with pytest.raises(SelectionError) as caught:
        parse_moment(text, BERLIN, NOW)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@settings(max_examples=100)
@given(st.text("0123456789-:T Z+hd", max_size=20) | st.text(max_size=12), st.sampled_from(ZONES))
def test_moments_raise_nothing_else(text: str, zone: str) -> None:
    try:
        assert parse_moment(text, ZoneInfo(zone), NOW).tzinfo is UTC
    except SelectionError:
        return


@dataclass
class FakeCall:
    started_at: datetime | None = NOW
    status: str | None = "in-progress"
    direction: str | None = "inbound"


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), True),
        (Selection(since=NOW), True),
        (Selection(until=NOW), False),
        (Selection(since=NOW + timedelta(microseconds=1)), False),
        (Selection(until=NOW + timedelta(microseconds=1)), True),
        (Selection(since=NOW.astimezone(BERLIN), until=NOW + DAY), True),
        (Selection(status="in-progress"), True),
        (Selection(status="In_Progress"), True),
        (Selection(status="completed"), False),
        (Selection(direction="inbound"), True),
        (Selection(direction="outbound"), False),
        (Selection.of_day(TODAY, BERLIN), True),
        (Selection.of_day(TODAY, UTC), False),
        (Selection.of_day(TODAY, BERLIN, status="failed"), False),
    ],
)
def test_what_is_wanted(selection: Selection, wanted: bool) -> None:
    assert selection.wants(FakeCall()) is wanted


def test_calls_that_do_not_tell() -> None:
    silent = FakeCall(None, None, None)
    assert Selection().wants(silent)
    assert not Selection(since=NOW).wants(silent)
    assert not Selection(until=NOW).wants(silent)
    assert not Selection(status="completed").wants(silent)
    assert not Selection(direction="inbound").wants(silent)


@pytest.mark.parametrize("until", [NOW, NOW - DAY])
def test_a_reversed_span_is_refused(until: datetime) -> None:
    with pytest.raises(SelectionError, match=r"is not before until .*; until is not included"):
        Selection(since=NOW, until=until)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(SelectionError, match="no time zone"):
        Selection(since=NOW.replace(tzinfo=None))


def test_a_day_that_never_was_is_refused() -> None:
    with pytest.raises(SelectionError, match="2011-12-30 does not exist in Pacific/Apia"):
        Selection.of_day(date(2011, 12, 30), ZoneInfo("Pacific/Apia"))


class Plain(tzinfo):
    """A zone that is not a ZoneInfo."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        assert when is not None
        return timedelta(0)

    def dst(self, when: datetime | None) -> timedelta:
        return timedelta(0)


def test_any_tzinfo_does() -> None:
    assert day_range(TODAY, Plain()) == Range(
        datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)
    )
