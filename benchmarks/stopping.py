"""The one way in which a benchmark stops: a line for the reader, and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable


class BenchError(Exception):
    """The run cannot start or continue; the message is one line that says what to do."""


def exit_code(main: Callable[[], int]) -> int:
    """Return what ``main`` returns; 2 with one line on stderr for a BenchError, 130 for Ctrl-C."""
    try:
        return main()
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
