"""What slows a run down is told: retries, pauses, a host that does not answer, and how long it takes."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from agentphone_async import Archived, NoRecording, Recording
from agentphone_async.cli import slowness
from agentphone_async.cli.display import Forecast
from agentphone_async.emulator import EmulatorThread
from agentphone_async.models import Call
from tests.support.archives import CommandLine, fill


@pytest.fixture(autouse=True)
def account(server: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPHONE_BASE_URL", server.base_url)
    monkeypatch.setenv("AGENTPHONE_API_KEY", server.api_key)


@pytest.mark.parametrize("command", ["fetch", "archive"])
def test_retries_and_pauses_are_counted_and_told(
    command: str, run: CommandLine, server: EmulatorThread, tmp_path: Path
):
    given = fill(server, 2)
    server.fail(route="recording", call_id=given[0], status=500, times=1)
    server.fail(route="recording", call_id=given[1], status=429, retry_after="1", times=1)
    what = given if command == "fetch" else ["--since", "2026-01-01"]
    ended = run(command, *what, "-d", tmp_path / "a", "--json")
    events = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 0
    (retrying,) = [
        event for event in events if event["event"] == "retrying" and event["status"] == 500
    ]
    assert (retrying["call_id"], retrying["attempt"]) == (given[0], 1)
    (paused,) = [event for event in events if event["event"] == "paused"]
    assert (paused["seconds"], paused["status"]) == (1.0, 429)
    assert events[-1]["retries"] >= 1
    assert (events[-1]["pauses"], events[-1]["paused_seconds"]) == (1, 1.0)


def test_people_are_told_of_pauses(run: CommandLine, server: EmulatorThread, tmp_path: Path):
    server.fail(route="recording", status=503, retry_after="1", times=1)
    ended = run("fetch", *fill(server, 1), "-d", tmp_path)
    assert "pausing for 1 s, as the server asks (503)\n" in ended.err
    assert "1 pause of 1 s in all" in ended.err


def test_a_host_that_does_not_answer_is_named_with_the_time_until_it_is_tried(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slowness, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    ended = run(
        "fetch", "call_x", "-d", tmp_path, "--base-url", f"http://127.0.0.1:{port}", "--retry-time", "1s"
    )  # fmt: skip
    assert ended.code == 1
    assert re.search(rf"cannot reach 127\.0\.0\.1:{port}, trying until \d\d:\d\d:\d\d\n", ended.err)
    assert ended.err.count("cannot reach") == 1


@pytest.mark.parametrize("command", ["archive", "ls", "calls", "missing"])
def test_a_status_that_no_call_has_is_answered_with_those_that_there_are(
    command: str, run: CommandLine, server: EmulatorThread, tmp_path: Path
):
    fill(server, 3)
    fill(server, 1, id="call_failed", status="failed")
    everything = ("--since", "2026-01-01")
    run("archive", tmp_path, *everything)
    arguments = ("calls", "list") if command == "calls" else (command, tmp_path, *everything)
    ended = run(*arguments, "--status", "complete")
    assert ended.code == 0
    assert "; statuses seen: completed (3), failed (1)\n" in ended.err
    assert "statuses seen" not in run(*arguments, "--status", "completed").err
    if command == "archive":
        summary = json.loads(run(*arguments, "--status", "complete", "--json").out.splitlines()[-1])
        assert "statuses seen: completed (3)" in summary["problems"][0]


def test_the_forecast_goes_by_the_lengths_of_the_calls():
    forecast = Forecast()
    assert forecast.seconds_left(0, 1.0) is None
    calls = [
        Call.from_json({"id": f"c{n}", "durationSeconds": length})
        for n, length in enumerate((800, 100, 100))
    ]
    forecast.planned(call.duration_seconds for call in calls)
    assert forecast.seconds_left(8_000_000, 10.0) == pytest.approx(10.0)  # half of 1,000 s
    recording = Recording("c0", Path("x"), 6_400_000, "", "audio/mpeg", None, None, None, 1, 0.1)
    forecast.settled(Archived("c0", recording, calls[0]))
    forecast.settled(NoRecording("c1", calls[1]))
    assert forecast.seconds_left(6_400_000, 8.0) == pytest.approx(1.0)  # 100 of 900 s are left


def test_lengths_may_be_unknown():
    forecast = Forecast()
    forecast.planned([None, None])
    assert forecast.seconds_left(100, 1.0) is None


def test_of_a_long_wait_the_end_is_told():
    assert slowness._so_long(5) == "5 s"
    assert re.fullmatch(r"2 min, until ([\d-]{10} )?\d\d:\d\d:\d\d", slowness._so_long(120))
