"""Runs one command and measures it from outside: wall time, CPU time, peak memory of its tree."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import REPOSITORY

SAMPLE_SECONDS = 0.01
TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. ``stdin`` is a file, so that feeding a long list costs the tool nothing."""

    argv: Sequence[str]
    stdin: Path | None = None
    env: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One finished run: seconds of wall and CPU time (user + system, children included), the
    peak resident bytes of the whole process tree, the exit code (None when it was stopped for
    taking too long) and the end of what it said on stderr."""

    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    exit_code: int | None
    stderr_tail: str


def run(command: Command, scratch: Path, *, timeout_seconds: float) -> Measured:
    """Run ``command`` to its end, or kill its process group after ``timeout_seconds``."""
    errors = scratch / "stderr.txt"
    with contextlib.ExitStack() as stack:
        stdin = stack.enter_context((command.stdin or Path(os.devnull)).open("rb"))
        stderr = stack.enter_context(errors.open("wb"))
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command.argv),
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env=None if command.env is None else dict(command.env),
            start_new_session=True,
        )
        watch = _Watch(process.pid, started + timeout_seconds)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _kill_group(process.pid)
            process.wait()
            raise
        finally:
            watch.stop()
        wall = time.perf_counter() - started
        # wait4 has reaped it; Popen must not look for that pid again.
        process.returncode = os.waitstatus_to_exitcode(status)
    return Measured(
        wall_seconds=wall,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=max(watch.peak_rss_bytes, _own_peak(usage.ru_maxrss)),
        exit_code=None if watch.timed_out else process.returncode,
        stderr_tail=_tail(errors),
    )


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[str]:
    """A Python server in a process of its own, for as long as the block; gives its base URL.

    The server prints that as its first line, and ends when its stdin is closed.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        assert process.stdin is not None
        process.stdin.close()


def _own_peak(child_maxrss_kib: int) -> int:
    """The kernel's peak for the child in bytes, or 0 when it may be ours rather than its own.

    Between fork and exec a child counts as big as its parent, and ru_maxrss keeps that.
    """
    ours = _status_kib(os.getpid(), b"VmHWM:")
    return child_maxrss_kib * 1024 if ours and child_maxrss_kib > ours else 0


class _Watch(threading.Thread):
    """Samples the memory of a process tree and ends it when its time is up."""

    def __init__(self, pid: int, deadline: float) -> None:
        super().__init__(daemon=True)
        self.peak_rss_bytes = 0
        self.timed_out = False
        self._pid = pid
        self._deadline = deadline
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            self.peak_rss_bytes = max(self.peak_rss_bytes, tree_rss_bytes(self._pid))
            if time.perf_counter() > self._deadline and not self.timed_out:
                self.timed_out = True
                _kill_group(self._pid)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def tree_rss_bytes(pid: int) -> int:
    """Resident bytes of ``pid`` and its descendants; a lone process gives its high-water mark.

    Read from /proc (Linux); 0 elsewhere, where only the kernel's own figure remains.
    Pages that processes share are counted once for each of them.
    """
    pids = _tree(pid)
    field = b"VmHWM:" if len(pids) == 1 else b"VmRSS:"
    return 1024 * sum(_status_kib(each, field) for each in pids)


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                with contextlib.suppress(OSError):
                    children = (thread / "children").read_bytes()
                    found.extend(int(child) for child in children.split())
    return found


def _status_kib(pid: int, field: bytes) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0
    _, found, rest = status.partition(field)
    return int(rest.split(None, 1)[0]) if found else 0


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace").strip()
