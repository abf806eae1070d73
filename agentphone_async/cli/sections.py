"""Commands and groups whose ``--help`` shows options in sections, and bundles of options."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import reduce
from typing import Any

import click

from agentphone_async.cli import config_file, groups
from agentphone_async.cli.config_file import ENVIRONMENT, Option, Section
from agentphone_async.cli.param_types import File

Function = Callable[..., Any]
"""A command's function, before click makes a command of it."""

Decorator = Callable[[Function], Function]


class Command(click.Command):
    """A command whose help shows its options in sections, and that reads the configuration."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        self.params.append(
            click.Option(
                ["--config"],
                metavar="FILE",
                type=File(),
                is_eager=True,
                expose_value=False,
                envvar=ENVIRONMENT + "CONFIG",
                callback=config_file.read,
                help="Read defaults from this file.  [default: ~/.config/agentphone-async/"
                "config.toml, if it is there]",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click has it; a broken configuration file does not keep anybody from the help."""
        ctx.meta[config_file.NOT_READ] = bool(set(args) & set(ctx.help_option_names))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The sections, then what belongs to none."""
        sections: dict[Section | None, list[tuple[str, str]]] = {each: [] for each in Section}
        sections[None] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections[getattr(parameter, "section", None)].append(record)
        for section, records in sections.items():
            if records:
                with formatter.section(section.value if section else "Other"):
                    formatter.write_dl(records)


class Group(groups.Group):
    """A group of such commands."""

    command_class = Command


def option(section: Section, *names: str, **settings: Any) -> Decorator:
    """An option of a section; see `Option` and `click.option`."""
    return click.option(*names, cls=Option, section=section, **settings)


def add_options(function: Function, *options: Decorator) -> Function:
    """The function with these options, in this order within each section."""
    return reduce(lambda decorated, each: each(decorated), reversed(options), function)


def bundle(name: str, make: Callable[..., Any], *options: Decorator) -> Decorator:
    """Options that become one argument of the command.

    Args:
        name: the argument's name.
        make: makes its value; called with the options' values by their names.
        options: made by `option`.
    """

    def probe() -> None:
        """Collects the options, whose names only click knows."""

    made = add_options(probe, *options)
    taken = [each.name for each in made.__click_params__]  # type: ignore[attr-defined]

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def with_bundle(*args: Any, **kwargs: Any) -> Any:
            value = make(**{each: kwargs.pop(each) for each in taken})
            return command(*args, **{name: value}, **kwargs)

        return add_options(with_bundle, *options)

    return decorate
