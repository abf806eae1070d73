"""``agentphone-async fetch``: what it fetches, says, and exits with."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess

import pytest

from agentphone_async.sinks import local
from tests.cli.fetch.conftest import add, quickly, script
from tests.support.commands import ended, process
from tests.support.downloads import files, partial, wave

NOTHING = {
    "listed": 0, "archived": 0, "no_recording": 0, "not_ready": 0, "already_archived": 0,
    "failed": 0, "left": 0, "bytes": 0, "unread": 0, "retries": 0, "pauses": 0, "paused_seconds": 0.0,
}  # fmt: skip


class TestCodes:
    def test_0_when_everything_is_there(self, run, server, dest):
        given = add(server, 3)
        result = run("fetch", *given, "--dest", dest)
        assert (result.code, result.out) == (0, "")
        assert "3 archived" in result.err
        assert files(dest) == {f"recording-{one}.wav": server.expected_audio(one) for one in given}
        assert stat.S_IMODE(dest.stat().st_mode) == 0o700

    def test_0_when_calls_have_no_recording_or_are_there_already(self, run, server, dest):
        (one,) = add(server, 1)
        run("fetch", one, "--dest", dest)
        server.requests.clear()
        result = run("fetch", one, "call_none", "--dest", dest)
        assert result.code == 0
        assert "1 already there, 1 without a recording" in result.err
        assert server.requests.count("recording") == 1

    @pytest.mark.parametrize("status", [202, 404, 409, 423, 425])
    def test_it_waits_for_what_is_not_ready_if_asked(self, status, run, server, dest, monkeypatch):
        monkeypatch.setattr("agentphone_async.recordings.jobs.FIRST_POLL", 0.01)
        add(server, 2)
        server.fail(route="recording", call_id="call_1", status=status, times=3)
        result = run("fetch", "call_0", "call_1", "-d", dest, "--wait", "30s")
        assert result.code == 0
        assert "2 archived" in result.err
        assert result.err.count("some recordings are not ready yet; polling until") == 1
        server.fail(route="recording", call_id="call_1", status=status)
        result = run("fetch", "call_1", "-d", dest / "other", "--wait", "100ms")
        assert result.code == 0
        assert "without a recording" in result.err or "not ready yet" in result.err

    def test_1_when_one_failed_and_the_others_are_there(self, run, server, dest):
        given = add(server, 3)
        server.fail(route="recording", call_id=given[1], html=True)
        result = run("fetch", *given, "--dest", dest)
        assert result.code == 1
        assert "failed: the answer for call_1 is not audio: text/html" in result.err
        assert "2 archived, 1 failed" in result.err
        assert len(files(dest)) == 2

    def test_1_when_the_server_is_not_there(self, run, server, dest):
        server.stop()
        result = run(*quickly("fetch", "call_0", "--dest", dest, "--retry-time", "0s"))
        assert result.code == 1
        assert "cannot connect" in result.err
        assert not dest.exists()

    @pytest.mark.parametrize("more", [[], ["--json"]], ids=["", "json"])
    @pytest.mark.parametrize(
        ("below", "message"),
        [
            ("file", "is a file, not a folder"),
            ("file/below", "is a file, not a folder"),
            ("long" * 100, "the path is too long"),
        ],
        ids=["file", "below a file", "long"],
    )
    def test_4_when_the_destination_cannot_be(self, below, message, more, run, server, tmp_path):
        (tmp_path / "file").write_bytes(b"mine")
        result = run("fetch", *add(server, 1), "--dest", tmp_path / below, *more)
        assert (result.code, result.out) == (4, "")
        (line,) = result.err.splitlines()
        assert message in line
        assert files(tmp_path) == {"file": b"mine"}

    def test_4_before_anything_is_asked_when_no_file_can_be_made(
        self, run, server, dest, monkeypatch
    ):
        dest.mkdir()
        monkeypatch.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)
        result = run("fetch", "call_none", "--dest", dest)
        assert (result.code, len(result.err.splitlines())) == (4, 1)
        assert "no permission" in result.err
        assert len(server.requests) == 0

    def test_4_when_the_disk_is_full_with_a_summary_of_what_is_safe(
        self, run, server, dest, monkeypatch
    ):
        def full(fd, chunks):
            raise OSError(errno.ENOSPC, "full")

        given = add(server, 3)
        monkeypatch.setattr(local, "write_all", full)
        result = run("fetch", *given, "--dest", dest, "--json")
        assert result.code == 4
        assert "disk is full; make room" in result.err
        assert result.summary["archived"] == result.summary["bytes"] == 0
        assert files(dest) == {}

    def test_2_without_ids(self, run, server, dest):
        result = run("fetch", "--dest", dest)
        assert (result.code, result.out) == (2, "")
        assert result.err.count("\n") == 1
        assert "name at least one CALL_ID" in result.err

    @pytest.mark.parametrize(
        ("option", "told"),
        [
            (["--transfers", "0"], "'0'"),
            (["--transfers", "257"], "257"),
            (["--transfers", "many"], "many"),
            (["--retries", "-1"], "-1"),
            (["--retry-time", "soon"], "soon"),
            (["--fsync", "maybe"], "maybe"),
            (["--base-url", "http://example.com"], "https://"),
            (["--base-url", "ftp://localhost"], "ftp://localhost"),
            (["--base-url", "http://localhost:1/v1"], "/v1, which is added by itself"),
            (["--base-url", "https://user:pass@example.com"], "credentials"),
            (["--ca-file", "/nonexistent.pem", "--base-url", "https://localhost"], "nonexistent"),
            (["--ca-file", "/nonexistent.pem", "--base-url", "http://localhost:1"], "nonexistent"),
            (["--ca-file", "/"], "is a directory"),
            (["--api-key-file", "/nonexistent.key"], "nonexistent"),
            (["--nonsense"], "--nonsense"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else "",
    )
    def test_2_with_one_line_for_what_cannot_work(self, option, told, run, server, dest):
        result = run("fetch", "call_0", "--dest", dest, *option)
        assert (result.code, result.out) == (2, "")
        assert result.err.count("\n") == 1
        assert told in result.err
        assert "pass@" not in result.err
        assert not dest.exists()
        assert len(server.requests) == 0

    def test_2_without_a_destination(self, run, server):
        result = run("fetch", "call_0")
        assert result.code == 2
        assert "--dest" in result.err


class TestOutput:
    def test_json_is_an_event_a_line_and_a_summary(self, run, server, dest):
        given = add(server, 2)
        server.fail(route="recording", call_id=given[1], html=True)
        (dest / "recording-call_there.wav").parent.mkdir()
        (dest / "recording-call_there.wav").write_bytes(wave(1000))
        result = run("fetch", *given, "call_none", "call_there", "--dest", dest, "--json")
        assert (result.code, result.err) == (1, "")
        by_id = {event["call_id"]: event for event in result.events[:-1]}
        audio = server.expected_audio(given[0])
        assert by_id[given[0]] == {
            "event": "archived",
            "call_id": given[0],
            "path": str(dest / f"recording-{given[0]}.wav"),
            "bytes": len(audio),
            "sha256": hashlib.sha256(audio).hexdigest(),
            "media_type": "audio/wav",
            "duration_seconds": 0.1,
            "attempts": 1,
            "suspect": None,
        }
        assert by_id[given[1]]["event"] == "failed"
        assert by_id[given[1]]["error"] == "NotAudioError"
        assert "text/html" in by_id[given[1]]["message"]
        assert by_id["call_none"] == {"event": "no_recording", "call_id": "call_none"}
        assert by_id["call_there"] == {"event": "already_archived", "call_id": "call_there"}
        assert result.summary == NOTHING | {
            "listed": 4, "archived": 1, "no_recording": 1, "already_archived": 1, "failed": 1,
            "bytes": len(audio),
        }  # fmt: skip

    def test_quiet_says_only_what_went_wrong(self, run, server, dest):
        given = add(server, 2)
        assert run("fetch", given[0], "--dest", dest, "--quiet").err == ""
        server.fail(route="recording", html=True)
        result = run("fetch", given[1], "--dest", dest, "--quiet")
        assert result.err.startswith("failed: ")
        assert result.err.count("\n") == 1

    def test_verbose_names_every_call(self, run, server, dest):
        (one,) = add(server, 1)
        result = run("fetch", one, "call_none", "--dest", dest, "--verbose")
        assert f"archived: {dest}/recording-{one}.wav (1.6 kB)" in result.err
        assert "no recording: call_none" in result.err

    @pytest.mark.parametrize("mode", ["--verbose", "--quiet", "--json", None])
    def test_nothing_from_outside_reaches_the_terminal_as_it_is(self, mode, run, server, dest):
        evil = "evil\x1b[2J\u202e\x07"
        server.add_call(id=evil, duration=0.1)
        server.fail(
            route="recording", call_id=evil, body="\x1b]0;owned\x07<html>", media_type="text/html"
        )
        result = run("fetch", evil, "\x9b31m", "--dest", dest, *([mode] if mode else []))
        assert result.code == 1
        for text in (result.err, result.out):
            assert all(line.isprintable() for line in text.split("\n"))

    def test_a_suspect_recording_is_kept_and_named(self, run, server, dest):
        one = server.add_call(audio=wave(5_000, declared=9_000)).id
        result = run("fetch", one, "--dest", dest)
        assert result.code == 0
        assert "suspect: recording-" in result.err
        assert len(files(dest)) == 1

    def test_many_different_failures_are_not_all_told(self, run, server, dest):
        given = add(server, 40)
        server.fail(route="recording", html=True)
        result = run("fetch", *given, "--dest", dest)
        told = [line for line in result.err.splitlines() if line.startswith("failed:")]
        assert len(told) == 20
        assert "--verbose names them all" in result.err
        assert any(line.startswith("0 archived, 40 failed: ") for line in result.err.splitlines())

    def test_what_is_not_tried_again_is_no_retry(self, run, server, dest):
        given = add(server, 2)
        server.fail(route="recording", status=500)
        assert "retr" not in run(*quickly("fetch", *given, "--dest", dest)).err

    def test_the_key_is_neither_needed_nor_sent_nor_shown(self, run, server, dest, monkeypatch):
        monkeypatch.setenv("AGENTPHONE_API_KEY", "sk_secret_1")
        given = add(server, 2)
        server.fail(route="recording", call_id=given[1], status=403)
        result = run(*quickly("fetch", *given, "--dest", dest, "--verbose"))
        assert "sk_secret" not in result.out + result.err
        assert all("Authorization" not in request.headers for request in server.requests)


class TestTransfers:
    def test_as_many_at_once_as_asked_for(self, run, server, dest):
        server.settings.latency = 0.2
        given = [f"call_none{n}" for n in range(90)]
        run("fetch", *given, "--dest", dest, "--transfers", "80")
        assert server.requests.peak_in_flight == 80


class TestSignals:
    @pytest.fixture
    def impatient(self, tmp_path):
        """A command that soon lets go of what is under way."""
        return script(
            tmp_path,
            "from agentphone_async.cli import event_loop, fetch",
            "fetch.LET_GO, event_loop.GRACE = 0.1, 60",
        )

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
    def test_the_first_ends_it_cleanly(self, name, server, dest, impatient):
        quick, *others = add(server, 4)
        slow = server.add_call(audio=wave(6_000_000)).id
        server.fail(route="recording", call_id=slow, stall=5_500_000)
        given = (quick, slow, *others, "--dest", dest, "--transfers", "1", "--json")
        with process("fetch", *given, program=impatient) as running:
            first = running.stdout.readline()
            assert quick in first
            while not partial(dest):
                assert running.poll() is None
            running.send_signal(getattr(signal, name))
            result = ended(running, timeout=10)
        assert result.code == 130
        assert result.err == "stopping: it was interrupted; a second Ctrl-C stops at once\n"
        assert result.events[0]["event"] == "summary"  # and none of a failure
        assert result.summary["listed"] == 5
        assert result.summary["archived"] == 1
        assert result.summary["left"] == 4
        assert result.summary["failed"] == 0
        assert files(dest) == {f"recording-{quick}.wav": server.expected_audio(quick)}

    def test_what_is_under_way_is_finished_and_the_rest_is_left(self, server, dest):
        given = add(server, 6)
        server.settings.latency = 0.5
        with process("fetch", *given, "--dest", dest, "--transfers", 1) as running:
            while not server.requests.count("recording"):
                assert running.poll() is None
            running.send_signal(signal.SIGINT)
            result = ended(running)
        assert result.code == 130
        done = len(files(dest))
        assert done == 1
        assert result.err.splitlines()[-2].startswith(f"{done} archived: ")
        assert result.err.splitlines()[-1] == f"{6 - done} calls are left; run it again to continue"

    def test_the_second_ends_it_at_once_and_the_next_run_clears_up(
        self, run, server, dest, tmp_path
    ):
        """The first signal waits for a thread that hangs on the disk."""
        (one,) = add(server, 1)
        stuck = script(
            tmp_path,
            "import sys, time",
            "from agentphone_async.sinks import local",
            "def stuck(*_, **__): print('stuck', flush=True); time.sleep(60)",
            "local.sync_many = stuck",
        )
        with process("fetch", one, "--dest", dest, program=stuck) as running:
            assert running.stdout.readline() == "stuck\n"
            running.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(0.3)
            running.send_signal(signal.SIGINT)
            assert running.wait(5) == 130
        assert list(files(dest)) == partial(dest) != []
        assert run("fetch", one, "--dest", dest).code == 0
        assert files(dest) == {f"recording-{one}.wav": server.expected_audio(one)}


class TestClosedStreams:
    def test_a_reader_that_leaves_ends_it_quietly(self, server, dest):
        given = add(server, 400)
        with process("fetch", *given, "--dest", dest, "--json") as running:
            running.stdout.readline()
            running.stdout.close()
            running.stdout = None
            result = ended(running)
        assert result.code != 0
        assert result.err == ""
        assert partial(dest) == []

    @pytest.mark.parametrize("number", [1, 2])
    def test_a_closed_stream_is_nobodys_recording(self, number, server, dest):
        """Without care, the first file that is opened becomes standard output, or error."""
        (one,) = add(server, 1)
        server.fail(route="recording", call_id="call_bad", html=True)
        server.add_call(id="call_bad")
        with process(
            *("fetch", one, "call_bad", "--dest", dest, *(["--json"] if number == 1 else [])),
            preexec_fn=lambda: os.close(number),
        ) as running:
            result = ended(running)
        assert result.code == 1
        assert files(dest) == {f"recording-{one}.wav": server.expected_audio(one)}
