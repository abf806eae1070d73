"""The reference leaves nothing out: public names, commands, options, faults, exit codes."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import get_args

import click
import pytest

import agentphone_async
from agentphone_async import emulator
from agentphone_async.cli import exit_codes
from agentphone_async.cli.main import COMMANDS, cli
from agentphone_async.cli.summary import Summary
from agentphone_async.emulator.faults.fault import _CHOICES
from agentphone_async.emulator.faults.language import _READERS
from agentphone_async.emulator.routes import ROUTES
from tests.docs.blocks import ROOT

REFERENCE = ROOT / "docs" / "reference"
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (agentphone_async, emulator)
    for name in module.__all__
    if name != "__version__"
}
UNION = {"agentphone_async.Outcome"}
"""A type alias, which has no docstring of its own."""


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def test_every_public_name_has_its_place_in_the_reference():
    text = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    told = set(re.findall(r"^\.\. (?:auto\w+|py:\w+):: ([\w.]+)", text, re.MULTILINE))
    assert PUBLIC.keys() <= told, PUBLIC.keys() - told


def test_every_public_name_has_a_docstring():
    undocumented = [
        f"{name} {member}"
        for name in PUBLIC.keys() - UNION
        for member, value in [("", PUBLIC[name]), *members_of(PUBLIC[name])]
        if not (inspect.getdoc(value) or "").strip()
    ]
    assert undocumented == []


def members_of(thing: object) -> Iterator[tuple[str, object]]:
    """The public methods and properties that a class of ours defines."""
    if inspect.isclass(thing):
        for name, value in vars(thing).items():
            if not name.startswith("_") and isinstance(value, FunctionType | property):
                yield name, value


def commands() -> Iterator[tuple[str, click.Command]]:
    def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for sub in command.list_commands(context):
                child = command.get_command(context, sub)
                assert child is not None
                yield from below(f"{name} {sub}".strip(), child)

    yield from below("", cli)


def test_every_command_and_option_is_explained():
    seen = dict(commands())
    assert seen.keys() >= {"", *COMMANDS, "calls list", "calls follow"}
    for name, command in seen.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_reference(name):
    lines = page("cli.md").splitlines()
    place = lines.index(f".. click:: agentphone_async.cli.{name}:command")
    assert lines[place + 1].strip() == f":prog: agentphone-async {name}"
    if isinstance(importlib.import_module(f"agentphone_async.cli.{name}").command, click.Group):
        assert lines[place + 2].strip() == ":nested: full"


def test_every_fault_is_in_the_reference():
    told = set(re.findall(r"`([\w.-]+)`", page("faults.md")))
    assert _READERS.keys() <= told, _READERS.keys() - told
    choices = {str(value) for name, values in _CHOICES if name != "route" for value in values}
    assert choices - {"None"} <= told, choices - told


def test_every_route_is_in_the_reference():
    assert set(ROUTES) <= set(re.findall(r"`(\w+)`", page("emulator.md")))


def test_every_exit_code_is_explained():
    text = page("cli.md")
    codes = {value for name, value in vars(exit_codes).items() if name.isupper()}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}


def test_every_field_of_the_summary_is_explained():
    told = set(re.findall(r"`(\w+)`", page("events.md")))
    assert Summary().as_event().keys() - {"event"} <= told


def test_every_state_of_the_catalog_is_explained():
    from agentphone_async.archive.catalog.rows import State

    assert set(get_args(State)) == set(
        re.findall(r"^\| `(\w+)` \|", page("catalog.md"), re.MULTILINE)
    )


def test_every_logger_is_named_after_its_room_and_explained():
    text = (ROOT / "docs" / "howto" / "logging.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(agentphone_async\.\w+)` \|", text, re.MULTILINE))
    package = ROOT / "agentphone_async"
    made = {
        (".".join(name.split(".")[:2]), path.relative_to(package).parts[0])
        for path in package.rglob("*.py")
        for name in re.findall(r'= logging.getLogger\("(.+)"\)', path.read_text(encoding="utf-8"))
    }
    assert {name for name, room in made if room != "cli"} == explained
    assert all(name == f"agentphone_async.{room}" for name, room in made if room != "cli")


def test_every_test_that_proves_a_guarantee_exists():
    text = (ROOT / "docs" / "explanation" / "guarantees.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)`", text))
    assert len(named) > 40
    for file, test in sorted(named):
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(async )?def {test}\(", source, re.MULTILINE), f"{file}::{test}"


def test_every_row_of_the_guarantees_names_a_test():
    text = (ROOT / "docs" / "explanation" / "guarantees.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row for row in rows if "::test_" not in row and not row.endswith(" Test |")] == []
