"""The controllers against simulated networks: they must match the best fixed setting."""

from __future__ import annotations

from functools import cache

import pytest

from agentphone_async.transport.adaptive import AdaptiveConcurrency
from agentphone_async.transport.pace import AdaptivePace
from agentphone_async.transport.slow_start import LOOK
from tests.transport import simulation
from tests.transport.simulation import MOVES_AT, Simulation

SEEDS = (0, 1)
NUMBERS = {
    "latency_bound": (32, 44, 64),
    "per_connection_cap": (32, 44, 64),
    "global_cap": (16, 20, 32, 64),
    "collapse": (16, 20, 22, 24),
    "moving_up": (16, 32, 44, 64),
    "moving_down": (10, 11, 12, 32, 44, 64),
}
"""Of fixed numbers, those around the best ones of 2 to 64; others move less in these networks."""
MOST = 64
GOOD = 0.95

STEADY = (20, 60)
BEFORE, AFTER = (60, MOVES_AT), (MOVES_AT + 60, MOVES_AT + 100)


@cache
def fixed(network, number, seed):
    """Bytes that ``number`` requests at a time move in each stretch of time that is compared."""
    run = Simulation(getattr(simulation, network)(), number, seed=seed)
    moved = {}
    for begin, end in (BEFORE, AFTER) if network.startswith("moving") else (STEADY,):
        run.run(begin)
        moved[begin, end] = run.run(end).bytes
    return moved


@cache
def best_number(network, stretch):
    return max(
        NUMBERS[network], key=lambda n: sum(fixed(network, n, seed)[stretch] for seed in SEEDS)
    )


def share_of_best(tally, network, stretch, seed):
    """Goodput as a share of that of the best fixed number, with the same recordings.

    A fixed number needs no time to settle, so its stretch of time may begin sooner.
    """
    return tally.bytes / fixed(network, best_number(network, stretch), seed)[stretch]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "network", ["latency_bound", "per_connection_cap", "global_cap", "collapse"]
)
def test_within_60_s_it_is_as_good_as_the_best_fixed_number(network, seed):
    run = Simulation(getattr(simulation, network)(), AdaptiveConcurrency(maximum=MOST), seed=seed)
    run.run(60)
    tally = run.run(100)
    assert share_of_best(tally, network, STEADY, seed) >= GOOD
    assert tally.throttled == 0
    assert tally.timed_out == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("network", ["moving_up", "moving_down"])
def test_a_limit_that_moves_is_followed_within_60_s(network, seed):
    run = Simulation(getattr(simulation, network)(), AdaptiveConcurrency(maximum=MOST), seed=seed)
    run.run(60)
    before = run.run(MOVES_AT)
    assert share_of_best(before, network, BEFORE, seed) >= GOOD
    run.run(MOVES_AT + 60)
    after = run.run(MOVES_AT + 100)
    assert share_of_best(after, network, AFTER, seed) >= GOOD


@cache
def time_of(network, number, items):
    """Seconds that a fixed number of transfers needs for a list, with a pace that suits."""
    pace = simulation.ALLOWED if network is simulation.rate_limited else None
    run = Simulation(network(), number, pace=pace, items=items)
    run.run(1e6)
    return run.now


def far(latency):
    return lambda: simulation.far_away(latency)


PROFILES = {
    "20 ms": far(0.02),
    "80 ms": far(0.08),
    "200 ms": far(0.2),
    "connection cap": simulation.per_connection_cap,
    "global cap": simulation.global_cap,
    "rate limit": simulation.rate_limited,
}


@pytest.mark.parametrize(
    ("profile", "items", "good"),
    [
        *((each, 1_500, 0.9) for each in PROFILES),
        *((each, 10_000, 0.95) for each in PROFILES),
    ],
)
def test_a_list_takes_little_longer_than_with_the_best_fixed_number(profile, items, good):
    network = PROFILES[profile]
    best = min(time_of(network, number, items) for number in (64, 256))
    run = Simulation(network(), AdaptiveConcurrency(), pace=AdaptivePace(), items=items)
    tally = run.run(1e6)
    assert tally.requests == items
    assert best / run.now >= good
    if profile == "global cap":
        assert run.most_in_flight <= 128


def test_the_start_goes_on_with_more_each_round_trip_while_that_helps():
    control = AdaptiveConcurrency()
    feed(control, now=0.0, seconds=2.0, in_flight=lambda limit: limit, took=lambda n: 0.1)
    assert control.limit == 256
    control = AdaptiveConcurrency()
    feed(
        control,
        now=0.0,
        seconds=2.0,
        in_flight=lambda limit: limit,
        took=lambda n: 0.1 * max(n, 16) / 16,
    )
    assert control.limit <= 40


def test_a_429_ends_the_doubling():
    control = AdaptiveConcurrency()
    now = feed(control, now=0.0, seconds=0.25, in_flight=lambda limit: limit, took=lambda n: 0.1)
    assert 8 < control.limit < 256
    reached = control.limit
    control.throttled(now, pause=1.0, in_flight=reached, rate=None)
    assert control.limit < reached
    feed(control, now=now + 1, seconds=0.5, in_flight=lambda limit: limit, took=lambda n: 0.1)
    assert control.limit < 1.5 * reached


@pytest.mark.parametrize(
    ("kind", "good"),
    # The stricter two refuse what a bucket forgives, so that the learned pace must lie lower,
    # and each refusal by a window costs the rest of it: 1 s of the 60.
    [("bucket", GOOD), ("tight bucket", 0.88), ("window", 0.88)],
)
def test_the_request_rate_of_the_server_is_learned_from_its_429s(kind, good):
    held = []
    for seed in range(4):
        network = simulation.rate_limited(kind)
        run = Simulation(network, AdaptiveConcurrency(), pace=AdaptivePace(), seed=seed)
        first = run.run(60)
        tally = run.run(120)
        held.append(tally.requests / 60 / simulation.ALLOWED)
        assert tally.throttled_share < 0.01
        assert first.throttled_share < 0.065  # once, and the host is 150 ms away
    assert sum(held) / len(held) >= good, held


def test_a_request_rate_that_rises_is_found_out():
    run = Simulation(
        simulation.rate_limited("rising"), AdaptiveConcurrency(), pace=AdaptivePace(), seed=1
    )
    run.run(MOVES_AT + 80)
    tally = run.run(MOVES_AT + 120)
    assert tally.requests / 40 >= 0.9 * 2 * simulation.ALLOWED
    assert tally.throttled_share < 0.01


def test_a_request_rate_that_falls_is_found_out():
    run = Simulation(
        simulation.rate_limited("falling"), AdaptiveConcurrency(), pace=AdaptivePace(), seed=1
    )
    run.run(MOVES_AT + 60)
    tally = run.run(MOVES_AT + 120)
    assert tally.requests / 60 >= 0.9 * simulation.ALLOWED / 5
    assert tally.throttled_share < 0.01


def feed(control, *, now, seconds, in_flight, took):
    """Answers that take ``took(in_flight)``, one after the other, for a while."""
    end = now + seconds
    looked, received = now, 0
    while now < end:
        busy = in_flight(control.limit)
        received += 1000
        if now >= looked + LOOK:
            looked += LOOK
            control.look(now, received, busy)
        now += took(busy) / busy
        control.completed(now, 1000, took(busy), busy)
    return now


def test_without_demand_it_learns_nothing_and_stays():
    control = AdaptiveConcurrency(start=8)
    feed(control, now=0.0, seconds=100, in_flight=lambda limit: 1, took=lambda busy: 0.1)
    assert control.limit == 8


def test_latency_that_grows_without_goodput_brings_it_down_without_any_error():
    control = AdaptiveConcurrency(start=48)
    feed(
        control, now=0.0, seconds=120, in_flight=lambda limit: limit, took=lambda n: 0.1 * max(n, 8)
    )
    assert control.limit <= 12  # 8 would do


def test_room_that_opens_unseen_is_found_by_looking_again():
    """At 8 at a time nothing changes when the knee moves from 8 to 32: only trying tells."""
    control = AdaptiveConcurrency()

    def world(knee):
        return lambda n: 0.1 * max(n, knee) / knee

    now = feed(control, now=0.0, seconds=600, in_flight=lambda limit: limit, took=world(8))
    assert 7 <= control.limit <= 10
    feed(control, now=now, seconds=60, in_flight=lambda limit: limit, took=world(32))
    assert control.limit >= 30


def test_it_never_leaves_its_bounds():
    control = AdaptiveConcurrency(start=4, maximum=10)
    seen = set()

    def all_in_use(limit):
        seen.add(limit)
        return limit

    now = feed(control, now=0.0, seconds=30, in_flight=all_in_use, took=lambda n: 0.1)
    assert max(seen) == 10
    for _ in range(20):
        now += 10
        control.timed_out(now)
    assert control.limit == 1


def test_throttling_and_time_outs_bring_it_down_once_an_incident():
    control = AdaptiveConcurrency(start=40)
    for step in range(10):
        control.throttled(100.0 + step * 0.01, pause=1.0, in_flight=40, rate=None)
    assert control.limit == 28
    control.timed_out(200.0)
    control.timed_out(200.1)
    assert control.limit == 19


def test_the_pace_is_unknown_until_the_host_throttles():
    pace = AdaptivePace()
    for n in range(1000):
        pace.answered(n * 0.01)
    assert pace.rate is None
    pace.throttled(10.0, pause=1.0)
    assert pace.rate == pytest.approx(100, rel=0.1)


def test_one_incident_is_one_incident_however_many_429s_it_has():
    pace = AdaptivePace()
    for n in range(1000):
        pace.answered(n * 0.01)
    pace.throttled(10.0, pause=1.0)
    rate = pace.rate
    for n in range(20):
        pace.throttled(10.01 + n * 0.01, pause=1.0, sent=9.9)
    assert pace.rate == rate


def test_a_pace_that_nobody_uses_does_not_grow():
    pace = AdaptivePace()
    for n in range(1000):
        pace.answered(n * 0.01)
    pace.throttled(10.0)
    rate = pace.rate
    for n in range(100):
        pace.answered(20.0 + n)
    assert pace.rate == rate


def test_a_first_429_before_any_answer_sets_no_pace():
    pace = AdaptivePace()
    pace.throttled(0.0, pause=1.0)
    assert pace.rate is None
