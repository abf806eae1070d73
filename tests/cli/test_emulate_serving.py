"""``agentphone-async emulate`` as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner

from agentphone_async.cli.emulate import command
from agentphone_async.emulator import EmulatorThread, audio_bytes
from tests.support import warm

_RUN = [*warm.COMMAND, "emulate"]


@contextmanager
def running(*options, stop=signal.SIGTERM):
    """The command at work: its base URL; and after the end, its code and standard error."""
    with warm.Popen(
        [*_RUN, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        outcome = {"base_url": process.stdout.readline().strip()}
        try:
            yield outcome
        finally:
            process.send_signal(stop)
            outcome["stdout"], outcome["stderr"] = process.communicate(timeout=20)
            outcome["code"] = process.returncode


def fetch(url, key="sk_test_emulator"):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_yesterday_and_ends_on_a_signal(stop):
    with running("--calls", "30", "--seed", "7", stop=stop) as outcome:
        page = json.loads(fetch(f"{outcome['base_url']}/v1/calls?limit=100"))
    yesterday = datetime.now().astimezone().date() - timedelta(days=1)
    days = [datetime.fromisoformat(row["startedAt"]).astimezone().date() for row in page["data"]]
    assert days.count(yesterday) == 30
    assert len(days) > 30
    assert (outcome["code"], outcome["stdout"]) == (0, "")
    assert "the key sk_test_emulator" in outcome["stderr"]
    assert "Traceback" not in outcome["stderr"]


def test_it_serves_a_folder_with_faults_and_a_key_of_ones_own(tmp_path):
    (tmp_path / "a.wav").write_bytes(audio_bytes(1, "a", 1))
    (tmp_path / "key").write_text("sk_mine\n")
    with running(
        "--recordings", tmp_path, "--day", "2026-11-21", "--api-key-file", tmp_path / "key",
        "--fault", "route=recording,body=broken,times=1", "--latency", "1ms", "--bandwidth", "10M",
    ) as outcome:  # fmt: skip
        (row,) = json.loads(fetch(f"{outcome['base_url']}/v1/calls", "sk_mine"))["data"]
        assert fetch(row["recordingUrl"]) == b"broken"
        assert fetch(row["recordingUrl"]) == audio_bytes(1, "a", 1)
    assert outcome["code"] == 0
    assert "sk_mine" not in outcome["stderr"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fault", "bogus=1"], "'bogus=1': unknown key 'bogus'"),
        (["--fault", "status=abc"], "status: 'abc' is not a whole number"),
        (["--bandwidth", "10x"], "'10x' is not a size"),
        (["--bandwidth", "0"], "would transfer nothing"),
        (["--day", "2026-02-30"], "2026-02-30"),
        (["--recordings", "/no/such/folder"], "/no/such/folder"),
        (["--port", "70000"], "70000"),
        (["--calls", "-1"], "-1"),
        (["--rate", "0"], "0"),
        (["--tls-key", __file__], "--tls-key needs --tls-cert"),
        (["--tls-cert", __file__], "no certificate and key"),
        (["--api-key-file", __file__], "holds no key"),
    ],
)
def test_bad_input_is_one_clear_line(options, message):
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 2
    assert message in result.output.splitlines()[-1]
    assert "Traceback" not in result.output


def test_a_port_that_is_taken_is_said():
    with EmulatorThread() as first:
        port = str(first.settings.port)
        result = CliRunner().invoke(command, ["--port", port, "--calls", "0"])
    assert result.exit_code == 2
    last = result.output.splitlines()[-1]
    assert last.endswith(f"cannot listen on 127.0.0.1:{port}: Address already in use")
