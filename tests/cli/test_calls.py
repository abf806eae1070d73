"""``agentphone-async calls``, run as a process runs it, against an emulated API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentphone_async.cli.main import cli
from agentphone_async.cli.tables import duration
from agentphone_async.emulator import EmulatorThread
from tests.support.commands import SEPARATE


@pytest.fixture
def api() -> Iterator[EmulatorThread]:
    with EmulatorThread() as emulator:
        yield emulator


class Run:
    def __init__(self, api: EmulatorThread) -> None:
        self.environment = {
            "AGENTPHONE_BASE_URL": api.base_url,
            "AGENTPHONE_API_KEY": api.api_key,
        }

    def __call__(self, *arguments: str, **environment: str) -> Result:
        # standalone_mode=False as main() has it, so that the return value is the exit code
        runner = CliRunner(env=self.environment | environment, **SEPARATE)
        result = runner.invoke(cli, ["calls", *arguments], standalone_mode=False)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


@pytest.fixture
def run(api: EmulatorThread) -> Run:
    return Run(api)


def rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_list_for_people(api, run):
    api.add_call(id="call_one", duration=245, from_number="+15550001")
    api.add_call(id="call_two", status="in-progress")
    result = run("list", "-o", "table")
    assert result.return_value == 0
    lines = result.stdout.splitlines()
    one = next(line for line in lines if "call_one" in line)
    assert one.split()[3] == "+15550001"
    assert "4:05" in one
    assert "completed" in one
    assert any("call_two" in line and "call in progress" in line for line in lines)


def test_a_list_for_programs(api, run):
    for number in range(250):
        api.add_call(id=f"c{number}")
    assert len(rows(run("list", "--json"))) == 20
    assert [request.query["limit"] for request in api.requests] == ["20"]
    assert len(rows(run("list", "--json", "--limit", "130"))) == 130
    everything = rows(run("list", "--json", "--all"))
    assert {row["id"] for row in everything} == {f"c{number}" for number in range(250)}
    assert everything[0].keys() >= {"fromNumber", "durationSeconds", "recordingUrl"}


def test_filters(api, run):
    agent, number = api.agents[0].id, api.numbers[0].id
    api.add_call(id="in", direction="inbound", agent_id=agent)
    api.add_call(id="out", direction="outbound", phone_number_id=number)
    assert [row["id"] for row in rows(run("list", "--json", "--direction", "inbound"))] == ["in"]
    assert [row["id"] for row in rows(run("list", "--json", "--agent", agent))] == ["in"]
    assert [row["id"] for row in rows(run("list", "--json", "--number", number))] == ["out"]


def test_one_call(api, run):
    api.add_call(id="call_one", duration=61, transcript=[("agent", "Hello"), ("user", "Hi")])
    sheet = run("get", "call_one").stdout
    assert "call_one" in sheet
    assert "1:01" in sheet
    assert "Hello" in sheet
    assert rows(run("get", "call_one", "--json"))[0]["id"] == "call_one"


def test_waiting_for_the_end_of_a_call(api, run):
    api.add_call(id="call_one")
    run("get", "call_one", "--wait", "10s")
    assert api.requests[-1].query == {"wait": "true", "timeout": "10"}


@pytest.mark.parametrize("shape", ["list", "speakers", "text"])
def test_a_transcript_in_any_shape(api, run, shape):
    api.settings.transcript_shape = shape
    api.add_call(id="c", duration=10, transcript=[("agent", "Hello"), ("user", "Grüße")])
    lines = run("transcript", "c").stdout.splitlines()
    assert [line.split()[1:] for line in lines] == [["agent", "Hello"], ["user", "Grüße"]]
    assert "Hello" in run("transcript", "c", "--json").stdout


def test_following_a_finished_call_ends_with_its_replay(api, run):
    api.settings.stream_ended = False
    api.add_call(id="c", duration=10, transcript=[("agent", "Hello")])
    result = run("follow", "c")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    assert api.requests.count("transcript_stream") == 1


def test_a_transcript(api, run):
    api.add_call(id="c", duration=10, transcript=[("agent", "Hello"), ("user", "Grüße")])
    lines = run("transcript", "c").stdout.splitlines()
    assert [line.split()[1:] for line in lines] == [["agent", "Hello"], ["user", "Grüße"]]
    assert rows(run("transcript", "c", "--json"))[0]["transcript"][0]["content"] == "Hello"


def test_follpending_of(api, run):
    api.add_call(id="c", duration=10, transcript=[("agent", "Hello"), ("user", "Hi")])
    result = run("follow", "c")
    assert [line.split()[1:] for line in result.stdout.splitlines()] == [
        ["agent", "Hello"],
        ["user", "Hi"],
    ]
    assert "completed after 0:10" in result.stderr
    events = rows(run("follow", "c", "--json"))
    assert [event["event"] for event in events] == ["connected", "turn", "turn", "ended"]


def test_hanging_up(api, run):
    api.add_call(id="c", status="in-progress")
    assert rows(run("end", "c", "--json"))[0]["status"] == "in-progress"
    assert api.requests.count("end_call") == 1


EVIL = "\x1b[2J\x1b]0;owned\x07\u202eevil\r\nfake line"


def test_nothing_from_the_network_is_obeyed_by_a_terminal(api, run):
    api.add_call(
        id="c" + EVIL,
        from_number=EVIL,
        agent_name=EVIL,
        transcript=[("user", EVIL), (EVIL, "x")],
    )
    outputs = [
        run("list"),
        run("list", "--json"),
        *(
            run(what, "c" + EVIL, *more)
            for what in ("get", "transcript", "follow")
            for more in ([], ["--json"])
        ),
    ]
    for result in outputs:
        for stream in (result.stdout, result.stderr):
            assert not set(stream) & {"\x1b", "\x07", "\u202e", "\r"}
            assert not any(line.startswith("fake line") for line in stream.splitlines())


def test_markup_in_the_data_is_only_text(api, run):
    api.add_call(id="c", agent_name="[red]x[/red][link=file:///etc]y")
    assert "[red]x[/red][link=file:///etc]y" in run("get", "c").stdout


def test_an_unknown_call(run):
    from agentphone_async import NotFoundError
    from agentphone_async.cli.exit_codes import explain

    with pytest.raises(NotFoundError, match="call_none") as caught:
        run("get", "call_none")
    assert explain(caught.value)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--limit", "0"], "'0' is not a whole number, 1 or more"),
        (["list", "--agent", "a", "--status", "b"], "use one kind"),
        (["list", "--direction", "up"], "'up' is not one of"),
        (["get"], "Missing argument"),
        (["get", "c", "--wait", "soon"], "soon"),
        (["get", "c", "--wait", "5s"], "'5s' is not from 10 s to 5 min"),
        (["get", "c", "--wait", "301s"], "'301s' is not from 10 s to 5 min"),
        (["list", "--all", "--limit", "20"], "--all and --limit exclude each other"),
    ],
)
def test_usage(api, run, arguments: list[str], message: str):
    import click

    with pytest.raises(click.ClickException) as caught:
        run(*arguments)
    assert caught.value.exit_code == 2
    assert message in caught.value.format_message()
    assert len(api.requests) == 0


def test_without_a_key(run):
    from agentphone_async.errors import MissingKeyError

    with pytest.raises(MissingKeyError, match="AGENTPHONE_API_KEY"):
        run("list", AGENTPHONE_API_KEY="")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0:00"),
        (59.6, "1:00"),
        (245, "4:05"),
        (3723, "1:02:03"),
        (-1, "-"),
        (float("nan"), "-"),
        (1e12, "-"),
    ],
)
def test_durations(seconds: float | None, text: str):
    assert duration(seconds) == text
