"""Show the command line's options compactly: what a value is called, its default in the text."""

from __future__ import annotations

import re

import click
from sphinx.application import Sphinx

_OPTION = re.compile(r"\.\. option:: (?P<names>.*?)(?: <[^>]*>)?$")
_DEFAULT = re.compile(r" *:default: ``'?(?P<value>.*?)'?``$")
_CHOICES = re.compile(r" *:options: (?P<value>.*)$")
_BUILT_IN = re.compile(r"  \[default: (?P<value>.*)\]$")


def options(_app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Rewrite what sphinx-click made of a command's options."""
    shown: list[str] = []
    for line in lines:
        if option := _OPTION.match(line):
            shown += [f".. option:: {option['names']}{_value_of(context, option['names'])}", ""]
        elif default := _DEFAULT.match(line):
            if default["value"] not in {"Sentinel.UNSET", "False", "None"}:
                shown[-1] += f" Default: ``{default['value']}``."
        elif choices := _CHOICES.match(line):
            words = choices["value"].split(" | ")
            shown[-1] += f" One of {', '.join(f'``{word}``' for word in words)}."
        elif line.strip():
            shown.append(_BUILT_IN.sub(r" Default: \g<value>.", line))
    lines[:] = _spaced(shown)


def _value_of(context: click.Context, names: str) -> str:
    """What stands for the option's value, as ``--help`` has it."""
    first = re.split(r"[ ,/]", names)[0]
    for parameter in context.command.get_params(context):
        if isinstance(parameter, click.Option) and first in parameter.opts:
            is_flag = parameter.is_flag or parameter.count
            return "" if is_flag else f" {_metavar(parameter, context)}"
    return ""


def _metavar(option: click.Option, context: click.Context) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return (option.name or "").upper()
    text: str = option.make_metavar(context)
    return text.removesuffix(" RANGE")


def _spaced(lines: list[str]) -> list[str]:
    spaced: list[str] = []
    for line in lines:
        if line.startswith(".. option::") and spaced:
            spaced.append("")
        spaced.append(line)
    return [*spaced, ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Come after sphinx-click, which defines the event."""
    app.setup_extension("sphinx_click")
    app.connect("sphinx-click-process-options", options)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
