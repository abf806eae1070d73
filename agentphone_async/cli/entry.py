"""Where the command begins: a signal while it is being imported ends it without a traceback."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # as type checkers understand it; `typing` takes time to import
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

INTERRUPTED = 130
EARLY = ("SIGINT", "SIGHUP")
"""A Ctrl-C, and a terminal that closes. Windows has no SIGHUP."""


def main() -> NoReturn:
    """Run the command line. Its own handling of signals begins where there is work to end."""
    for number in (getattr(signal, name) for name in EARLY if hasattr(signal, name)):
        if signal.getsignal(number) in {signal.default_int_handler, signal.SIG_DFL}:
            signal.signal(number, _leave)
    from agentphone_async.cli.main import main as command_line

    command_line()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
