"""Other programs on the same work: the recordings on disk, and a SHA-256 of each file.

A program that only downloads does less than we do, so each is followed by the fastest hashing that
is usual with it. The command lines are those of the published comparison.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentphone_async.errors import ConfigurationError

OURS = "agentphone-async"
HASH = "find {out} -name '*.wav' -print0 | xargs -0 -n 20 -P 2 openssl dgst -sha256 -r > {sums}"
RCLONE_HASH = "rclone hashsum sha256 --checkers=2 {out} > {sums}"


@dataclass(frozen=True, slots=True)
class Task:
    """What everybody is to fetch.

    Attributes:
        base_url: where from.
        call_ids: whose recordings; all of them have one.
        transfers: how many at a time.
    """

    base_url: str
    call_ids: Sequence[str]
    transfers: int

    def url(self, call_id: str) -> str:
        """Of one recording."""
        return f"{self.base_url}/v1/calls/{call_id}/recording"


@dataclass(frozen=True, slots=True)
class Timed:
    """What one program came to.

    Attributes:
        program: its name.
        seconds: from start to exit, hashing included.
        cpu: seconds of processor time, of all its processes.
        files: how many recordings were there afterwards.
        exit_code: as it ended.
    """

    program: str
    seconds: float
    cpu: float
    files: int
    exit_code: int


def curl_argv(config: Path, transfers: int) -> list[str]:
    """``curl`` with many at a time; it checks nothing of what arrives."""
    quiet = ["--silent", "--no-progress-meter", "--fail"]
    parallel = ["--parallel", "--parallel-max", str(transfers)]
    return ["curl", "--disable", *quiet, *parallel, "--config", str(config)]


def rclone_argv(listed: Path, out: Path, transfers: int) -> list[str]:
    """``rclone copyurl --urls``, in place: its partial names cost a rename a file."""
    options = [f"--transfers={transfers}", "--inplace", "--disable-http2", "--quiet"]
    return ["rclone", "copyurl", "--urls", str(listed), str(out), *options]


def aria2_argv(listed: Path, out: Path, transfers: int) -> list[str]:
    """``aria2c -i`` without preallocation, splitting and console, which is its fastest."""
    options = {
        "input-file": listed,
        "dir": out,
        "max-concurrent-downloads": transfers,
        "max-connection-per-server": 1,
        "split": 1,
        "file-allocation": "none",
        "auto-file-renaming": "false",
        "allow-overwrite": "true",
        "summary-interval": 0,
        "download-result": "hide",
        "show-console-readout": "false",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return ["aria2c", "--no-conf", "--quiet", *flags]


def _curl(task: Task, home: Path, out: Path) -> str:
    rows = (
        f'url = "{task.url(each)}"\noutput = "{out}/recording-{each}.wav"\n'
        for each in task.call_ids
    )
    listed = _write(home / "curl.config", rows)
    return f"{shlex.join(curl_argv(listed, task.transfers))} && {HASH}"


def _rclone(task: Task, home: Path, out: Path) -> str:
    listed = _write(
        home / "rclone.csv", (f"{task.url(each)},recording-{each}.wav\n" for each in task.call_ids)
    )
    empty = _write(home / "rclone.conf", ())
    rclone = shlex.join(rclone_argv(listed, out, task.transfers))
    return f"export RCLONE_CONFIG={shlex.quote(str(empty))}; {rclone} && {RCLONE_HASH}"


def _aria2(task: Task, home: Path, out: Path) -> str:
    rows = (f"{task.url(each)}\n out=recording-{each}.wav\n" for each in task.call_ids)
    listed = _write(home / "aria2.txt", rows)
    return f"{shlex.join(aria2_argv(listed, out, task.transfers))} && {HASH}"


def _ours(task: Task, home: Path, out: Path) -> str:
    listed = _write(home / "ids.txt", (f"{each}\n" for each in task.call_ids))
    python = shlex.quote(sys.executable)
    return (
        f"{python} -m agentphone_async fetch --from-file {shlex.quote(str(listed))} "
        f"--dest {shlex.quote(str(out))} --transfers {task.transfers} --quiet "
        f"--base-url {shlex.quote(task.base_url)}"
    )


_SCRIPTS: Mapping[str, tuple[tuple[str, ...], Callable[[Task, Path, Path], str]]] = {
    OURS: ((), _ours),
    "curl": (("curl", "openssl"), _curl),
    "rclone": (("rclone",), _rclone),
    "aria2": (("aria2c", "openssl"), _aria2),
}
KNOWN = tuple(name for name in _SCRIPTS if name != OURS)


def check(programs: Sequence[str]) -> None:
    """Find out whether all of these can be run.

    Raises:
        ConfigurationError: one is unknown or not installed; the message says which.
    """
    for name in programs:
        if name not in _SCRIPTS:
            raise ConfigurationError(
                f"cannot compare with {name!r}; choose from {', '.join(KNOWN)}"
            )
        for needed in _SCRIPTS[name][0]:
            if shutil.which(needed) is None:
                raise ConfigurationError(
                    f"comparing with {name} needs {needed}; install it, or leave {name} out"
                )


def time_program(name: str, task: Task, folder: Path | None = None) -> Timed:
    """Let one program do the task in an empty folder, from start to exit. Blocks.

    Args:
        name: `OURS`, or one of `KNOWN`.
        task: what to fetch.
        folder: where the temporary folder is made; by default the system's.
    """
    with tempfile.TemporaryDirectory(prefix="agentphone-bench-", dir=folder) as made:
        home, out = Path(made), Path(made) / "out"
        out.mkdir(mode=0o700)
        script = _SCRIPTS[name][1](task, home, out).format(
            out=shlex.quote(str(out)), sums=shlex.quote(str(home / "SHA256SUMS"))
        )
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(  # noqa: S603 - the script is ours, and its values are quoted
            ["/bin/sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        seconds, after = time.perf_counter() - began, os.times()
        cpu = sum(after[2:4]) - sum(before[2:4])
        files = sum(1 for _ in out.rglob("*.wav"))
    return Timed(name, seconds, cpu, files, done.returncode)


def _write(path: Path, rows: Iterable[str]) -> Path:
    """A list that only its owner may read, since it holds call ids."""
    path.touch(mode=0o600)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(rows)
    return path
