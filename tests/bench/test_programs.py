"""Other programs on the same work."""

from __future__ import annotations

import shutil
import stat

import pytest

from agentphone_async.bench import programs
from agentphone_async.bench.networks import PROFILES, profile_named
from agentphone_async.bench.programs import KNOWN, OURS, Task, check, time_program
from agentphone_async.emulator import EmulatorThread
from agentphone_async.errors import ConfigurationError


@pytest.fixture(scope="module")
def task():
    with EmulatorThread(calls=4, seconds=0.1) as server:
        ids = [call.id for call in server.calls if call.recorded]
        yield Task(server.base_url, ids, transfers=2)


@pytest.mark.parametrize("name", [OURS, *KNOWN])
def test_each_brings_all_files_and_says_what_it_cost(task, tmp_path, name):
    try:
        check([name] if name != OURS else [])
    except ConfigurationError as error:
        pytest.skip(str(error))
    timed = time_program(name, task, tmp_path)
    assert (timed.program, timed.exit_code, timed.files) == (name, 0, len(task.call_ids))
    assert timed.seconds > 0
    assert timed.cpu > 0
    assert list(tmp_path.iterdir()) == []  # call ids lay there


def test_lists_of_call_ids_are_private(task, tmp_path):
    programs._curl(task, tmp_path, tmp_path)
    (listed,) = tmp_path.iterdir()
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600
    assert all(call_id in listed.read_text() for call_id in task.call_ids)


def test_what_cannot_be_compared_is_named(monkeypatch):
    with pytest.raises(ConfigurationError, match="'wget'; choose from curl, rclone, aria2"):
        check(["wget"])
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "aria2c" else name)
    with pytest.raises(ConfigurationError, match="comparing with aria2 needs aria2c"):
        check(["curl", "aria2"])


def test_profiles_have_names_and_say_what_they_play():
    assert str(profile_named("latency-80")) == "the emulator, 80 ms and any speed a connection"
    assert str(profile_named("rate-limit")) == "the emulator, 80 ms and 100 requests a second"
    assert len({str(profile) for profile in PROFILES}) == len(PROFILES)
    with pytest.raises(ConfigurationError, match="unknown network profile 'moon'; there are: lat"):
        profile_named("moon")
