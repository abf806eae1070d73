"""The sums for very many recordings add up."""

from benchmarks.scale import simulate


def test_shards_are_done_at_the_rate_and_lost_machines_cost_little():
    calm = simulate(1_000_000, machines=10, rate=50.0)
    assert calm.shards == 500
    assert abs(calm.hours - 1_000_000 / 50 / 3600) < 0.1
    lossy = simulate(1_000_000, machines=10, rate=50.0, mean_life=5_000.0)
    assert lossy.deaths > 0
    assert calm.hours < lossy.hours < 1.3 * calm.hours
    assert lossy.fetched < 1.01 * calm.fetched
