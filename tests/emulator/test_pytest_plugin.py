"""The fixture as users of the package meet it: in a pytest run of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import agentphone_async

pytest_plugins = ("pytester",)

_TESTS = """
import urllib.error
import urllib.request
import aiohttp
import pytest

KEY = "Bearer sk_test_emulator"

def test_sync(agentphone_emulator):
    call = agentphone_emulator.add_call(duration=1)
    url = f"{agentphone_emulator.base_url}/v1/calls/{call.id}/recording"
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == agentphone_emulator.expected_audio(call.id)
    assert agentphone_emulator.requests.count("recording") == 1

async def test_async(agentphone_emulator):
    assert agentphone_emulator.calls == []
    agentphone_emulator.fail(route="list_calls", status=503, times=1)
    async with aiohttp.ClientSession(headers={"Authorization": KEY}) as session:
        seen = []
        for _ in range(2):
            async with session.get(f"{agentphone_emulator.base_url}/v1/calls") as answer:
                seen.append(answer.status)
    assert seen == [503, 200]

@pytest.mark.agentphone_emulator(calls=7, seed=3, api_key="sk_mine", faults=["maintenance"])
def test_marked(agentphone_emulator):
    url = f"{agentphone_emulator.base_url}/v1/calls/{agentphone_emulator.calls[0].id}/recording"
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(url)
    assert len(agentphone_emulator.calls) == 7
    assert agentphone_emulator.api_key == "sk_mine"
"""


def _loaded() -> list[str]:
    """How to load the plugin where the package was not installed, but only put on the path."""
    installed = {entry.name for entry in entry_points(group="pytest11")}
    return [] if "agentphone_async" in installed else ["-p", "agentphone_async.pytest_plugin"]


def test_the_fixture_serves_sync_async_and_marked_tests(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(agentphone_async.__file__).parents[1]))
    pytester.makepyfile(_TESTS)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    result = pytester.runpytest_subprocess(*_loaded(), "--strict-markers")
    result.assert_outcomes(passed=3)


def test_loading_the_plugin_loads_no_server():
    code = (
        "import agentphone_async.pytest_plugin, sys;"
        "print(*sorted({'aiohttp', 'pydantic', 'agentphone_async.emulator'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
