"""What code blocks are run on: a folder, an emulator with a day of calls, a shell and an interpreter."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentphone_async.emulator import EmulatorThread
from tests.docs.blocks import ROOT, Block, Command
from tests.support import warm

SAMPLE_DAY, SAMPLE_PORT, SAMPLE_CALL = "2026-11-21", "8321", "call_ghi012"
SAMPLE_KEYS = ("sk_live_...", "sk_live_…")
PYTEST = f"#!{sys.executable}\nimport sys, pytest\nsys.exit(pytest.console_main())\n"
# Of pytest's plugins those that the pages use; by name, since ours may not be installed.
PLUGINS = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "pytest_asyncio.plugin,agentphone_async.pytest_plugin",
}
MARK = "\x1e"
LIMIT = 60


class Stage:
    """Runs the blocks of one page in their order; what one leaves behind, the next one finds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._emulator = EmulatorThread(calls=12, neighbours=2, seconds=1, zone=None)
        self._names: dict[str, Any] = {"__name__": "__main__"}
        self._servers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        noon = datetime.now().astimezone().replace(hour=12) - timedelta(days=1)
        self._emulator.start()
        self._emulator.add_call(id=SAMPLE_CALL, started_at=noon, duration=2)
        self._replace = {SAMPLE_DAY: f"{noon:%Y-%m-%d}", SAMPLE_PORT: str(_free_port())}
        self._replace |= dict.fromkeys(SAMPLE_KEYS, self._emulator.api_key)
        programs = self.folder.parent / f"{self.folder.name}-programs"
        programs.mkdir()
        # What pip makes of entry points, for the tree that is tested.
        for name, text in (("agentphone-async", warm.program()), ("pytest", PYTEST)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.environment = {
            "AGENTPHONE_API_KEY": self._emulator.api_key,
            "AGENTPHONE_BASE_URL": self._emulator.base_url,
            "COLUMNS": "100",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{programs}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
        } | PLUGINS
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=LIMIT)
        self._emulator.close()
        if kind is None:
            assert [server.returncode for server in self._servers] == [0] * len(self._servers)

    def run(self, block: Block) -> None:
        text = block.text
        for sample, real in self._replace.items():
            text = text.replace(sample, real)
        block = replace(block, text=text)
        if "file" in block.notes:
            file = self.folder / block.notes["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        elif block.language == "python":
            self._python(block)
        else:
            self._console(block.commands, block)

    def _python(self, block: Block) -> None:
        # The empty lines make a traceback point into the page.
        source = "\n" * block.line + block.text
        code = compile(source, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, self._names))
        else:
            exec(code, self._names)

    def _console(self, commands: list[Command], block: Block) -> None:
        first = commands[0]
        if first.line.startswith("agentphone-async emulate"):
            assert len(commands) == 1, f"{block.where}: a server is alone in its terminal"
            self._serve(first, block)
            return
        state = self.folder / ".state"
        script = [f". {shlex.quote(str(state))} 2> /dev/null", "exec 2>&1"]
        for command in commands:
            script += [command.line, f"printf '{MARK}%d{MARK}' $?"]
        script.append(f"export -p > {shlex.quote(str(state))}")
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        parts = done.stdout.split(MARK)
        statuses = ["0"] * (len(commands) - 1) + [block.notes.get("exit", "0")]
        for command, output, status, expected in zip(
            commands, parts[::2], parts[1::2], statuses, strict=False
        ):
            where = f"{block.where}: $ {command.line}"
            assert status == expected, f"{where}\nended with {status}:\n{output}"
            assert_shown(command.output, output, where)
        assert len(parts) == 2 * len(commands) + 1, f"{block.where}:\n{done.stdout}{done.stderr}"

    def _serve(self, command: Command, block: Block) -> None:
        server = warm.Popen(
            [*warm.COMMAND, *shlex.split(command.line)[1:]],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._servers.append(server)
        assert server.stdout is not None
        shown = [server.stdout.readline().rstrip("\n") for _ in command.output.splitlines()]
        assert_shown(command.output, "\n".join(shown), block.where)


def assert_shown(expected: str, output: str, where: str) -> None:
    """The output is as the page shows it; ``...`` there stands for anything."""
    if not expected.strip():
        return
    pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*")
    if not re.fullmatch(pattern, output.strip(), re.DOTALL):
        raise AssertionError(f"{where}\nthe page shows:\n{expected}\nit was:\n{output}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def environment_of(stage: Stage) -> dict[str, str]:
    """What blocks of Python see of it; the rest of the environment is the test's own."""
    return {
        name: os.fspath(stage.environment[name]) for name in stage.environment if "AGENT" in name
    }
