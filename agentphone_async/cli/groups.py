"""Groups of commands that print their help where a command is missing, whatever the click."""

from __future__ import annotations

import click


class CommandMissingError(click.UsageError):
    """No command was named; the message is the help."""


class Group(click.Group):
    """A group of commands. Without one it prints its help on standard error, and exits with 2."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click has it, but for no arguments at all."""
        if not args and not ctx.resilient_parsing:
            raise CommandMissingError(ctx.get_help(), ctx)
        return super().parse_args(ctx, args)
