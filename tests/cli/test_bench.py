"""``agentphone-async bench``, as it is typed."""

from __future__ import annotations

import json
import shutil
import sys

import click
import pytest
from click.testing import CliRunner

from agentphone_async.bench.networks import Network
from agentphone_async.cli.bench_table import notes
from agentphone_async.cli.main import cli
from agentphone_async.emulator import EmulatorThread
from agentphone_async.errors import ServerError
from tests.support.commands import SEPARATE


def bench(*arguments):
    return CliRunner(**SEPARATE).invoke(cli, ["bench", *arguments], standalone_mode=False)


@pytest.fixture
def server():
    with EmulatorThread(calls=3, seconds=1.0) as running:
        yield running


@pytest.fixture
def given(server, tmp_path):
    """A file of ids, and the options that say where to ask for them."""
    ids = [call.id for call in server.calls if call.recorded]
    (tmp_path / "ids.txt").write_text("# yesterday\n" + "\n".join(ids))
    return ("--from-file", str(tmp_path / "ids.txt"), "--base-url", server.base_url)


def test_an_emulated_network_is_measured_when_no_ids_are_given(tmp_path):
    path = tmp_path / "bench.json"
    result = bench(
        *("--latency", "5ms", "--bandwidth", "0", "--transfers", "1,4"),
        *("--seconds", "0.2", "--json", str(path)),
    )
    assert result.exception is None, result.output
    assert (result.return_value, "5 ms and any speed" in result.stderr) == (0, True)
    report = json.loads(path.read_text())
    assert (report["source"], report["latency_seconds"]) == ("emulator", 0.005)
    assert report["bandwidth_bytes_per_second"] is None
    assert [step["transfers"] for step in report["steps"]] == [1, 4]
    assert all(step["first_byte_seconds"]["p50"] >= 0.005 for step in report["steps"])
    assert report["knee"] in {1, 4}
    assert "<- knee" in result.stdout


def test_given_ids_are_measured_where_they_are(given, server, tmp_path):
    dest = tmp_path / "new"
    result = bench(*given, "--transfers", "2,auto", "--seconds", "0.1", "--dest", str(dest))
    assert result.exception is None, result.output
    assert result.return_value == 0
    heading, two, auto = [line.split("\t") for line in result.stdout.splitlines()][:3]
    assert (heading[:2], two[0], auto[0][:4]) == (["transfers", "MB/s"], "2", "auto")
    assert "stored on disk" in result.stderr
    assert not list(dest.iterdir()), "nothing is left"
    assert dest.stat().st_mode & 0o777 == 0o700
    assert not any(call.id in result.output for call in server.calls)
    assert all(request.headers.get("authorization") is None for request in server.requests)


def test_a_plot_is_drawn(given, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.png"
    result = bench(*given, "--transfers", "1", "--seconds", "0.1", "--plot", str(path))
    assert result.exception is None, result.output
    assert path.read_bytes().startswith(b"\x89PNG")


def test_recordings_that_are_absent_are_noted(given):
    result = bench("call_nobody_made", *given, "--transfers", "2", "--seconds", "0.1")
    assert result.exception is None, result.output
    assert result.return_value == 0
    assert "without a recording" in result.stdout
    assert "call_nobody" not in result.output


def test_no_recording_at_all_is_nothing_to_measure(server, tmp_path):
    result = bench(
        *("call_nobody_made", "call_neither", "--base-url", server.base_url),
        *("--transfers", "1,2", "--seconds", "0.1", "--json", str(tmp_path / "x.json")),
    )
    assert result.exception is None, result.output
    assert (result.return_value, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("none of the ids has a recording")
    assert not list(tmp_path.iterdir())


BAD = {
    "a latency of a strange unit": (("--latency", "5x"), "'5x' is not a duration"),
    "a latency of hours": (("--latency", "2h"), "is longer than 60 s"),
    "a bandwidth with a strange unit": (("--bandwidth", "10x"), "'10x' is not a size"),
    "no transfers at all": (("--transfers", "0"), "neither auto nor a number"),
    "an empty number": (("--transfers", "1,,2"), "neither auto nor a number"),
    "no time": (("--seconds", "0"), "'0' is not from 100 ms to 1 h"),
    "ids and an emulator": (("--emulate", "call_x"), "leave the ids out"),
    "ids and a latency": (("call_x", "--latency", "1ms"), "is for the emulated network"),
    "a server without ids": (("--base-url", "http://127.0.0.1:9"), "needs call ids"),
    "a file that is not there": (("--from-file", "/nowhere/ids"), "cannot read '/nowhere/ids'"),
    "a file without ids": (("--from-file", "/dev/null"), "there is no call id"),
    "results nowhere": (("--json", "/nowhere/x.json"), "cannot write to '/nowhere/x.json'"),
    "a plot nowhere": (("--plot", "/nowhere/x.png"), "cannot write to '/nowhere/x.png'"),
    "an id that is none": (("..", "--base-url", "http://127.0.0.1:9"), "call id '..' cannot be"),
    "an address in the clear": (("x", "--base-url", "http://example.com"), "not encrypted"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_line(arguments, message):
    result = bench(*arguments)
    line = getattr(result.exception, "message", str(result.exception))
    assert message in line
    assert "\n" not in line
    assert result.stdout == ""


def test_a_destination_that_is_no_folder(given, tmp_path):
    result = bench(*given, "--dest", str(tmp_path / "ids.txt"))
    assert "is not a folder" in result.exception.message


def test_a_missing_matplotlib_is_told_before_anything_is_measured(
    given, server, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = bench(*given, "--plot", str(tmp_path / "x.png"))
    assert "pip install 'agentphone-async[bench]'" in str(result.exception)
    assert len(server.requests) == 0


def test_the_network_is_named_as_people_say_it():
    assert (
        str(Network(latency=0.08, bandwidth=2_000_000))
        == "the emulator, 80 ms and 2 MB/s a connection"
    )


def test_the_knee_is_put_into_words():
    from agentphone_async.bench.figures import Step

    steps = [Step(n, 1.0, size, 1, 1) for n, size in ((1, 50), (4, 100), (8, 100))]
    assert notes(steps) == ["The knee is at 4 transfers: more of them gain less than 5 %."]
    assert "try larger ones" in notes(steps[:2])[0]
    assert "no knee" in notes([Step("auto", 1.0, 5, 1, 1, settled=3)])[0]
    failed = Step(2, 1.0, 5, 9, 1, failed=3, retried=2, error=ServerError("it \x1b[2J broke"))
    assert notes([failed])[0] == (
        "2 transfers: 3 failed, 2 sent again; last failure: it \\x1b[2J broke"
    )


def test_a_known_network_is_played_by_name(tmp_path):
    path = tmp_path / "bench.json"
    result = bench("--profile", "latency-20", *("--transfers", "4", "--seconds", "0.2"),
                   *("--json", str(path)))  # fmt: skip
    assert result.exception is None, result.output
    assert "the emulator, 20 ms and any speed a connection" in result.stderr
    assert json.loads(path.read_text())["profile"] == "latency-20"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--profile", "moon"), "'moon' is not one of 'latency-20', "),
        (("--profile", "latency-20", "--latency", "1s"), "--latency is set by --profile, too"),
        (("call_a", "--profile", "latency-20"), "--profile is for the emulated network"),
        (("--compare", "wget"), "cannot compare with 'wget'; choose from curl, rclone, aria2"),
    ],
)
def test_what_cannot_be_played_or_compared_is_refused(arguments, said):
    result = bench(*arguments)
    assert isinstance(result.exception, click.UsageError)
    assert said in result.exception.format_message()


def test_other_programs_fetch_the_same_recordings(given, tmp_path):
    if shutil.which("curl") is None or shutil.which("openssl") is None:
        pytest.skip("curl and openssl are needed")
    path = tmp_path / "bench.json"
    result = bench(*given, "--transfers", "2", "--seconds", "0.1", "--compare", "curl",
                   *("--json", str(path)))  # fmt: skip
    assert result.exception is None, result.output
    ours, curl = json.loads(path.read_text())["compared"]
    assert (ours["program"], curl["program"]) == ("agentphone-async", "curl")
    assert ours["files"] == curl["files"] > 0
    assert (ours["exit_code"], curl["exit_code"]) == (0, 0)
    assert "ours/wall" in result.stdout
