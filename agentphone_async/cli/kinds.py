"""Values that options take: each is parsed to what the code works with, or refused in one line."""

from __future__ import annotations

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
