"""``agentphone-async fetch`` with ids from files and standard input."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.cli.fetch.conftest import add, quickly, script
from tests.support.commands import ended, process
from tests.support.downloads import files


class TestIdFiles:
    def test_one_id_a_line_with_comments_and_gaps(self, run, server, dest, tmp_path):
        given = add(server, 3)
        source = tmp_path / "ids.txt"
        source.write_bytes(
            b"\xef\xbb\xbf" + f"{given[0]}\r\n\n  # later\n\t{given[1]}  \n#call_9\n".encode()
            + given[2].encode()
        )  # fmt: skip
        result = run("fetch", "--from-file", source, "--dest", dest)
        assert result.code == 0
        assert set(files(dest)) == {f"recording-{one}.wav" for one in given}

    def test_arguments_and_a_file_together(self, run, server, dest, tmp_path):
        given = add(server, 2)
        (tmp_path / "ids.txt").write_text(given[1])
        result = run("fetch", given[0], "--from-file", tmp_path / "ids.txt", "--dest", dest)
        assert "2 archived" in result.err

    @pytest.mark.parametrize("content", [b"", b"\n\n# none\n   \n", b"\xef\xbb\xbf"])
    def test_a_file_without_ids_is_said(self, content, run, server, dest, tmp_path):
        (tmp_path / "ids.txt").write_bytes(content)
        result = run("fetch", "--from-file", tmp_path / "ids.txt", "--dest", dest)
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert "there is no call id in" in result.err
        assert "ids.txt" in result.err
        assert not dest.exists()

    @pytest.mark.parametrize("what", ["missing", "folder", "forbidden"])
    def test_a_file_that_cannot_be_read_is_said(self, what, run, server, dest, tmp_path):
        source = tmp_path / "ids.txt"
        if what == "folder":
            source.mkdir()
        elif what == "forbidden":
            if os.geteuid() == 0:
                pytest.skip("nothing is forbidden to root")
            source.write_bytes(b"x")
            source.chmod(0)
        result = run("fetch", "--from-file", source, "--dest", dest)
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert "cannot read" in result.err
        assert not dest.exists()

    def test_lines_of_any_size_and_any_bytes_are_answered_for(self, run, server, dest, tmp_path):
        (one,) = add(server, 1)
        source = tmp_path / "ids.txt"
        source.write_bytes(
            b"\xff\xfe\n" + b"x" * 300_000 + b"\n../../up\n\x1b]0;title\x07\n" + one.encode()
        )
        result = run(*quickly("fetch", "--from-file", source, "--dest", dest, "--json"))
        assert result.code == 1
        assert result.summary["listed"] == 5
        assert result.summary["archived"] == 1
        assert result.summary["failed"] == 4
        assert result.out.isascii()
        assert set(files(tmp_path)) == {"ids.txt", f"dest/recording-{one}.wav"}


class TestStandardInput:
    @pytest.fixture
    def patient(self, tmp_path):
        """A command that is never cancelled, and so has to end by itself."""
        return script(
            tmp_path, "from agentphone_async.cli import event_loop", "event_loop.GRACE = 60"
        )

    def fetch_stdin(self, dest, **more):
        return process("fetch", "--from-file", "-", "--dest", dest, **more)

    def test_a_pipe_is_used_as_it_comes(self, server, dest):
        given = add(server, 3)
        with self.fetch_stdin(dest, stdin=subprocess.PIPE) as running:
            running.stdin.write(given[0] + "\n")
            running.stdin.flush()
            while server.requests.count("recording", call_id=given[0]) == 0:
                assert running.poll() is None
            running.stdin.write("\n".join(given[1:]))
            running.stdin.close()
            running.stdin = None
            result = ended(running)
        assert result.code == 0
        assert len(files(dest)) == 3

    def test_a_file_is_read_from_where_it_stands(self, server, dest, tmp_path):
        given = add(server, 2)
        (tmp_path / "ids.txt").write_text(f"{given[0]}\n{given[1]}\n")
        with open(tmp_path / "ids.txt", "rb", buffering=0) as source:
            source.read(len(given[0]) + 1)
            with self.fetch_stdin(dest, stdin=source) as running:
                result = ended(running)
        assert result.code == 0
        assert set(files(dest)) == {f"recording-{given[1]}.wav"}

    @pytest.mark.parametrize("how", ["null", "closed"])
    def test_nothing_there_is_said(self, how, server, dest):
        more = {} if how == "null" else {"stdin": None, "preexec_fn": lambda: os.close(0)}
        with self.fetch_stdin(dest, **more) as running:
            result = ended(running)
        assert result.code == 2
        assert result.err == (
            "agentphone-async fetch: Invalid value for --from-file: there is no call id in '-'\n"
        )

    def test_an_interrupt_does_not_wait_for_more_input(self, server, dest, patient):
        (one,) = add(server, 1)
        with self.fetch_stdin(dest, stdin=subprocess.PIPE, program=patient) as running:
            running.stdin.write(one + "\n")
            running.stdin.flush()
            while server.requests.count("recording", call_id=one) == 0:
                assert running.poll() is None
            running.send_signal(signal.SIGINT)
            assert running.wait(10) == 130
