"""``agentphone-async emulate``: what its options mean; tests/emulator runs it."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from click.testing import CliRunner

from agentphone_async.cli import emulate

TODAY = datetime.now().astimezone().date()


@pytest.fixture
def day_of(monkeypatch):
    """The day of the calls that would be served."""

    def ask(*arguments):
        served = []

        async def serve(emulator, shown_key):
            served.append(emulator.day)

        monkeypatch.setattr(emulate, "_serve", serve)
        result = CliRunner().invoke(emulate.command, ["--calls", "1", *arguments])
        return served[0] if served else result.output.splitlines()[-1]

    return ask


@pytest.mark.parametrize(
    ("arguments", "day"),
    [
        ([], TODAY - timedelta(days=1)),
        (["--day", "yesterday"], TODAY - timedelta(days=1)),
        (["--day", "today"], TODAY),
        (["--day", "2026-11-21"], date(2026, 11, 21)),
    ],
)
def test_days(day_of, arguments, day):
    assert day_of(*arguments) == day


def test_a_day_that_is_not_in_the_calendar_is_called_so(day_of):
    assert day_of("--day", "2026-02-30").endswith(
        "'2026-02-30' is not in the calendar; check month and day"
    )
