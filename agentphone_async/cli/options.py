"""Options in sections, and bundles of options that several commands share.

Every option names its section; ``--help`` prints them by section, and the configuration file has a
table for each. To add an option to one command::

    @option(Section.LIMITS, "--max-files", type=int, help="Stop after N files.")

To add one to all commands that share a bundle, add it to the bundle below and a field of the same
name to the bundle's class.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli.config_file import COMMANDLINE, ENVIRONMENT, Option, Section
from agentphone_async.cli.connection import Transfers, connection_of
from agentphone_async.cli.param_types import (
    Count,
    File,
    Finite,
    Folder,
    Place,
    Rate,
    Seconds,
    Whole,
)
from agentphone_async.cli.sections import (
    Command,
    Decorator,
    Function,
    Group,
    add_options,
    bundle,
    option,
)
from agentphone_async.cli.showing import Logs, Showing

if TYPE_CHECKING:
    from agentphone_async.cli.after import Program

__all__ = [
    "ENVIRONMENT",
    "Command",
    "Decorator",
    "Function",
    "Group",
    "Option",
    "Section",
    "add_options",
    "archive_folder",
    "bundle",
    "connection_options",
    "display_options",
    "exec_option",
    "option",
    "output_option",
    "quiet_option",
    "transfer_options",
]  # fmt: skip


def archive_folder(command: Function, *, urls: bool = False) -> Function:
    """Add ``DEST``, which ``-d`` and ``--dest`` name, too; the command gets it as ``dest``.

    With ``urls`` it may be a bucket's URL, and is text then.
    """
    kind = Place() if urls else Folder()

    @functools.wraps(command)
    def with_folder(
        *args: Any, dest: Path | str | None, folder: Path | str | None, **kwargs: Any
    ) -> Any:
        context = click.get_current_context()
        if dest is not None and folder is not None:
            if context.get_parameter_source("dest") is COMMANDLINE:
                raise click.UsageError(
                    f"the folder is given twice, as {str(folder)!r} and as {str(dest)!r}; "
                    "leave one out"
                )
            dest = None
        if (chosen := folder or dest) is None:
            raise click.UsageError("say which archive: DEST, or -d DIR")
        return command(*args, dest=chosen, **kwargs)

    return add_options(
        with_folder,
        click.argument("folder", type=kind, required=False, metavar="DEST"),
        option(Section.WHERE, "-d", "--dest", type=kind, metavar="DIR", help="The same as DEST."),
    )


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
