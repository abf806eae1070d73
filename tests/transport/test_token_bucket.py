from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.errors import ConfigurationError
from agentphone_async.transport.rate import TokenBucket, parse_bandwidth


def delay(bucket, now, amount):
    return bucket.remaining(now, bucket.reserve(now, amount))


def drive(bucket, *, until, amount, workers=1, work=0.0, now=0.0):
    """Each worker waits for its turn, works, and asks again; (time, amount) of every passage."""
    free = [now] * workers
    passed = []
    while (at := min(free)) < until:
        worker = free.index(at)
        size = amount() if callable(amount) else amount
        goes = at + delay(bucket, at, size)
        passed.append((goes, size))
        free[worker] = goes + work
    return passed


def amount_in(passed, begin, end):
    return sum(size for at, size in passed if begin <= at < end)


@pytest.mark.parametrize("rate", [0.5, 1, 7, 100, 5000])
@pytest.mark.parametrize("workers", [1, 16])
def test_requests_keep_the_rate_within_5_percent_over_10_s(rate, workers):
    passed = drive(TokenBucket(rate, 0.0, smallest=1.0), until=40, amount=1, workers=workers)
    for begin in (0, 5, 20):
        # A whole number of requests: half a one either way is not the rate's fault.
        assert amount_in(passed, begin, begin + 10) == pytest.approx(10 * rate, rel=0.05, abs=1)


def test_bytes_in_uneven_chunks_keep_the_rate_within_5_percent_over_10_s():
    rng = random.Random(3)
    rate = 8 * 2**20
    bucket = TokenBucket(rate, 0.0)
    passed = drive(bucket, until=30, amount=lambda: rng.randint(1, 2**17), workers=16, work=0.001)
    for begin in (0, 3, 15):
        assert amount_in(passed, begin, begin + 10) == pytest.approx(10 * rate, rel=0.05)


def test_an_idle_spell_allows_only_a_small_burst():
    bucket = TokenBucket(1000, 0.0)
    drive(bucket, until=1, amount=10)
    passed = drive(bucket, until=3601, amount=10, now=3600.0)
    assert amount_in(passed, 3600, 3600.0001) <= 1000 * 0.05 + 10


def test_an_amount_larger_than_a_second_waits_its_time_and_pays_for_those_behind():
    bucket = TokenBucket(100, 0.0)
    assert delay(bucket, 0.0, 505) == pytest.approx(5.0)
    assert delay(bucket, 0.0, 100) == pytest.approx(6.0)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 1000)), max_size=40))
def test_nobody_overtakes(asked):
    bucket = TokenBucket(100, 0.0)
    now, goes = 0.0, []
    for pause, amount in asked:
        now += pause
        goes.append(now + delay(bucket, now, amount))
    assert all(a <= b + 1e-6 for a, b in itertools.pairwise(goes))


def test_a_new_rate_changes_the_wait_of_those_who_already_wait():
    bucket = TokenBucket(10, 0.0)
    place = bucket.reserve(0.0, 100.5)
    assert bucket.remaining(5.0, place) == pytest.approx(5.0)
    bucket.set_rate(50, 5.0)
    assert bucket.remaining(5.0, place) == pytest.approx(1.0)
    bucket.set_rate(None, 5.5)
    assert bucket.remaining(5.5, place) == 0


def test_a_limit_that_begins_later_charges_nothing_for_before():
    bucket = TokenBucket(None, 0.0)
    assert delay(bucket, 0.0, 10**12) == 0
    bucket.set_rate(10, 100.0)
    assert delay(bucket, 100.0, 10) == pytest.approx(1.0)


def test_a_clock_that_stands_still_or_steps_back_gives_nothing_away():
    bucket = TokenBucket(10, 50.0)
    place = bucket.reserve(50.0, 10.5)
    assert bucket.remaining(50.0, place) == pytest.approx(1.0)
    assert bucket.remaining(40.0, place) == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_of_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="greater than 0"):
        TokenBucket(rate, 0.0)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("8M", 8 * 2**20),
        ("512k", 512 * 2**10),
        ("1.5M", 1.5 * 2**20),
        ("1G", 2**30),
        ("100b", 100),
        ("10", 10),
        ("0.5m", 2**19),
        ("8MiB", 8 * 2**20),
        ("8Mi", 8 * 2**20),
        ("8MB", 8_000_000),
        (" 8M ", 8 * 2**20),
        ("off", None),
        ("OFF", None),
        ("0", None),
    ],
)
def test_a_bandwidth_is_read_as_every_size_is(text, rate):
    assert parse_bandwidth(text) == rate


@pytest.mark.parametrize(
    "text",
    ["10x", "", "M", "-1M", "1M:2M", "8  M", "8bb", "8bi", "1e3", "nan", "inf", "8M/s", "٣k"],
)
def test_what_is_no_bandwidth_gets_one_clear_line(text):
    with pytest.raises(ConfigurationError) as raised:
        parse_bandwidth(text)
    assert f"'{text}'" in str(raised.value)
    assert "8M" in str(raised.value)
    assert "\n" not in str(raised.value)
