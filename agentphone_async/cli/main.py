"""The command ``agentphone-async``: which commands there are, and how every one of them ends.

A command's module is imported when the command runs; help and version need click alone.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from agentphone_async._version import __version__
from agentphone_async.cli.exit_codes import INTERRUPTED, USAGE, explain
from agentphone_async.cli.groups import CommandMissingError, Group

COMMANDS = {
    "archive": "Archive the recordings of a day or a range.",
    "fetch": "Fetch recordings by call id.",
    "watch": "Archive each call soon after its end, as webhooks tell of it.",
    "serve": "Search an archive and listen, on a page on this machine.",
    "verify": "Check an archive against its catalog.",
    "forget": "Erase calls from an archive for good.",
    "prune": "Erase old calls from an archive.",
    "hold": "Keep calls from being erased.",
    "ls": "List what an archive holds.",
    "export": "Write an archive's catalog as CSV or JSONL.",
    "missing": "List calls in the API that are not in an archive.",
    "catalog": "Look after an archive's catalog.",
    "calls": "List, show, follow and end calls.",
    "emulate": "Serve an emulated AgentPhone API on loopback.",
    "demo": "Archive an emulated day, to see how it works.",
    "config": "Show the defaults of options, and where they came from.",
    "completion": "Print a shell's completion script.",
    "bench": "Measure what your network gives, and with how many transfers.",
}


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}
"""Settings of every command: help is as wide as the terminal, up to what can be read."""


class LazyGroup(Group):
    """A group whose commands are known by name and imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command, if there is one of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"agentphone_async.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="agentphone-async")
def cli() -> None:
    """Archive AgentPhone call recordings: fast, resumable, and careful with data.

    The API key is read from AGENTPHONE_API_KEY or --api-key-file; it is never a flag.

    Exit codes: 0 done, 1 some recordings failed, 2 usage, 3 key refused, 4 destination,
    5 archive locked, 130 interrupted.
    """


def main() -> NoReturn:
    """Run the command line and exit; nothing but one line explains a failure."""
    gc.set_threshold(500_000)  # what is imported stays; looking for garbage takes 8 % of a start
    _fill_gaps()
    try:
        code = cli.main(prog_name="agentphone-async", standalone_mode=False)
    except click.exceptions.Abort:
        code = INTERRUPTED
    except CommandMissingError as error:
        click.echo(error.message, err=True)
        code = USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        name = context.command_path if context else "agentphone-async"
        click.echo(f"{name}: {_one_line(error.format_message())}", err=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (BrokenPipeError, SystemExit):  # which click makes of it
        code = INTERRUPTED  # the reader has gone (``| head``): stop quietly, as other tools do
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback for users
        code, line = explain(error)
        click.echo(f"agentphone-async: {line}", err=True)
    _forget_unwritten()
    gc.freeze()  # else the interpreter looks for garbage again, a fifth of what a short run costs
    sys.exit(code if isinstance(code, int) else 0)


def _fill_gaps() -> None:
    """Give standard streams that were closed (``>&-``) to nobody.

    Else the next file that is opened, a recording perhaps, would be standard output or error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115, PTH123


def _one_line(message: str) -> str:
    from agentphone_async.protocol.display import printable

    return printable(" ".join(map(str.strip, message.split("\n"))).rstrip("."), 1000)


def _forget_unwritten() -> None:
    """Write out standard output; if it has failed, see that nobody tries again.

    The interpreter would, at its very end, and have complaints and an exit code of its own.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
