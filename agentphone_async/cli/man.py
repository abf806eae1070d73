"""The man page, made from the commands themselves; the wheel ships it (see hatch_build.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from agentphone_async._version import __version__
from agentphone_async.cli import config_file
from agentphone_async.cli.config_file import ENVIRONMENT, Section
from agentphone_async.cli.main import CONTEXT, cli

FILES = """
.SH FILES
.TP
.I ~/.config/agentphone\\-async/config.toml
Defaults of options. A table named after a command, such as [archive], or after a section of the
options, such as [connection]; keys are the options' names without dashes in front.
"""

VARIABLES = f"""
.SH ENVIRONMENT
.TP
.B AGENTPHONE_API_KEY
The API key.
.TP
.B AGENTPHONE_BASE_URL
Where the API is.
.TP
.B {ENVIRONMENT}NAME
The value of the option \\-\\-name, such as {ENVIRONMENT}RETRIES=7.
.TP
.B AGENTPHONE_DEBUG
Show a traceback for errors that nobody foresaw.
"""


def page() -> str:
    """The whole page, in roff."""
    parts = [
        f'.TH AGENTPHONE\\-ASYNC 1 "" "agentphone\\-async {__version__}" "User Commands"',
        ".SH NAME",
        "agentphone\\-async \\- archive AgentPhone call recordings",
        ".SH SYNOPSIS",
        ".B agentphone\\-async",
        ".I COMMAND",
        "[OPTIONS] ...",
        ".SH DESCRIPTION",
        *_paragraphs(cli.help or ""),
        ".SH COMMANDS",
    ]
    for name, command in config_file.commands(cli):
        parts += _command(name.replace("-", " ") if name.startswith(("calls", "catalog")) else name,
                          command)  # fmt: skip
    return "\n".join([*parts, VARIABLES.strip(), FILES.strip()]) + "\n"


def _command(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=name, **CONTEXT)  # type: ignore[arg-type]
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS agentphone\\-async {_roff(name)} {_roff(usage)}"
    yield from _paragraphs(command.help or "")
    for section in Section:
        for option in command.get_params(context):
            if getattr(option, "section", None) is not section:
                continue
            record = option.get_help_record(context)
            if record is not None:
                yield f".TP\n.B {_roff(record[0])}"
                yield _roff(record[1])


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.strip().startswith("\b"):
            lines = [_roff(line.strip()) for line in paragraph.strip().splitlines()[1:]]
            yield "\n".join([".PP", ".nf", *lines, ".fi"])
        else:
            yield f".PP\n{_roff(' '.join(paragraph.split()))}"


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)
