"""``agentphone-async archive``: what it says when it ends early, and what of no use is refused."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentphone_async.emulator import EmulatorThread
from tests.support.archives import CommandLine, fill
from tests.support.commands import ended, process


@pytest.fixture(autouse=True)
def account(server: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPHONE_BASE_URL", server.base_url)
    monkeypatch.setenv("AGENTPHONE_API_KEY", server.api_key)


def test_a_limit_says_how_to_end_it_at_once(
    run: CommandLine, server: EmulatorThread, tmp_path: Path
):
    fill(server, 3)
    limited = ("archive", tmp_path, "--since", "2026-01-01", "--transfers", "1", "--max-transfer")
    told = run(*limited, "1").err
    assert "stopping: 3,244 bytes were transferred; 1 may be; Ctrl-C stops at once\n" in told
    told = run(*limited, "1", "--quiet").err
    assert "stopping: 3,244 bytes were transferred; 1 may be\n" in told


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_who_interrupts_it_is_told_what_once_more_does(
    quiet: list[str], server: EmulatorThread, tmp_path: Path
):
    call = server.add_call(started_at=datetime.now(UTC), duration=0.1, recording=False)
    waiting = ("archive", tmp_path, "--since", "1d", "--wait", "1h", *quiet)
    with process(*waiting) as running:
        while server.requests.count("recording", call_id=call.id) == 0:
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        result = ended(running)
    assert result.code == 130
    assert "stopping: it was interrupted; a second Ctrl-C stops at once\n" in result.err


def test_quiet_and_verbose_at_once_cannot_be(run: CommandLine, tmp_path: Path):
    told = run("archive", tmp_path / "a", "--date", "today", "--quiet", "--verbose")
    assert told.code == 2
    assert "--quiet and --verbose exclude each other" in told.err
    assert not list(tmp_path.iterdir())


def test_transcripts_that_could_not_be_had_are_a_failure_until_they_are_there(
    run: CommandLine, server: EmulatorThread, tmp_path: Path
):
    fill(server, 2)
    server.fail(route="transcript", status=500, times=2)
    with_transcripts = ("archive", tmp_path, "--since", "2026-01-01", "--transcripts")
    told = run(*with_transcripts, "--retries", "0")
    assert told.code == 1
    assert told.err.count("no transcript of ") == 2
    assert run(*with_transcripts).code == 0
