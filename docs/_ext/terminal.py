"""Draw the picture of a terminal that the README shows: ``python docs/_ext/terminal.py``.

The demo runs in a temporary folder and a pseudo-terminal, and its last screen becomes an SVG.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 88
ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "_static" / "demo.svg"
COMMANDS = (("demo", 40), ("ls agentphone-demo --state archived", 7))
"""What is shown, and how many lines of it at most."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]")  # everything but colours


def shown_by(command: str, folder: str) -> list[str]:
    """What a terminal shows in the end of a command."""
    main, side = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "agentphone_async", *command.split()],
        cwd=folder,
        env=environment,
        stdin=side,
        stdout=side,
        stderr=side,
    ):
        os.close(side)
        said = b""
        while True:
            try:
                said += os.read(main, 65536)
            except OSError:  # the other side is closed: the command has ended
                break
    os.close(main)
    lines = _CONTROL.sub("", said.decode()).replace("\r\n", "\n").strip("\n").split("\n")
    # A live line is drawn again and again, and taken away in the end.
    return [line.rsplit("\r", 1)[-1] for line in lines if "━" not in line]


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        for command, most in COMMANDS:
            console.print(Text(f"$ agentphone-async {command}", style="bold"))
            console.print(Text.from_ansi("\n".join(shown_by(command, folder)[:most])))
            console.print()
        PICTURE.write_text(console.export_svg(title="agentphone-async"), encoding="utf-8")


if __name__ == "__main__":
    main()
