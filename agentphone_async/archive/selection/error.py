"""The one error for anything that a user wrote to select calls."""

from __future__ import annotations

__all__ = ["SelectionError"]


class SelectionError(ValueError):
    """A value that selects nothing sensible; the message names it and says what to write instead.

    The message is one harmless line, ready for a terminal.
    """
