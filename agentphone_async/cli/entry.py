"""Where the command begins: a Ctrl-C while it is being imported ends it without a traceback."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line. Its own handling of signals begins where there is work to end."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from agentphone_async.cli.main import main as command_line

    command_line()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
