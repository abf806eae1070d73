"""Options that a configuration file may set, and the file, as click's default map.

A table named after a command (``[archive]``) holds defaults of that command; a table named after a
section of ``--help`` (``[connection]``, ``[speed]``) those of all commands that have the option.
What stands nearer wins: command line, environment, the command's table, the section's table.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from agentphone_async.cli.param_types import Line, Switch

COMMANDLINE = ParameterSource.COMMANDLINE

_PLACES = "agentphone_async.config"
"""Where a context keeps, for each parameter, which table its default came from."""

ENVIRONMENT = "AGENTPHONE_ASYNC_"
"""What the environment variable of every option begins with."""

CHOSEN = "agentphone_async.config_file"
"""Where a context keeps the file that was named, or None."""

NOT_READ = "agentphone_async.config_file.not_read"
"""Where a context keeps that the file is not to be read."""

_SECRETS = {"api-key", "apikey", "key", "secret", "token", "password", "webhook-secret"}
_SECRET_HEADER = re.compile(r"[^:]*(?:auth|key|token|secret|cookie|password)[^:]*:", re.IGNORECASE)


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
            if (place := origin(ctx, self)) is None:
                raise
            message = f"{error.message} (from {place})"
            raise click.BadParameter(message, ctx, self, error.param_hint) from error


def standard_path() -> Path:
    """Where the file is looked for when none is named."""
    if sys.platform == "win32":
        home = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return home / "agentphone-async" / "config.toml"


def read(ctx: click.Context, param: click.Parameter, named: Path | None) -> None:  # noqa: ARG001 - click's signature
    """Give the command its defaults from the file. The callback of ``--config``.

    Raises:
        click.UsageError: the file cannot be read, or something in it cannot be meant.
    """
    ctx.meta[CHOSEN] = named
    if ctx.meta.get(NOT_READ):
        return
    apply(ctx, _name(ctx), named)


def apply(ctx: click.Context, name: str, named: Path | None) -> None:
    """Set a context's default map; ``name`` is the command's table.

    Raises:
        click.UsageError: see `read`.
    """
    path = named or standard_path()
    tables = load(path, must_exist=named is not None)
    if not tables:
        return
    check(tables, path, ctx.find_root().command)
    defaults: dict[str, Any] = {}
    places: dict[str, str] = {}
    for option in configurable(ctx.command):
        for table in (name, option.section.table):
            values = _normal(tables.get(table, {}))
            if option.key in values and option.name not in defaults:
                value = values[option.key]
                lone = option.multiple and not isinstance(value, list)
                defaults[str(option.name)] = [str(value)] if lone else value
                places[str(option.name)] = f"{path} [{table}] {option.key}"
    ctx.default_map = defaults
    ctx.meta[_PLACES] = places


def origin(ctx: click.Context, option: click.Parameter) -> str | None:
    """Where a value came from, if it was the environment or the file."""
    source = ctx.get_parameter_source(str(option.name))
    if source is ParameterSource.ENVIRONMENT:
        names = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
        return next((name for name in names if os.environ.get(name)), None)
    if source is ParameterSource.DEFAULT_MAP:
        place: str | None = ctx.meta.get(_PLACES, {}).get(option.name)
        return place
    return None


def load(path: Path, *, must_exist: bool) -> dict[str, Any]:
    """The file's tables; none if it is not there and need not be.

    Raises:
        click.UsageError: it cannot be read.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        if must_exist:
            raise click.UsageError(f"there is no configuration file {str(path)!r}") from None
        return {}
    except OSError as error:
        raise click.UsageError(
            f"cannot read the configuration file {str(path)!r}: {error.strerror}"
        ) from error
    import tomllib  # takes as long as all else here, and there is seldom a file

    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not TOML: {error}") from error


def check(tables: dict[str, Any], path: Path, root: click.Command) -> None:
    """Refuse what no command would read, since it was meant for one.

    Raises:
        click.UsageError: a table or a key is unknown, or a value is none.
    """
    known = known_keys(root)
    for table, values in tables.items():
        if table not in known:
            close = _closest(table, known)
            raise click.UsageError(f"{path}: there is no table [{table}]{close}")
        if not isinstance(values, dict):
            raise click.UsageError(f"{path}: {table} is a value; write a table [{table}]")
        for key, value in _normal(values).items():
            if (instead := _instead_of_secret(key, value)) is not None:
                raise click.UsageError(f"{path}: [{table}] {key} {instead}")
            if key not in known[table]:
                close = _closest(key, known[table])
                raise click.UsageError(f"{path}: [{table}] has no key {key!r}{close}")
            if (wanted := _wanted(value, known[table][key])) is not None:
                raise click.UsageError(f"{path}: [{table}] {key} = {value!r}: write {wanted}")


def _instead_of_secret(key: str, value: object) -> str | None:
    """What to do about a secret, which never stands in the file; None if it is none."""
    texts = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    if key in _SECRETS:
        return (
            "holds a secret; write the key into a file of its own and name it: [connection] "
            "api-key-file"
        )
    if key == "api-key-file" and any(text.startswith("sk_") for text in texts):
        return "is a key, and not the name of a file; write it into a file of its own"
    if key == "proxy" and any("@" in text for text in texts):
        return "holds a password; leave it out and set HTTPS_PROXY"
    if key == "header" and any(_SECRET_HEADER.match(text) for text in texts):
        return "holds a secret; write it into a file of its own and name that: header = '@FILE'"
    return None


def _wanted(value: object, option: Option) -> str | None:
    """What to write instead of a value of the wrong type; None if the type will do."""
    if option.is_flag:
        return None if isinstance(value, bool) else "true or false"
    if option.multiple and isinstance(value, list):
        return None if all(isinstance(each, str) for each in value) else "texts in the list"
    if isinstance(value, bool):
        return "a value; it is not a switch"
    if isinstance(value, str | int | float):
        return None
    return "a list of texts, or one text" if option.multiple else "one text or number"


def known_keys(root: click.Command) -> dict[str, dict[str, Option]]:
    """All tables, each with its keys, and an option for each."""
    known: dict[str, dict[str, Option]] = {}
    for name, command in commands(root):
        for option in configurable(command):
            for table in (name, option.section.table):
                known.setdefault(table, {}).setdefault(str(option.key), option)
    return known


def commands(root: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Every command that is not a group, by its table: ``archive``, ``calls-list``."""

    def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        if not isinstance(command, click.Group):
            yield name, command
            return
        context = click.Context(command)
        for sub in command.list_commands(context):
            child = command.get_command(context, sub)
            if child is not None:
                yield from below(f"{name}-{sub}".strip("-"), child)

    yield from below("", root)


def configurable(command: click.Command) -> Iterator[Option]:
    """The command's options that the file may set."""
    for parameter in command.params:
        if isinstance(parameter, Option) and parameter.key is not None:
            yield parameter


def _normal(values: Any) -> dict[str, Any]:
    found = values if isinstance(values, dict) else {}
    return {key.replace("_", "-"): value for key, value in found.items()}


def _name(ctx: click.Context) -> str:
    """The command's table: ``calls-list`` for ``agentphone-async calls list``."""
    names = []
    here: click.Context | None = ctx
    while here is not None and here.parent is not None:
        names.append(here.info_name or "")
        here = here.parent
    return "-".join(reversed(names)) or str(ctx.command.name)


def _closest(word: str, known: Any) -> str:
    import difflib

    found = difflib.get_close_matches(word, sorted(known), 1, 0.6)
    return f"; did you mean {found[0]!r}?" if found else f"; there are: {', '.join(sorted(known))}"
