from __future__ import annotations

import dataclasses

from benchmarks.report import markdown
from benchmarks.results import ColumnFacts, NetworkRun, Point, Results, Sample
from benchmarks.targets import BASELINE, OURS, judge

COLUMN = ColumnFacts("large http", 1_000, 1_700_000_000, 16)
ABSENT = ColumnFacts("404 http", 100_000, 0, 32)
HASHED = "curl -Z + openssl dgst"


def sample(peer, wall, *, column="large http", number=1, verdict="ok", note="", rss=100_000_000):
    return Sample(peer, column, number, wall, wall, rss, verdict, note)


def results(*samples, **changes):
    versions = {each.peer: "1.0" for each in samples}
    base = Results(
        profile="standard",
        started_at="2026-11-22 12:00 UTC",
        machine={"cores": "2"},
        versions=versions,
        missing=(),
        columns=(COLUMN, ABSENT),
        samples=samples,
    )
    return dataclasses.replace(base, **changes)


def standing(found, what):
    return next(
        (each.measured, each.standing) for each in judge(found) if each.what.startswith(what)
    )


def test_a_cell_is_the_median_of_its_rounds_with_the_worst_verdict():
    found = results(
        sample(OURS, 3.0, number=1),
        sample(OURS, 1.0, number=2, verdict="failed", note="exit 1"),
        sample(OURS, 2.0, number=3, verdict="wrong", note="1 missing"),
    )
    cell = found.cell(OURS, "large http")
    assert (cell.rounds, cell.wall_seconds, cell.fastest_seconds, cell.slowest_seconds) == (
        3,
        2,
        1,
        3,
    )
    assert (cell.verdict, cell.note) == ("wrong", "1 missing")


def test_a_ratio_is_met_at_the_limit_and_missed_above_it():
    met = results(sample(OURS, 1.0), sample(HASHED, 1.0))
    missed = results(sample(OURS, 1.02), sample(HASHED, 1.0))
    what = f"time against {HASHED}, large http"
    assert standing(met, what) == ("1.00", "met")
    assert standing(missed, what) == ("1.02", "missed")


def test_wrong_bytes_on_either_side_are_never_a_fast_time():
    what = f"time against {HASHED}, large http"
    ours_wrong = results(sample(OURS, 0.1, verdict="wrong"), sample(HASHED, 1.0))
    theirs_wrong = results(
        sample(OURS, 0.1), sample(HASHED, 9.0, verdict="wrong", note="2 missing")
    )
    assert standing(ours_wrong, what) == ("-", "not measured")
    assert standing(theirs_wrong, what) == ("-", "not measured")
    text = markdown(theirs_wrong)
    assert f"| {HASHED} | WRONG |" in text
    assert "**WRONG**: 2 missing" in text
    assert "9.00" not in text


def test_rate_memory_growth_and_start_up_have_their_own_rules():
    found = results(
        sample(OURS, 25.0, column="404 http", rss=121_000_000),
        sample(OURS, 1.0, rss=121_000_000),
        startup_seconds={BASELINE: (0.1, 0.1), f"{OURS} --version": (0.15, 0.15)},
        memory=(Point(OURS, 1_000, 1.0, 50, "ok"), Point(OURS, 1_000_000, 1.0, 60, "ok")),
    )
    assert standing(found, "ids a second") == ("4,000/s", "missed")
    assert standing(found, "peak RSS, large http") == ("121 MB", "missed")
    assert standing(found, "peak RSS at the last") == ("1.20", "missed")
    assert standing(found, f"`{OURS} --version`") == ("1.50", "met")
    assert standing(found, f"`{OURS} --help`") == ("-", "not measured")


def test_growth_is_not_claimed_from_fewer_ids_than_the_target_names():
    memory = (Point(OURS, 1_000, 1.0, 50, "ok"), Point(OURS, 100_000, 1.0, 50, "ok"))
    found = results(sample(OURS, 1.0), memory=memory)
    assert standing(found, "peak RSS at the last") == ("-", "not measured")


def test_the_report_names_who_is_missing_and_what_was_measured():
    text = markdown(results(sample(OURS, 2.0), missing=("rclone (not installed, or too old)",)))
    assert "left out: rclone (not installed, or too old)" in text
    assert "1,000 \N{MULTIPLICATION SIGN} 1,700 kB, 16 transfers" in text
    assert "| agentphone-async | 2.00 | - |" in text


def test_a_pipe_in_a_name_does_not_break_a_table():
    text = markdown(results(sample("a|b", 2.0)))
    assert "| a/b | 2.00 | - |" in text


def test_cpu_is_compared_beside_wall_time_and_networks_have_their_own_table():
    ours = dataclasses.replace(sample(OURS, 2.0), cpu_seconds=1.0)
    theirs = dataclasses.replace(sample(HASHED, 1.0), cpu_seconds=2.0)
    run = NetworkRun(HASHED, "latency-80", "64", 10, 1_000, 2.0, 0.5, 1, 64, 20, 0.25, 0.0, "ok")
    worse = dataclasses.replace(run, peer=OURS, verdict="wrong", note="1 missing")
    text = markdown(results(ours, theirs, networks=(run, worse)))
    wall, cpu = text.split("divided by each: wall time")[1].split("divided by each: CPU seconds")
    assert f"| {HASHED} | 2.00 | - |" in wall
    assert f"| {HASHED} | 0.50 | - |" in cpu
    assert f"| {HASHED} | 2.00 s, CPU 0.50 s, 25% refused |" in text
    assert f"| {OURS} | WRONG |" in text
