from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from benchmarks import measure
from benchmarks.measure import Command, run, tree_rss_bytes


def python(code):
    return Command([sys.executable, "-S", "-c", code])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is sampled from /proc")
def test_the_memory_of_the_whole_tree_is_counted():
    child = "data = bytearray(60_000_000); print(1, flush=True); input()"
    parent = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-S', '-c', {child!r}], check=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()  # now the child holds its 60 MB, and the parent waits for it
        assert tree_rss_bytes(process.pid) > 60_000_000
        process.communicate(b"\n")
    assert tree_rss_bytes(process.pid) == 0


def test_the_exit_code_and_the_last_words_are_kept(tmp_path):
    measured = run(python("import sys; sys.exit('out of tape')"), tmp_path, timeout_seconds=30)
    assert (measured.exit_code, measured.stderr_tail) == (1, "out of tape")
    assert measured.wall_seconds > 0


def test_what_takes_too_long_is_ended_with_its_children(tmp_path):
    before = threading.active_count()
    measured = run(
        Command(["/bin/sh", "-c", "sleep 60 & sleep 60"]), tmp_path, timeout_seconds=0.05
    )
    assert measured.exit_code is None
    assert measured.wall_seconds < 10
    assert threading.active_count() == before


def test_standard_input_comes_from_the_file(tmp_path):
    (tmp_path / "list").write_text("7\n")
    command = Command(
        [sys.executable, "-S", "-c", "import sys; sys.exit(int(input()))"], stdin=tmp_path / "list"
    )
    assert run(command, tmp_path, timeout_seconds=30).exit_code == 7


@pytest.mark.skipif(sys.platform != "linux", reason="memory is sampled from /proc")
def test_the_peak_of_one_process_is_its_own_and_not_its_parents(tmp_path, monkeypatch):
    ballast = bytearray(80_000_000)
    small = run(Command(["/bin/true"]), tmp_path, timeout_seconds=30)
    assert small.peak_rss_bytes < len(ballast)
    seen = tmp_path / "seen"

    def sample(pid):
        size = tree_rss_bytes(pid)
        if size > 150_000_000:
            seen.touch()
        return size

    monkeypatch.setattr(measure, "tree_rss_bytes", sample)
    until_seen = f"while not os.path.exists({str(seen)!r}): time.sleep(0.001)"
    code = f"import os, time\ndata = bytearray(150_000_000)\n{until_seen}"
    large = run(python(code), tmp_path, timeout_seconds=30)
    assert large.exit_code == 0, "it was sampled while it ran"
    assert large.peak_rss_bytes > 150_000_000
