"""The command itself: help and version come quickly, and every end is one line."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from agentphone_async import __version__
from agentphone_async.cli import main as main_module
from agentphone_async.cli.main import COMMANDS, cli
from tests.support.archives import fill, make_archive
from tests.support.commands import ROOT, Command, ended, process


@pytest.fixture
def run(monkeypatch, capfd):
    return Command(monkeypatch, capfd)


@pytest.fixture
def raising(monkeypatch):
    """Let a command end in an error of the test's choosing."""

    def arrange(error):
        @click.command("fetch")
        def command():
            raise error

        monkeypatch.setattr(cli, "get_command", lambda *_: command)

    return arrange


class TestImports:
    """Nobody waits for a network library in order to read help."""

    HEAVY = (
        "aiohttp",
        "asyncio",
        "rich",
        "tenacity",
        "uvloop",
        "sqlite3",
        "agentphone_async.emulator",
    )
    NOT_FOR_FETCH = (
        *("rich", "sqlite3", "pydantic", "tomllib", "zoneinfo", "importlib.metadata"),
        *("agentphone_async.archive", "agentphone_async.models"),
        *("agentphone_async.cli.period", "agentphone_async.emulator"),
    )

    def imported(self, *args, heavy=HEAVY, also="", code=0):
        program = (
            "import atexit, sys\n"
            f"heavy = {heavy!r}\n"
            "atexit.register(lambda: print('imported:', *(n for n in heavy if n in sys.modules)))\n"
            f"atexit.register(lambda: print({also}))\n"
            f"sys.argv = ['agentphone-async', *{args!r}]\n"
            "from agentphone_async.cli.main import main\n"
            "main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stdout.splitlines()[-1], done.stdout

    def test_version(self):
        assert self.imported("--version") == (
            "imported:",
            f"agentphone-async, version {__version__}\n\nimported:\n",
        )

    @pytest.mark.parametrize("args", [("--help",), ("fetch", "--help"), ("archive", "--help")])
    def test_help(self, args):
        found, shown = self.imported(*args)
        assert found == "imported:"
        assert "Usage: agentphone-async" in shown

    def test_a_fetch_without_tls(self, tmp_path):
        """Not even authorities are read, which takes a fifth of its start."""
        nobody = ("--base-url", "http://127.0.0.1:9", "--retries", "0", "--retry-time", "0s")
        authorities = "sys.modules['aiohttp'].connector._SSL_CONTEXT_VERIFIED.get_ca_certs()"
        found, shown = self.imported(
            "fetch", "call_1", "-d", str(tmp_path), *nobody,
            heavy=self.NOT_FOR_FETCH, also=authorities, code=1,
        )  # fmt: skip
        assert found == "imported:"
        assert shown.startswith("[]")

    def test_the_package(self):
        program = "import agentphone_async, sys; print('aiohttp' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout == "False\n"


class TestHelp:
    def test_every_command_is_listed_and_there(self, run):
        shown = run("--help").out
        for name, text in COMMANDS.items():
            assert name in shown
            assert text.split()[0] in shown
            command = cli.get_command(click.Context(cli), name)
            assert command is not None
            assert command.name == name
            assert run(name, "--help").code == 0

    def test_exit_codes_are_told(self, run):
        assert "130 interrupted" in " ".join(run("--help").out.split())

    def test_no_option_takes_the_key_itself(self, run):
        for name in COMMANDS:
            shown = run(name, "--help").out
            assert "--api-key " not in shown
            assert "--key" not in shown

    @pytest.mark.parametrize(
        ("args", "said"),
        [
            (["arhcive"], "there is no command 'arhcive'; did you mean 'archive'?"),
            (["calls", "lst"], "there is no command 'lst'; did you mean 'list'?"),
            (["catalog", "query"], "there is no command 'query'; there are: check, compact,"),
            (["fetch", "--form-file", "x"], "--from-file"),
            (["fetch", "c", "-d", "d", "--retries", "x"], "'x' is not a whole number from 0 to 99"),
            (["completion"], "Choose from: bash, zsh, fish"),
            (["emulate", "--calls", "-1"], "'-1' is not a whole number, 0 or more"),
        ],
    )
    def test_a_slip_is_answered_by_what_is_right(self, args, said, run):
        result = run(*args)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
        assert said in " ".join(result.err.split())

    @pytest.mark.parametrize("args", [[], ["nonsense"], ["--nonsense"]])
    def test_what_does_not_exist_is_usage(self, args, run):
        result = run(*args)
        assert (result.code, result.out) == (2, "")
        assert result.err


class TestEnds:
    def test_an_error_of_ours_is_one_line(self, raising, run):
        from agentphone_async.errors import DestinationError

        raising(DestinationError("cannot write: \x1b[31mfull\nreally"))
        assert run("fetch") == (
            type(run("fetch"))(4, "", "agentphone-async: cannot write: \\x1b[31mfull\\nreally\n")
        )

    def test_a_bug_is_one_line_too(self, raising, run):
        raising(ZeroDivisionError("division by zero"))
        result = run("fetch")
        assert result.code == 1
        assert result.err.count("\n") == 1
        assert "unexpected ZeroDivisionError: division by zero" in result.err

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), click.exceptions.Abort()])
    def test_an_interrupt_is_no_error(self, error, raising, run):
        raising(error)
        result = run("fetch")
        assert result.code == 130
        assert result.err.strip() == ""

    def test_usage_names_the_command_and_keeps_to_one_line(self, raising, run):
        raising(click.UsageError("first\nsecond \x1b[31m."))
        result = run("fetch")
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert "first second \\x1b[31m" in result.err

    @pytest.mark.parametrize("code", [0, 1, 4, 130])
    def test_what_a_command_returns_is_the_exit_code(self, code, run, monkeypatch):
        command = click.Command("fetch", callback=lambda: code)
        monkeypatch.setattr(cli, "get_command", lambda *_: command)
        assert run("fetch").code == code

    def test_a_reader_that_has_left_is_no_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            with process("--help", stdout=writer) as running:
                result = ended(running)
        finally:
            os.close(writer)
        assert (result.code, result.err) == (130, "")


class TestFullDisks:
    """Standard output is a file on one; the line says so, whenever it was that it was noticed."""

    @pytest.fixture
    def archive(self, server, tmp_path, monkeypatch):
        monkeypatch.setenv("AGENTPHONE_BASE_URL", server.base_url)
        monkeypatch.setenv("AGENTPHONE_API_KEY", server.api_key)
        fill(server, 3)
        make_archive(server, tmp_path / "archive")
        return tmp_path / "archive"

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
    @pytest.mark.parametrize(
        "command",
        [
            ("ls",),
            ("ls", "--json"),
            ("export",),
            ("export", "--format", "jsonl"),
            ("archive", "--since", "2026-01-01", "--json"),
            ("verify", "--json"),
            ("catalog", "info"),
            ("calls", "list"),
            ("calls", "list", "--json"),
        ],
        ids=" ".join,
    )
    def test_is_one_plain_line(self, command, archive):
        dest = [] if command[0] == "calls" else [archive]
        buffered = {"PYTHONUNBUFFERED": ""}
        with (
            open("/dev/full", "w") as full,
            process(*command, *dest, stdout=full, env=buffered) as running,
        ):
            result = ended(running)
        assert result.code == 4
        line = "agentphone-async: cannot write to standard output: no space left on device"
        assert result.err.splitlines()[-1] == line
        assert "unexpected" not in result.err
        assert "Exception ignored" not in result.err


def test_streams_that_are_open_are_left_alone(monkeypatch):
    before = sys.stdin, sys.stdout, sys.stderr
    main_module._fill_gaps()
    assert (sys.stdin, sys.stdout, sys.stderr) == before


def test_an_interrupt_while_it_begins_is_no_traceback(tmp_path):
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-c", "from agentphone_async.cli.entry import main; main()"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
