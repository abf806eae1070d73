"""Options in sections: what ``--help`` and the configuration file know of each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from enum import Enum
from functools import reduce
from typing import Any

import click

from agentphone_async.cli import config_file, groups
from agentphone_async.cli.param_types import File, Line, Switch

Function = Callable[..., Any]
"""A command's function, before click makes a command of it."""

Decorator = Callable[[Function], Function]

ENVIRONMENT = "AGENTPHONE_ASYNC_"
"""What the environment variable of every option begins with."""


class Section(Enum):
    """The sections of ``--help``, in this order, and the tables of the configuration file."""

    WHAT = "What"
    WHERE = "Where"
    AGAIN = "When again"
    SPEED = "Speed"
    LIMITS = "Limits"
    CONNECTION = "Connection"
    OUTPUT = "Output"

    @property
    def table(self) -> str:
        """The table's name in the configuration file."""
        return self.name.lower()


class Option(click.Option):
    """An option of a section. It may come from the environment and the configuration file.

    Args:
        section: where ``--help`` shows it.
        config: whether the configuration file and the environment may set it; not so for what
            should be said each time, such as ``--dry-run``.
    """

    def __init__(
        self, names: Sequence[str], *, section: Section, config: bool = True, **settings: Any
    ) -> None:
        flag = settings.get("is_flag", False)
        long = next(name for name in names if name.startswith("--") and "/" not in name)
        if flag and config and not long.startswith("--no-"):
            # What a configuration file has switched on can be switched off for once.
            names = [name if name != long else f"{name}/--no-{long[2:]}" for name in names]
        if flag:
            settings.setdefault("type", Switch())
        elif settings.get("multiple"):
            settings.setdefault("type", Line())
        settings.setdefault("show_default", not flag and settings.get("default") is not None)
        self.section = section
        self.key = long[2:] if config else None
        if config:
            settings.setdefault("envvar", ENVIRONMENT + long[2:].replace("-", "_").upper())
        super().__init__(list(names), **settings)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As click has it, without the switch that turns a flag off."""
        off, self.secondary_opts = self.secondary_opts, []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = off

    def get_help_extra(self, ctx: click.Context) -> Any:
        """As click has it, without the range of a number: the error says it where it matters."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra

    def handle_parse_result(
        self, ctx: click.Context, opts: Any, args: list[str]
    ) -> tuple[Any, list[str]]:
        """As click has it; what is wrong in a file or the environment is said to be there."""
        try:
            return super().handle_parse_result(ctx, opts, args)
        except click.BadParameter as error:
            if (origin := config_file.origin(ctx, self)) is None:
                raise
            message = f"{error.message} (from {origin})"
            raise click.BadParameter(message, ctx, self, error.param_hint) from error


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
