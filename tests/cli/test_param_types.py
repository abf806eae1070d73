"""Values of options that no command can work with: one line, and nothing done."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentphone_async.cli.period import Period
from tests.support.archives import CommandLine

NUMBERS = [
    ("bench", "--seconds"),
    ("emulate", "--seconds"),
    ("emulate", "--spread"),
    ("emulate", "--rate"),
    ("emulate", "--latency"),
    ("fetch", "--tpslimit"),
    ("archive", "--tpslimit"),
]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTPHONE_BASE_URL", "http://127.0.0.1:9")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize(("command", "option"), NUMBERS)
def test_numbers_that_nothing_can_be_counted_with(
    command: str, option: str, value: str, run: CommandLine
):
    needed = {"fetch": ["call_x", "--dest", "d"], "archive": ["d", "--date", "today"]}
    ended = run(command, *needed.get(command, []), option, value)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
    assert option in ended.err
    assert value in ended.err


EMPTY = {
    "archive": ["", "--date", "today"],
    "verify": [""],
    "ls": [""],
    "export": [""],
    "missing": [""],
    "catalog info": [""],
    "catalog check": [""],
    "catalog rebuild": [""],
    "export --output": [".", "--output", ""],
    "fetch --dest": ["call_x", "--dest", ""],
    "fetch --from-file": ["call_x", "--dest", "d", "--from-file", ""],
    "bench --from-file": ["--from-file", ""],
    "fetch --api-key-file": ["call_x", "--dest", "d", "--api-key-file", ""],
    "fetch --ca-file": ["call_x", "--dest", "d", "--ca-file", ""],
    "demo --dest": ["--dest", ""],
    "bench --dest": ["call_x", "--dest", ""],
    "bench --json": ["call_x", "--json", ""],
    "emulate --recordings": ["--recordings", ""],
    "emulate --api-key-file": ["--api-key-file", ""],
}


@pytest.mark.parametrize("what", EMPTY)
def test_an_empty_path_is_not_the_folder_that_one_is_in(
    what: str, run: CommandLine, tmp_path: Path
):
    command = [word for word in what.split() if not word.startswith("--")]
    ended = run(*command, *EMPTY[what])
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
    assert "the path is empty; is a variable not set?" in ended.err
    assert not list(tmp_path.iterdir())


def test_a_zone_that_is_called_local_is_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    local, default = (
        Period("today", None, None, zone, None, None).zone() for zone in ("local", None)
    )
    assert str(local) == str(default) == "Asia/Tokyo"
