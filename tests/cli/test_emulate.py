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


@pytest.fixture
def settings_of(monkeypatch):
    """What the emulator would be set to, or the last line of the refusal and the exit code."""

    def ask(*arguments):
        served = []

        async def serve(emulator, shown_key):
            served.append(emulator.settings)

        monkeypatch.setattr(emulate, "_serve", serve)
        result = CliRunner().invoke(emulate.command, ["--calls", "0", *arguments])
        return served[0] if served else (result.exit_code, result.output.splitlines()[-1])

    return ask


def test_webhooks_new_calls_and_hosts(settings_of):
    settings = settings_of(
        "--webhook", "http://127.0.0.1:9/hook", "--webhook-secret", "whsec_1", "--webhook-backlog",
        "--new-calls", "30", "--not-ready-status", "425", "--host", "0.0.0.0", "--allow-remote",
    )  # fmt: skip
    assert (settings.webhook, settings.webhook_secret) == ("http://127.0.0.1:9/hook", "whsec_1")
    assert (settings.webhook_backlog, settings.new_calls, settings.not_ready_status) == (
        True, 30.0, 425,
    )  # fmt: skip
    assert (settings.host, settings.allow_remote) == ("0.0.0.0", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "lets other machines in; use 127.0.0.1, or set allow_remote"),
        (["--webhook", "127.0.0.1:9"], "is not an http or https URL"),
        (["--fault", "webhook=lost"], "webhook must be one of drop, never, duplicate, late"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings_of, arguments, message):
    code, said = settings_of(*arguments)
    assert code == 2
    assert message in said
