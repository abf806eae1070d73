"""``--exec``: run for each new recording, without a shell, and waited for."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from agentphone_async.cli.after import Program
from agentphone_async.emulator import EmulatorThread
from tests.support.archives import CommandLine, fill


@pytest.fixture(autouse=True)
def account(server: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPHONE_BASE_URL", server.base_url)
    monkeypatch.setenv("AGENTPHONE_API_KEY", server.api_key)


@pytest.mark.parametrize("command", ["fetch", "archive"])
def test_it_runs_for_each_new_recording(
    command: str, run: CommandLine, server: EmulatorThread, tmp_path: Path
):
    given = fill(server, 3)
    what = given if command == "fetch" else ["--since", "2026-01-01"]
    again = (
        command,
        *what,
        "-d",
        tmp_path / "a",
        "--exec",
        "cp {path} " + f"{tmp_path}/copy-{{call_id}}",
    )
    assert run(*again).code == 0
    copies = sorted(tmp_path.glob("copy-*"))
    assert [copy.read_bytes() for copy in copies] == [server.expected_audio(one) for one in given]
    for copy in copies:
        copy.unlink()
    assert run(*again).code == 0
    assert not list(tmp_path.glob("copy-*"))


def test_no_shell_reads_what_is_put_in(run: CommandLine, server: EmulatorThread, tmp_path: Path):
    one = server.add_call(id="a; touch x", duration=0.1).id
    out = tmp_path / "$(touch y)"
    ended = run("fetch", one, "-d", out, "--exec", "test -f {path}")
    assert ended.code == 0
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name in "xy") == []


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("false", "--exec: false ended with 1 for "),
        ("sh -c 'kill -9 $$'", "--exec: sh was ended by signal 9 for "),
        ("/nonexistent {path}", "--exec: cannot run '/nonexistent': "),
    ],
)
def test_its_failures_are_told_and_count(
    program: str, message: str, run: CommandLine, server: EmulatorThread, tmp_path: Path
):
    ended = run("fetch", *fill(server, 1), "-d", tmp_path / "a", "--exec", program)
    assert ended.code == 1
    assert message in ended.err
    assert "1 archived" in ended.err


@pytest.mark.parametrize("text", ["", "cmd {nothing}", "cmd {path", "cmd '{path}", "cmd {path.x}"])
def test_what_cannot_be_meant_is_usage(text: str):
    with pytest.raises(click.UsageError, match="--exec"):
        Program.parse(text)
