"""What a step came to, and where the knee is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async.bench.figures import Step, is_largest, knee, percentiles


def step(transfers, size=0, *, requests=0, seconds=1.0, **more):
    return Step(transfers, seconds, size, requests, recordings=0, **more)


def curve(**rates):
    return [step(int(name[1:]), size) for name, size in rates.items()]


KNEES = {
    "flat from the start": (curve(n1=100, n2=100, n4=100), 1),
    "rises, then flat": (curve(n1=100, n2=200, n4=396, n8=400, n16=398), 4),
    "just within 5 %": (curve(n1=95, n2=100), 1),
    "just below that": (curve(n1=94, n2=100), 2),
    "rises to the end": (curve(n1=1, n2=2, n4=4), 4),
    "collapses": (curve(n1=100, n2=190, n4=200, n8=50), 2),
    "in any order": (curve(n8=400, n4=396, n1=100), 4),
    "a dip before the best": (curve(n1=98, n2=50, n4=100), 1),
}


@pytest.mark.parametrize(("steps", "transfers"), KNEES.values(), ids=KNEES)
def test_the_knee_is_the_smallest_number_within_5_percent_of_the_best(steps, transfers):
    assert knee(steps).transfers == transfers


def test_seconds_count_not_only_bytes():
    assert knee([step(1, 100, seconds=1.0), step(2, 300, seconds=4.0)]).transfers == 1


def test_auto_is_no_number_and_does_not_make_the_best():
    assert knee([step(4, 100), step("auto", 900, settled=40)]).transfers == 4
    assert knee([step("auto", 900, settled=40)]) is None


def test_without_any_bytes_requests_decide():
    assert knee([step(1, requests=50), step(2, requests=99), step(4, requests=100)]).transfers == 2


@pytest.mark.parametrize("steps", [[], [step(1), step(2)]], ids=["none", "all empty"])
def test_nothing_has_no_knee(steps):
    assert knee(steps) is None


@given(st.dictionaries(st.integers(1, 256), st.integers(0, 10**9), min_size=1))
def test_nothing_smaller_than_the_knee_is_nearly_as_good_as_the_best(rates):
    found = knee([step(transfers, size) for transfers, size in rates.items()])
    best = max(rates.values())
    if not best:
        assert found is None
        return
    assert rates[found.transfers] >= 0.95 * best * (1 - 1e-9)
    smaller = [size for transfers, size in rates.items() if transfers < found.transfers]
    assert all(size < 0.95 * best * (1 + 1e-9) for size in smaller)


def test_the_largest_is_told_so_that_larger_ones_are_tried():
    steps = [*curve(n1=1, n2=2), step("auto", 9, settled=64)]
    assert [is_largest(each, steps) for each in steps[:2]] == [False, True]


PERCENTILES = {
    "none": ([], {}),
    "one": ([3.0], {50: 3.0, 95: 3.0, 99: 3.0}),
    "a hundred": ([float(n) for n in range(1, 101)], {50: 50.0, 95: 95.0, 99: 99.0}),
    "unordered": ([9.0, 1.0, 5.0], {50: 5.0, 95: 9.0, 99: 9.0}),
}


@pytest.mark.parametrize(("values", "expected"), PERCENTILES.values(), ids=PERCENTILES)
def test_percentiles_are_values_that_were_measured(values, expected):
    assert percentiles(values) == expected


def test_rates_and_labels():
    found = step("auto", 10_000_000, requests=30, seconds=5.0, settled=12, cpu=2.5)
    assert (found.bytes_per_second, found.requests_per_second) == (2_000_000, 6.0)
    assert found.cpu_share == 0.5
    assert (found.label, step(8).label) == ("auto (12)", "8")
