"""Options in sections, and bundles of options that several commands share.

Every option names its section; ``--help`` prints them by section, and the configuration file has a
table for each. To add an option to one command::

    @option(Section.LIMITS, "--max-files", type=int, help="Stop after N files.")

To add one to all commands that share a bundle, add it to the bundle below and a field of the same
name to the bundle's class.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli import config_file, groups
from agentphone_async.cli.config_file import ENVIRONMENT, Option, Section
from agentphone_async.cli.connection import Transfers, connection_of
from agentphone_async.cli.param_types import (
    Count,
    File,
    Finite,
    Rate,
    Seconds,
    Whole,
)
from agentphone_async.cli.showing import Logs, Showing

if TYPE_CHECKING:
    from agentphone_async.cli.after import Program

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


connection_options = bundle(
    "connection",
    connection_of,
    option(
        Section.CONNECTION,
        "--base-url",
        metavar="URL",
        envvar=[ENVIRONMENT + "BASE_URL", "AGENTPHONE_BASE_URL"],
        help="Where the API is.  [default: AGENTPHONE_BASE_URL, https://api.agentphone.ai]",
    ),
    option(
        Section.CONNECTION,
        "--api-key-file",
        metavar="FILE",
        type=File(),
        help="Read the API key from a file.  [default: AGENTPHONE_API_KEY]",
    ),
    option(Section.CONNECTION, "--sub-account", metavar="ID", help="Act for a sub-account."),
    option(
        Section.CONNECTION,
        "--ca-file",
        metavar="FILE",
        type=File(exists=True, dir_okay=False),
        help="Certificate authorities (PEM) in addition to the system's.",
    ),
    option(
        Section.CONNECTION,
        "--retries",
        type=Whole(0, 99),
        default=4,
        metavar="N",
        help="Retries of each request, where trying again is safe.",
    ),
    option(
        Section.CONNECTION,
        "--retry-time",
        type=Seconds(),
        default="2m",
        help="How long to keep trying, and to wait out an outage.",
    ),
    option(
        Section.CONNECTION,
        "--max-wait",
        type=Seconds(),
        default="1h",
        help="Longest wait that a server may ask for.",
    ),
    option(
        Section.CONNECTION,
        "--proxy",
        metavar="URL",
        help="HTTP proxy for everything.  [default: HTTPS_PROXY, HTTP_PROXY, NO_PROXY]",
    ),
    option(
        Section.CONNECTION,
        "--header",
        multiple=True,
        metavar="'NAME: VALUE'",
        help="Send this to the API, too; @FILE reads headers from a file. May be repeated.",
    ),
    option(
        Section.CONNECTION,
        "--allow-http",
        is_flag=True,
        help="Permit http:// beyond loopback, with keys that are not live ones.",
    ),
)
"""Where the API is and who asks: one ``connection`` argument."""


transfer_options = bundle(
    "transfers",
    Transfers,
    option(
        Section.SPEED,
        "--transfers",
        "count",
        type=Count(),
        default="auto",
        help="Recordings fetched at a time; auto finds out how many are best.",
    ),
    option(
        Section.SPEED,
        "--tpslimit",
        type=Finite(1e-3, 1e6),
        metavar="N",
        help="Requests per second, listing and fetching together.",
    ),
    option(Section.SPEED, "--bwlimit", type=Rate(), help="Bytes per second, such as 8M."),
    option(
        Section.SPEED,
        "--fsync",
        "sync",
        type=click.Choice(["batch", "each", "off"]),
        default="batch",
        help="When bytes are forced to the disk.",
    ),
)
"""How hard the network and the disk are used: one ``transfers`` argument."""


def _program(exec_: str | None) -> Program | None:
    if exec_ is None:
        return None
    from agentphone_async.cli.after import Program

    return Program.parse(exec_)


exec_option = bundle(
    "program",
    _program,
    option(
        Section.OUTPUT,
        "--exec",
        "exec_",
        metavar="'CMD {path}'",
        help="Run a program for each recording that has arrived; also {call_id}, {size}, {sha256}.",
    ),
)
"""A program for each recording: one ``program`` argument."""


quiet_option = option(
    Section.OUTPUT, "-q", "--quiet", is_flag=True, help="Print only what went wrong."
)


BY_TERMINAL = "table on a terminal, tsv elsewhere"


def output_option(*formats: str, default: str = BY_TERMINAL) -> Decorator:
    """Add ``-o`` and ``--json``; the command gets the format's name, or None, as ``output``.

    None means the default, of which help tells where TSV is among the formats. Usually `tables`
    decides: a table on a terminal, and TSV elsewhere.
    """

    def pick(output: str | None, as_json: bool) -> str | None:
        if as_json and output not in {None, "json"}:
            raise click.UsageError(f"--json and -o {output} exclude each other; leave one out")
        return "json" if as_json else output

    return bundle(
        "output",
        pick,
        option(
            Section.OUTPUT,
            "-o",
            "--output",
            type=click.Choice(formats),
            help="Format of standard output."
            + (f"  [default: {default}]" if "tsv" in formats else ""),
        ),
        option(Section.OUTPUT, "--json", "as_json", is_flag=True, help="The same as -o json."),
    )


log_options = bundle(
    "logs",
    Logs,
    option(
        Section.OUTPUT,
        "--log-file",
        metavar="FILE",
        type=File(dir_okay=False),
        help="Append log lines to this file (mode 0600).",
    ),
    option(
        Section.OUTPUT,
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Least important log lines to write.  [default: info with --log-file, else warning]",
    ),
)
"""What is logged, and where: one ``logs`` argument."""


def display_options(command: Function) -> Function:
    """Add the options for what a run shows: one ``showing`` argument."""

    @functools.wraps(command)
    def with_showing(
        *args: Any, output: str | None, quiet: bool, verbose: int, logs: Logs, **kwargs: Any
    ) -> Any:
        showing = Showing(as_json=output == "json", quiet=quiet, verbose=verbose, logs=logs)
        return command(*args, showing=showing, **kwargs)

    return output_option("text", "json")(
        quiet_option(
            option(
                Section.OUTPUT,
                "-v",
                "--verbose",
                count=True,
                help="Name every call, and log retries and pauses; -vv logs everything.",
            )(log_options(with_showing))
        )
    )
