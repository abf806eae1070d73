"""Options: each has a section, a key in the configuration file, and its place in the reference."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import click
import pytest

from agentphone_async.cli import config_file
from agentphone_async.cli.config_file import ENVIRONMENT, Option, Section
from agentphone_async.cli.main import cli
from agentphone_async.cli.man import page
from tests.support.archives import CommandLine
from tests.support.commands import ROOT

COMMANDS = dict(config_file.commands(cli))
NO_KEY = {
    "--absent", "--dry-run", "--emulate", "--from-file", "--json", "--output", "--plot", "--repair",
    "--wait", "--to",
}  # fmt: skip
"""Options that may be without a key: they are said each time, or name what one run reads or writes."""


def test_every_option_has_a_section_a_key_and_a_variable():
    known = config_file.known_keys(cli)
    options = [(name, option) for name, each in COMMANDS.items() for option in each.params]
    for name, option in options:
        if not isinstance(option, click.Option) or "--config" in option.opts:
            continue
        assert isinstance(option, Option), f"{name} {option.opts}: made without a section"
        assert isinstance(option.section, Section)
        long = next(each for each in option.opts if each.startswith("--"))
        if option.key is None:
            assert option.envvar is None
        else:
            assert option.key == long[2:]
            names = [option.envvar] if isinstance(option.envvar, str) else option.envvar
            assert ENVIRONMENT + option.key.replace("-", "_").upper() in names
            assert option.key in known[option.section.table]
            assert option.key in known[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_option_once_in_its_section(name: str):
    command = COMMANDS[name]
    shown = command.get_help(click.Context(command, info_name=name))
    for option in command.params:
        if isinstance(option, Option) and not option.hidden:
            body = shown.split(f"\n{option.section.value}:\n")[1].split("\n\n")[0]
            assert re.search(rf"(^|[ ,]){re.escape(option.opts[-1])}\b", body, re.MULTILINE)
    assert "/ --no-" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_the_sections_are_those_of_the_configuration_reference():
    text = (ROOT / "docs" / "howto" / "configure.md").read_text(encoding="utf-8")
    assert {each.table for each in Section} <= set(re.findall(r"`\[(\w+)\]`", text))


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home" / "agentphone-async"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return folder / "config.toml"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def settings(run: CommandLine, *arguments: object) -> dict[str, tuple[str, str]]:
    ended = run("config", "show", *arguments, "-o", "json")
    assert (ended.code, ended.err) == (0, "")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    return {row["key"]: (row["value"], row["source"]) for row in rows}


def test_what_stands_nearer_wins(run, config: Path, monkeypatch: pytest.MonkeyPatch):
    config.write_text(
        "[connection]\nretries = 1\nretry_time = '1m'\nbase-url = 'https://a.example'\n"
        "[archive]\nretries = 2\nmetadata = true\n[verify]\nretries = 9\n"
    )
    monkeypatch.setenv("AGENTPHONE_ASYNC_RETRY_TIME", "3m")
    shown = settings(run)
    assert shown["retries"] == ("2", f"{config} [archive] retries")
    assert shown["retry-time"] == ("3m", "AGENTPHONE_ASYNC_RETRY_TIME")
    assert shown["base-url"] == ("https://a.example", f"{config} [connection] base-url")
    assert shown["metadata"] == ("true", f"{config} [archive] metadata")
    assert shown["grace"] == ("24h", "built in")
    assert settings(run, "fetch")["retries"] == ("1", f"{config} [connection] retries")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_where_a_value_came_from_is_shown_in_any_width(run, config: Path, monkeypatch, width: int):
    config.write_text("[archive]\nretries = 2\ndest = '/srv/calls/with/a/name/that/is/long'\n")
    monkeypatch.setenv("COLUMNS", str(width))
    ended = run("config", "show", "-o", "table")
    assert ended.err == f"the file is {config}\n"
    lines = ended.out.splitlines()
    key = next(line for line in lines if "/srv/calls" in line)
    assert key.split()[-1] == "/srv/calls/with/a/name/that/is/long"
    assert "dest" in key
    if width >= 80:
        assert "file [archive]" in key
    assert all(len(line) <= width for line in lines if line is not key)


def test_the_command_line_wins_and_can_switch_off(run, config: Path, monkeypatch):
    from agentphone_async.cli import archiving

    seen = []
    monkeypatch.setattr(archiving.ArchiveJob, "run", lambda job, _: seen.append(job) or 0)
    config.write_text("[archive]\ndest = 'here'\nsince = 'last'\nmetadata = true\nretries = 2\n")
    assert run("archive").code == 0
    assert run("archive", "there", "--no-metadata", "--retries", "5").code == 0
    first, second = seen
    assert (str(first.dest), first.options.metadata, first.connection.retries) == ("here", True, 2)
    assert (str(second.dest), second.options.metadata, second.connection.retries) == (
        "there",
        False,
        5,
    )
    assert first.options.since_last


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[archvie]\nretries = 1", "there is no table [archvie]; did you mean 'archive'?"),
        ("[archive]\nretrys = 1", "[archive] has no key 'retrys'; did you mean 'retries'?"),
        ("[connection]\ngrace = 1", "[connection] has no key 'grace'"),
        ("[connection]\napi-key = 'sk_live_x'", "holds a secret; write the key into a file"),
        ("[connection]\nproxy = 'http://a:sk_live_x@b'", "proxy holds a password"),
        ("[connection]\nheader = ['X-A']", "a header is not 'NAME: VALUE'"),
        ("[connection]\nheader = ['X-A: 1', '@/nonexistent']", "cannot read headers from"),
        ("retries = 1", "there is no table [retries]"),
        ("archive = 1", "archive is a value; write a table [archive]"),
        ("[archive]\nretries = 2026-01-01", "2026, 1, 1): write one text or number"),
        (
            "[archive]\nretries = true",
            "[archive] retries = True: write a value; it is not a switch",
        ),
        ("[archive]\nretries = [1]", "[archive] retries = [1]: write one text or number"),
        ("[archive]\nretries = 2.5", "2.5 is not a whole number from 0 to 99"),
        ("[archive]\nmetadata = 'yes'", "[archive] metadata = 'yes': write true or false"),
        ("[output]\nquiet = 1", "[output] quiet = 1: write true or false"),
        ("[connection]\nheader = [1]", "header = [1]: write texts in the list"),
        (
            "[connection]\nheader = 'Authorization: Bearer sk_live_x'",
            "header holds a secret; write",
        ),
        ("[connection]\nheader = ['a: b', 'x-api-key: sk_live_x']", "header holds a secret; write"),
        ("[connection]\napi-key-file = 'sk_live_x'", "is a key, and not the name of a file"),
        ("[emulate]\nwebhook-secret = 'sk_live_x'", "holds a secret; write"),
        ("[connection.more]\nretries = 1", "[connection] has no key 'more'"),
        ("[archive", "is not TOML"),
        ("[archive]\nretries = 100", "[archive] retries)"),
        ("[archive]\ngrace = 'soon'", "'soon' is not a duration"),
        ("[archive]\ndry-run = true", "[archive] has no key 'dry-run'"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run, config: Path, text: str, message: str):
    config.write_text(text)
    ended = run("archive", "a", "--date", "today")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert "sk_live_x" not in ended.err
    assert run("archive", "--help").code == 0


def test_a_file_that_is_named_must_be_there(run, tmp_path: Path):
    ended = run("ls", "a", "--config", tmp_path / "none.toml")
    assert ended.code == 2
    assert "there is no configuration file" in ended.err
    assert run("config", "show", "nonsense").code == 2


def test_bad_variables_are_named(run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AGENTPHONE_ASYNC_RETRIES", "many")
    ended = run("archive", "a", "--date", "today")
    assert ended.code == 2
    assert "(from AGENTPHONE_ASYNC_RETRIES)" in ended.err
    monkeypatch.setenv("AGENTPHONE_ASYNC_RETRIES", "")
    monkeypatch.setenv("AGENTPHONE_ASYNC_METADATA", "perhaps")
    ended = run("archive", "a", "--date", "today")
    assert ended.code == 2
    assert "'perhaps'" in ended.err
    assert "(from AGENTPHONE_ASYNC_METADATA)" in ended.err
    assert "is neither true nor false" in ended.err


@pytest.mark.parametrize(
    ("value", "meant"),
    [("1", True), ("YES", True), ("on", True), ("t", True), ("0", False), ("No", False), ("off", False), ("", None)],
)  # fmt: skip
def test_switches_and_lists_come_from_the_environment(run, monkeypatch, value: str, meant):
    from agentphone_async.cli import archiving

    seen = []
    monkeypatch.setattr(archiving.ArchiveJob, "run", lambda job, _: seen.append(job) or 0)
    monkeypatch.setenv("AGENTPHONE_ASYNC_METADATA", value)
    monkeypatch.setenv("AGENTPHONE_ASYNC_HEADER", "X-Team: all calls\nX-Two: 2")
    assert run("archive", "there", "--date", "today").code == 0
    assert seen[0].options.metadata is meant
    assert seen[0].connection.header == ("X-Team: all calls", "X-Two: 2")


def test_the_folder_is_given_once(run, tmp_path: Path):
    assert "say which archive" in run("ls").err
    assert "given twice" in run("ls", "a", "-d", "b").err
    assert run("ls", "-d", tmp_path).err == run("ls", tmp_path).err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_the_program(run, shell: str):
    ended = run("completion", shell)
    assert ended.code == 0
    assert "_AGENTPHONE_ASYNC_COMPLETE" in ended.out
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=ended.out, text=True, check=True)


def test_the_man_page_has_every_command_and_option():
    text = page().replace("\\-", "-")
    for name, command in COMMANDS.items():
        assert name.replace("-", " ") in text or name in text
        for option in command.params:
            if isinstance(option, Option):
                assert option.opts[-1] in text


def test_headers_and_patience_reach_the_client(tmp_path: Path):
    from agentphone_async.cli.connection import Connection

    (tmp_path / "headers").write_text("X-Team: calls\n\nX-Gateway: open:sesame\n")
    header = ("X-One: 1", f"@{tmp_path / 'headers'}")
    connection = Connection(None, None, None, None, 0, 5.0, 60.0, "http://proxy:3128", header)
    settings = connection.client(key_needed=False).settings
    assert settings.headers == {"X-One": "1", "X-Team": "calls", "X-Gateway": "open:sesame"}
    assert (settings.retry.attempts, settings.retry.longest_wait) == (1, 60.0)
    assert settings.proxy == "http://proxy:3128"
