"""Values that options take: each is parsed to what the code works with, or refused in one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click


class Seconds(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks only
    """A duration such as ``90s``, ``10m``, ``24h``, ``7d``; its value is in seconds."""

    name = "duration"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """How help shows it."""
        return "DURATION"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse it, or fail with one line."""
        from agentphone_async.archive.selection.quantities import parse_duration

        if isinstance(value, int | float):
            return float(value)
        try:
            return parse_duration(value).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks only
    """A number of bytes such as ``500k``, ``8M``, ``1.5G``; binary multiples, as rclone has it."""

    name = "size"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:  # noqa: ARG002
        """How help shows it."""
        return "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it, or fail with one line."""
        from agentphone_async.archive.selection.quantities import parse_size

        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Finite(click.FloatRange):
    """A number in a range, and a finite one: ``nan`` is outside of no range, ``inf`` of few."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse it, or fail with one line."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


class _Path(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Take it, or fail with one line."""
        if value == "":
            self.fail("the path is empty; is a variable not set?", param, ctx)
        return Path(str(super().convert(value, param, ctx)))


class Folder(_Path):
    """The path of a folder. An empty one is refused: it would be where one happens to be."""


class File(_Path):
    """The path of a file, which is no empty one, either."""
