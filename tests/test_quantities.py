"""Durations and sizes, and what is neither."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.quantities import (
    QuantityError,
    duration_text,
    parse_duration,
    parse_size,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("24h", 86_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        ("1w2d3h4m5s", 604_800 + 172_800 + 10_800 + 240 + 5),
        ("1.5h", 5400),
        ("0.25s", 0.25),
        ("0", 0),
        ("5", 5),
        ("1.5", 1.5),
        ("0s", 0),
        ("80ms", 0.08),
        ("1s500ms", 1.5),
        ("2m80ms", 120.08),
        (" 10M ", 600),
        ("1 h 30 min", 5400),
        ("1h 30m", 5400),
        ("5 min", 300),
        ("80 MS", 0.08),
        ("1 d 2 h", 93_600),
        (".5s", 0.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["10x", "", " ", "s", "10sm", "5ms3s", "-5s", "+5s", "1m1h", "1h1h", "1  h", "5 minutes", "1min5min", ".s", ".", "5.", "h1", "1e3s", "nan", "1..5s", "٣s", "\x1b[31m", "999999999999w", "1" * 5000 + "s"],
)  # fmt: skip
def test_no_durations(text: str) -> None:
    with pytest.raises(QuantityError, match="write ") as caught:
        parse_duration(text)
    assert str(caught.value).isprintable()


def test_a_bad_duration_is_named() -> None:
    with pytest.raises(
        QuantityError, match=r"^'10x' is not a duration; write it like 80ms, 90s, 10m"
    ):
        parse_duration("10x")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8M", 8 << 20),
        ("1.5G", 3 << 29),
        ("500k", 500 << 10),
        ("100", 100),
        ("100B", 100),
        ("100b", 100),
        ("0", 0),
        ("64Ki", 64 << 10),
        ("64KiB", 64 << 10),
        ("2T", 2 << 40),
        ("1P", 1 << 50),
        ("1.0000001k", 1024),
        (" 8m ", 8 << 20),
        ("8 MiB", 8 << 20),
        ("8MB", 8_000_000),
        ("500kB", 500_000),
        ("1.5GB", 1_500_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["10x", "", "M", "-1", "1e3", "8MX", "8  M", "nan", "1,5G", "9999999999P", "\0", "1" * 5000],
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(QuantityError, match="write ") as caught:
        parse_size(text)
    assert str(caught.value).isprintable()


@settings(max_examples=60)
@given(st.integers(0, 365 * 24 * 3600 * 50))
def test_every_length_of_time_can_be_written(seconds: int) -> None:
    hours, rest = divmod(seconds, 3600)
    written = f"{hours}h{rest // 60}m{rest % 60}s"
    assert parse_duration(written) == timedelta(seconds=seconds)


@settings(max_examples=100)
@given(st.text("0123456789.wdhmsKMGiB -", max_size=8) | st.text(max_size=8))
def test_nothing_else_is_raised(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) is not None
        except QuantityError:
            continue


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_960, "1.0 MB"),
     (1_700_000_000, "1.7 GB"), (2e15, "2000.0 TB")],
)  # fmt: skip
def test_sizes_are_printed_in_decimal_units(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize("text", ["8MB", "1.5 GB", "100", "999.9kB"])
def test_a_printed_size_can_be_read_again(text: str) -> None:
    assert parse_size(size_text(parse_size(text))) == parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.08, "80 ms"), (1.5, "1.5 s"), (90, "90 s"), (300, "5 min"), (5400, "1 h 30 min"),
     (3600, "1 h"), (90_000, "1 d 1 h"), (float("inf"), "forever")],
)  # fmt: skip
def test_durations_are_printed(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
