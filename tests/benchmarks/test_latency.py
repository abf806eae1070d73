from __future__ import annotations

import pytest

from benchmarks import latency, throughput
from benchmarks.networks import NETWORKS, Network, networks_named
from benchmarks.results import NetworkRun
from benchmarks.stopping import BenchError, exit_code


def run_of(transfers, seconds, *, verdict="ok"):
    return NetworkRun(
        peer="agentphone-async",
        network="n",
        transfers=transfers,
        recordings=100,
        total_bytes=10_000_000,
        wall_seconds=seconds,
        cpu_seconds=1.0,
        peak_rss_bytes=50_000_000,
        peak_in_flight=4,
        requests=100,
        refused=0.0,
        refused_late=0.0,
        verdict=verdict,
        note="",
    )


@pytest.mark.parametrize(
    ("network", "transfers", "rate"),
    [
        (Network("n", "", audio_seconds=1.0, latency=0.1), 8, 80.0),
        (Network("n", "", audio_seconds=1.0, latency=0.1, rate_limit=50), 8, 50.0),
        (Network("n", "", audio_seconds=1.0, latency=0.1, capacity=4), 8, 40.0),
        (Network("n", "", audio_seconds=1.0, latency=0.1, total_bandwidth=160_440), 8, 10.0),
        (Network("n", "", audio_seconds=1.0, latency=0.1, bandwidth=160_440), 8, 40.0),
    ],
)
def test_what_binds_a_network_decides_how_many_recordings_fill_a_run(network, transfers, rate):
    assert network.expected_rate(transfers) == pytest.approx(rate)
    assert network.count(transfers, 10.0) == pytest.approx(10 * rate, abs=1)
    assert network.count(transfers, 0.0) == 2 * transfers


def test_an_unknown_network_is_refused_by_name():
    assert networks_named(None) == NETWORKS
    assert [each.name for each in networks_named("rate-limit, latency-80")] == [
        "rate-limit",
        "latency-80",
    ]
    with pytest.raises(BenchError, match="unknown profile 'moon'; there are: latency-20, "):
        networks_named("moon")


def test_auto_is_compared_with_the_best_fixed_number_that_did_its_work():
    runs = [run_of("4", 2.0), run_of("8", 1.0), run_of("64", 0.1, verdict="wrong")]
    assert latency.best_fixed([*runs, run_of("auto", 0.5)]) == runs[1]
    near = "\n".join(latency.lines(NETWORKS[0], [*runs, run_of("auto", 1.05)]))
    far = "\n".join(latency.lines(NETWORKS[0], [*runs, run_of("auto", 1.1)]))
    assert "95% of the best fixed number (8); the target of 95% is met" in near
    assert "91% of the best fixed number (8); the target of 95% is missed" in far
    assert "| 64 | WRONG |" in near


def test_without_auto_nothing_is_claimed():
    text = "\n".join(latency.lines(NETWORKS[0], [run_of("4", 2.0)]))
    assert "not measured" in text


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--transfers", "0"], "--transfers 0: at least one is needed"),
        (["--transfers", "4"], "no ids in "),
    ],
)
def test_throughput_refuses_what_makes_no_sense(monkeypatch, capsys, tmp_path, argv, expected):
    ids = tmp_path / "ids.txt"
    ids.write_text("\n \n")
    options = ["--base-url", "http://127.0.0.1:1", "--from-file", str(ids), *argv]
    monkeypatch.setattr("sys.argv", ["throughput", *options])
    assert exit_code(throughput.main) == 2
    assert expected in capsys.readouterr().err


def test_throughput_names_a_list_that_cannot_be_read(tmp_path):
    with pytest.raises(BenchError, match=r"cannot read ids from .*nowhere"):
        list(throughput.read_ids(tmp_path / "nowhere"))


def test_throughput_prints_rates_of_what_it_counted():
    measured = throughput.Throughput(
        {"Archived": 150, "Failed": 50}, 40_000_000, 2.0, 1.5, 60_000_000
    )
    text = "\n".join(measured.lines())
    assert "150 Archived, 50 Failed" in text
    assert "100 /s" in text
    assert "20.0 MB/s" in text
