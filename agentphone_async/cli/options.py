"""Adding several options to a command at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

Function = Callable[..., Any]
"""A command's function, before click makes a command of it."""


def add_options(function: Function, *options: Callable[[Function], Function]) -> Function:
    """The function with these options, which help shows in this order."""
    return reduce(lambda decorated, option: option(decorated), reversed(options), function)
