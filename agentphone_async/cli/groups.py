"""Groups of commands that print their help where a command is missing, whatever the click."""

from __future__ import annotations

import click


class CommandMissingError(click.UsageError):
    """No command was named; the message is the help."""


class Group(click.Group):
    """A group of commands. Without one it prints its help on standard error, and exits with 2."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click has it; a name that is not known is answered by one that is like it."""
        name = str(args[0])
        known = self.list_commands(ctx)
        if name.startswith("-") or name in known or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        import difflib

        close = difflib.get_close_matches(name, known, 1, 0.6)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
        raise click.UsageError(f"there is no command {name!r}; {hint}", ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click has it, but for no arguments at all."""
        if not args and not ctx.resilient_parsing:
            raise CommandMissingError(ctx.get_help(), ctx)
        return super().parse_args(ctx, args)
