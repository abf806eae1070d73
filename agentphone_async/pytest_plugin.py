"""The pytest fixture ``agentphone_emulator``: an AgentPhone API of your own in every test.

Loaded by pytest through the entry point ``agentphone_async``. It runs in a thread of its own,
so that tests with an event loop and tests without one use it alike::

    def test_my_app(agentphone_emulator):
        call = agentphone_emulator.add_call(duration=12)
        agentphone_emulator.fail(route="recording", status=503, times=1)
        my_app.fetch(call.id, base_url=agentphone_emulator.base_url)
        assert agentphone_emulator.requests.count("recording", call_id=call.id) == 2

It begins without calls; ``@pytest.mark.agentphone_emulator(calls=20, seed=7)`` takes whatever
``Emulator`` takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from agentphone_async.emulator import EmulatorThread


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, so that ``--strict-markers`` accepts it."""
    config.addinivalue_line(
        "markers",
        "agentphone_emulator(**options): what the fixture agentphone_emulator starts with, "
        "like calls=20 or seed=7",
    )


@pytest.fixture
def agentphone_emulator(request: pytest.FixtureRequest) -> Iterator[EmulatorThread]:
    """An emulated AgentPhone API on a free port of 127.0.0.1, with no calls yet.

    Use ``.base_url`` and ``.api_key`` to reach it, ``.add_call(...)`` and ``.fail(...)`` to set
    the scene, ``.requests``, ``.placed_calls`` and ``.fault_log`` to see what was asked of it.
    """
    # Imported late: the plugin is loaded in every pytest run, the server is not needed in most.
    from agentphone_async.emulator import EmulatorThread  # noqa: PLC0415

    marker = request.node.get_closest_marker("agentphone_emulator")
    options = marker.kwargs if marker else {}
    with EmulatorThread(**options) as emulator:
        yield emulator
