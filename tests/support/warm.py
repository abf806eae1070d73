"""Commands in processes of their own, forked from an interpreter that has imported everything.

A Python that starts and imports the command line takes longer than most commands of the tests do.
So one process imports it once (``python -m tests.support.warm``), and forks for each command: a
child gets its own arguments, environment, folder and standard files, and ends as an interpreter
ends, but for the modules that one takes apart. It becomes a child of the test's process, so signals, exit codes and process ids are real.
Where the system cannot do that (only Linux can), and where the start itself is what is tested,
commands start as usual.
"""

from __future__ import annotations

import array
import asyncio
import atexit
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import agentphone_async

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "agentphone_async")
"""What a command line begins with that is forked."""

_NOT_OURS = {"agentphone_async.__main__", "agentphone_async.pytest_plugin"}
"""Of the package, what a command does not import, or what is one itself."""
_OFTEN = {"anyio._backends._asyncio", "encodings.idna", "tomllib", "uvloop"}
"""Of others, what most commands import only when they run."""
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, prctl(2)
_LONGEST = 1 << 18


class Popen(subprocess.Popen[Any]):
    """As ``subprocess.Popen``, but what begins with `COMMAND` is forked and not started."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *more: Any) -> None:
        _, pass_fds, cwd, env, _, _, shell, *ends = more[:13]
        begins = list(args[:3]) == list(COMMAND)
        if not begins or shell or executable or preexec_fn or pass_fds or _server() is None:
            super()._execute_child(args, executable, preexec_fn, *more)  # type: ignore[misc]
            return
        reads, _, _, writes, _, fails = ends
        request = {
            "args": [os.fspath(word) for word in args[3:]],
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        files = [end if end >= 0 else own for own, end in enumerate((reads, writes, fails))]
        self.pid = _server().fork(request, files)
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]


async def create_subprocess(*args: Any, **more: Any) -> asyncio.subprocess.Process:
    """As ``asyncio.create_subprocess_exec``, by `Popen`."""
    with mock.patch("subprocess.Popen", Popen):
        return await asyncio.create_subprocess_exec(*args, **more)


class _Server:
    """The interpreter that forks, seen from the test's process; it ends with it."""

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
        self._folder = tempfile.TemporaryDirectory()
        self.path = f"{self._folder.name}/socket"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"}
        with _listener(self.path) as listener:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(listener.fileno())],
                pass_fds=[listener.fileno()], env=environment, cwd=ROOT, stdin=subprocess.PIPE,
            )  # fmt: skip

    def fork(self, request: dict[str, Any], files: list[int]) -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
            connection.connect(self.path)
            socket.send_fds(connection, [json.dumps(request).encode()], files)
            return int(connection.recv(64))


@functools.cache
def _server() -> Any:
    return _Server() if sys.platform == "linux" else None


def program() -> str:
    """A script that is the command ``agentphone-async`` in a shell, forked where that can be."""
    server = _server()
    if server is None:
        return f"#!{sys.executable}\nfrom agentphone_async.cli.entry import main\nmain()\n"
    return f"#!{sys.executable} -IS\n" + _IN_A_SHELL.replace("PATH", repr(server.path))


_IN_A_SHELL = """
import json, os, signal, socket, sys
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect(PATH)
request = {"args": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "waits": True}
socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
child = int(connection.recv(64))
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: os.kill(child, number))
status = int(connection.recv(64))
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


def _listener(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    return listener


def _serve(listener: socket.socket) -> list[str]:
    """Fork for each request; return, in the child, with the arguments of its command."""
    while True:
        if sys.stdin in select.select([sys.stdin, listener], [], [])[0]:
            os._exit(0)  # whom it serves has ended
        connection, _ = listener.accept()
        text, ancillary, _, _ = connection.recvmsg(_LONGEST, socket.CMSG_SPACE(3 * 4))
        request = json.loads(text)
        files = array.array("i")
        for _, _, data in ancillary:
            files.frombytes(data)
        told, tells = os.pipe()
        if (parent := os.fork()) == 0:
            if (child := os.fork()) == 0:
                for end in (listener, connection):
                    end.close()
                os.closerange(told, tells + 1)
                _become(request, list(files))
                return list(request["args"])
            os.write(tells, str(child).encode())
            if "waits" in request:
                for file in files:
                    os.close(file)
                connection.send(str(child).encode())
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                connection.send(str(status).encode())
            os._exit(0)
        child = os.read(told, 64)
        if "waits" not in request:
            # The child's parent has ended, so the test's process has inherited the child.
            os.waitpid(parent, 0)
            connection.send(child)
        for file in (told, tells, *files):
            os.close(file)
        connection.close()


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Take over what a process that was started would have."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = open(  # noqa: SIM115 - it stays open
            number,
            "w" if number else "r",
            buffering=1 if number == 2 or os.isatty(number) else -1,
            encoding="utf-8",
            errors="backslashreplace" if number == 2 else "strict",
            closefd=False,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _main() -> None:
    listener = socket.socket(fileno=int(sys.argv[1]))
    ours = pkgutil.walk_packages(agentphone_async.__path__, "agentphone_async.")
    for name in ({module.name for module in ours} - _NOT_OURS) | _OFTEN:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    sys.argv = ["agentphone-async", *_serve(listener)]
    codes: list[Any] = []
    atexit.register(_leave, codes)
    try:
        importlib.import_module("agentphone_async.cli.entry").main()
    except SystemExit as ending:
        codes.append(ending.code)
        raise


def _leave(codes: list[Any]) -> None:
    """End when threads and everything else at exit are done, before modules are taken apart.

    That touches all the memory that is shared until then: it takes longer than most commands.
    """
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
        if codes and isinstance(codes[0], int):
            os._exit(codes[0])


if __name__ == "__main__":
    _main()
