from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.errors import ConfigurationError
from agentphone_async.transport.timetable import Timetable, parse_bandwidth

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("8M", 8 * 2**20),
        ("512k", 512 * 2**10),
        ("1.5M", 1.5 * 2**20),
        ("1G", 2**30),
        ("100b", 100),
        ("10", 10 * 2**10),
        (".5m", 2**19),
        ("8MiB", 8 * 2**20),
        ("8Mi", 8 * 2**20),
        ("8MB", 8 * 2**20),
        (" 8M ", 8 * 2**20),
        ("off", None),
        ("OFF", None),
        ("0", None),
    ],
)
def test_a_bandwidth_is_read_as_rclone_reads_it(text, rate):
    assert parse_bandwidth(text) == rate


@pytest.mark.parametrize(
    "text", ["10x", "", "M", "-1M", "1M:2M", "8 M", "8bb", "8bi", "1e3", "nan", "inf", "8M/s", "٣k"]
)
def test_what_is_no_bandwidth_gets_one_clear_line(text):
    with pytest.raises(ConfigurationError) as raised:
        parse_bandwidth(text)
    assert f"'{text}'" in str(raised.value)
    assert "8M" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_escape_codes_in_a_bandwidth_do_not_reach_the_terminal():
    with pytest.raises(ConfigurationError) as raised:
        Timetable.parse("08:00,\x1b[31m1M")
    assert "\x1b" not in str(raised.value)


def test_a_day_s_timetable_holds_on_every_day_and_over_midnight():
    table = Timetable.parse("08:00,512k 12:00,10M 13:00,512k 18:00,30M 23:00,off")
    for day in range(7):
        expected = [
            ("00:00", None),
            ("07:59", None),
            ("08:00", 512 * 2**10),
            ("12:30", 10 * 2**20),
            ("13:00", 512 * 2**10),
            ("22:59", 30 * 2**20),
            ("23:00", None),
        ]
        for clock, rate in expected:
            hour, minute = map(int, clock.split(":"))
            when = MONDAY + timedelta(days=day, hours=hour, minutes=minute, seconds=59)
            assert table.rate_at(when) == rate, (day, clock)


def test_weekdays_hold_until_the_next_entry_and_over_the_turn_of_the_week():
    table = Timetable.parse("Mon-00:00,512k Fri-23:59,10M Sat-10:00,1M sunday-20:00,off")
    assert table.rate_at(MONDAY) == 512 * 2**10
    assert table.rate_at(MONDAY + timedelta(days=4, hours=23)) == 512 * 2**10
    assert table.rate_at(MONDAY + timedelta(days=5, hours=9)) == 10 * 2**20
    assert table.rate_at(MONDAY + timedelta(days=6, hours=19)) == 2**20
    assert table.rate_at(MONDAY + timedelta(days=6, hours=20)) is None
    before = Timetable.parse("Wed-12:00,1M Thu-12:00,2M")
    assert before.rate_at(MONDAY) == 2 * 2**20


def test_a_single_bandwidth_holds_always():
    table = Timetable.parse("8M")
    assert table.rate_at(MONDAY) == table.rate_at(MONDAY + timedelta(days=6.9)) == 8 * 2**20
    assert table.limits
    assert not Timetable.parse("off").limits


@pytest.mark.parametrize(
    "text",
    ["10x", "08:00", "24:00,1M", "08:60,1M", "08:00,", "Foo-08:00,1M", "1M 2M", "", "8:0,1M"],
)
def test_what_is_no_timetable_gets_one_clear_line(text):
    with pytest.raises(ConfigurationError) as raised:
        Timetable.parse(text)
    assert "\n" not in str(raised.value)
    assert text.split(" ")[0] in str(raised.value)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    message = ""
    try:
        Timetable.parse(text).rate_at(MONDAY)
    except ConfigurationError as error:
        message = str(error)
    assert "\n" not in message
