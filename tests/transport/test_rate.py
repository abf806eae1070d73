from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentphone_async.errors import ConfigurationError
from agentphone_async.transport.rate import RateLimiter, parse_bandwidth
from tests.transport.virtual_time import run_virtually


def now():
    return asyncio.get_running_loop().time()


def limiter_of(rate, **settings):
    return RateLimiter(rate, asyncio.get_running_loop().time, asyncio.sleep, **settings)


def drive(rate, *, until, amount, workers=1, work=0.0, **settings):
    """Each worker waits for its turn, works, and asks again; (time, amount) of every passage."""
    passed = []

    async def main():
        limiter, began = limiter_of(rate, **settings), now()

        async def worker():
            while now() - began < until:
                size = amount() if callable(amount) else amount
                await limiter.take(size)
                passed.append((now() - began, size))
                await asyncio.sleep(work)

        await asyncio.gather(*[worker() for _ in range(workers)])

    run_virtually(main())
    return passed


def amount_in(passed, begin, end):
    return sum(size for at, size in passed if begin <= at < end)


@pytest.mark.parametrize("rate", [0.5, 1, 7, 200])
@pytest.mark.parametrize("workers", [1, 16])
def test_requests_keep_the_rate_within_5_percent_over_10_s(rate, workers):
    passed = drive(rate, until=20, amount=1, workers=workers, smallest=1.0)
    for begin in (0, 3, 10):
        # A whole number of requests: half a one either way is not the rate's fault.
        assert amount_in(passed, begin, begin + 10) == pytest.approx(10 * rate, rel=0.05, abs=1)


def test_bytes_in_uneven_chunks_keep_the_rate_within_5_percent_over_10_s():
    rng = random.Random(3)
    rate = 8 * 2**20
    passed = drive(rate, until=20, amount=lambda: rng.randint(1, 2**17), workers=16, work=0.001)
    for begin in (0, 3, 10):
        assert amount_in(passed, begin, begin + 10) == pytest.approx(10 * rate, rel=0.05)


def test_an_idle_spell_allows_only_a_small_burst():
    async def main():
        limiter = limiter_of(1000)
        await limiter.take(1000)
        await asyncio.sleep(3600)
        began, passed = now(), 0
        while now() - began < 0.0001:
            await limiter.take(10)
            passed += 10
        return passed

    assert 1000 * 0.05 <= run_virtually(main()) <= 1000 * 0.05 + 20


def waits_of(rate, *steps, **settings):
    """Seconds until each amount has passed; all ask at once. A pair is a rate and when it begins."""
    amounts = [step for step in steps if not isinstance(step, tuple)]

    async def main():
        limiter, began = limiter_of(rate, **settings), now()

        async def take(amount):
            await limiter.take(amount)
            return now() - began

        async def change():
            for later, at in (step for step in steps if isinstance(step, tuple)):
                await asyncio.sleep(at - (now() - began))
                limiter.rate = later

        changing = asyncio.create_task(change())
        waits = await asyncio.gather(*map(take, amounts))
        await changing
        return waits

    return run_virtually(main())


def test_an_amount_larger_than_a_second_waits_its_time_and_pays_for_those_behind():
    assert waits_of(100, 505, 100) == pytest.approx([5.0, 6.0], abs=0.001)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 1000), max_size=20))
def test_nobody_overtakes(amounts):
    assert all(a <= b + 1e-6 for a, b in itertools.pairwise(waits_of(100, *amounts)))


@pytest.mark.parametrize(
    ("rate", "steps", "waits"),
    [
        (10, (100.5, (50, 5.0)), [6.0]),
        (10, (100.5, 50, (50, 5.0)), [6.0, 7.0]),
        (10, (100.5, (None, 5.0)), [5.0]),
        (None, (10**12, (10, 100.0)), [0.0]),
    ],
)
def test_a_new_rate_changes_the_wait_of_those_who_already_wait(rate, steps, waits):
    assert waits_of(rate, *steps) == pytest.approx(waits, abs=0.001)


def test_a_limit_that_begins_later_charges_nothing_for_before():
    async def main():
        limiter = limiter_of(None)
        await limiter.take(10**12)
        await asyncio.sleep(100)
        limiter.rate = 10
        began = now()
        await limiter.take(10)
        return now() - began

    assert run_virtually(main()) == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_of_nothing_is_refused(rate):
    async def main():
        with pytest.raises(ValueError, match="greater than 0"):
            limiter_of(rate)
        limiter = limiter_of(None)
        with pytest.raises(ValueError, match="greater than 0"):
            limiter.rate = rate

    run_virtually(main())


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
