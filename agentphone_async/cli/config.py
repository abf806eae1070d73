"""``agentphone-async config``: which defaults hold, and where each came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from agentphone_async.cli import config_file
from agentphone_async.cli.config_file import Option, Section
from agentphone_async.cli.exit_codes import DONE
from agentphone_async.cli.options import Group, output_option

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Setting:
    """One option's value when the command line says nothing."""

    table: str
    key: str
    value: str | None
    source: str

    @property
    def file(self) -> str | None:
        """The configuration file, if the value is from one."""
        path, bracket, _ = self.source.rpartition(" [")
        return path if bracket else None

    def place(self) -> str:
        """The source, without the name of the file."""
        _, bracket, within = self.source.rpartition(" [")
        return f"file [{within.partition(' ')[0]}" if bracket else self.source


@click.group("config", cls=Group)
def command() -> None:
    """Show the defaults that the configuration file and the environment set."""


@command.command("show")
@click.argument("name", metavar="[COMMAND]", default="archive")
@output_option("table", "tsv", "json", "ids")
@click.pass_context
def show(context: click.Context, /, *, name: str, output: str | None) -> int:
    """Print the value of every option of COMMAND, and where it came from.

    Without COMMAND, those of archive. The command line wins over the environment, the environment
    over the configuration file, and that over what is built in.

    \b
    agentphone-async config show
    agentphone-async config show calls-list -o json
    """
    from agentphone_async.cli.tables import ALWAYS, Column, Rows
    from agentphone_async.protocol.display import printable

    known = dict(config_file.commands(context.find_root().command))
    if name not in known:
        raise click.BadParameter(
            f"there is no command {name!r}; there are: {', '.join(known)}", param_hint="COMMAND"
        )
    settings = _settings(name, known[name], context)
    keys = max(len(setting.key) for setting in settings)
    sources = max(len(setting.place()) for setting in settings)
    columns: list[Column[Setting]] = [
        Column("table", lambda setting: f"[{setting.table}]", width=12, rank=1),
        Column("key", lambda setting: setting.key, width=keys, rank=ALWAYS),
        # People see the value last, where it is never cut.
        Column("from", Setting.place, width=sources, rank=2, in_tsv=False),
        Column("value", lambda setting: setting.value),
        Column("from", lambda setting: setting.source, in_table=False),
    ]
    rows = Rows(columns, output, ids=lambda setting: setting.key, as_json=asdict)
    rows.print(settings)
    files = {setting.file for setting in settings if setting.file is not None}
    if files and rows.output == "table":
        click.echo(f"the file is {printable(files.pop(), 1000)}", err=True)
    return DONE


@command.command("path")
def path() -> int:
    """Print where the configuration file is looked for."""
    click.echo(config_file.standard_path())
    return DONE


def _settings(name: str, chosen: click.Command, context: click.Context) -> list[Setting]:
    """What each option of a command would be, by the section that shows it."""
    named: Path | None = context.meta.get(config_file.CHOSEN)
    within = click.Context(chosen, context.find_root(), name)
    config_file.apply(within, name, named)
    options = list(config_file.configurable(chosen))
    return [
        _setting(option, within)
        for section in Section
        for option in options
        if option.section is section
    ]


def _setting(option: Option, context: click.Context) -> Setting:
    value, source = option.consume_value(context, {})
    context.set_parameter_source(str(option.name), source)
    origin = config_file.origin(context, option) or "built in"
    return Setting(option.section.table, str(option.key), _text(value), origin)


def _text(value: Any) -> str | None:
    if value is None or type(value).__name__ == "Sentinel" or value == ():
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
