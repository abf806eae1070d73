"""``agentphone-async completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from agentphone_async.cli.exit_codes import DONE
from agentphone_async.cli.options import Command

PROGRAM = "agentphone-async"
SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
def command(*, shell: str) -> int:
    """Print the completion script of SHELL.

    \b
    bash:  eval "$(agentphone-async completion bash)"               in ~/.bashrc
    zsh:   eval "$(agentphone-async completion zsh)"                in ~/.zshrc
    fish:  agentphone-async completion fish | source                in config.fish

    A pip installation has the scripts already, where shells look for those of its environment:
    share/bash-completion/completions and so on.
    """
    click.echo(script(shell), nl=False)
    return DONE


def script(shell: str) -> str:
    """The script of click for this program."""
    from agentphone_async.cli.main import cli

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for {shell}")
    # Not `source`: click would start bash to learn its version.
    completion = made(cli, {}, PROGRAM, "_AGENTPHONE_ASYNC_COMPLETE")
    return (completion.source_template % completion.source_vars()).strip() + "\n"
