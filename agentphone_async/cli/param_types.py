"""Values that options take: each is parsed to what the code works with, or refused in one line."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any, Literal

import click


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks only
    """A value that is parsed from text, or refused in one line."""

    shown: str | None = None
    """How help shows it."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:  # noqa: ARG002
        """How help shows it."""
        return self.shown

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse it, or fail with one line."""
        try:
            return value if isinstance(value, tuple) else self.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def parse(self, text: str) -> Any:
        """Its value.

        Raises:
            ValueError: none is meant; the message says why.
        """
        raise NotImplementedError


class Seconds(Parsed):
    """A duration such as ``80ms``, ``90s``, ``10m``, ``1h30m``, ``7d``; its value is in seconds.

    Args:
        least, most: seconds; anything outside is refused.
    """

    name = "duration"
    shown = "DURATION"

    def __init__(self, least: float = 0.0, most: float = math.inf) -> None:
        self._least = least
        self._most = most

    def parse(self, text: str) -> float:
        """Seconds."""
        from agentphone_async.quantities import duration_text, parse_duration

        seconds = parse_duration(text).total_seconds()
        if not self._least <= seconds <= self._most:
            low, high = duration_text(self._least), duration_text(self._most)
            bounds = f"longer than {high}" if self._least == 0 else f"not from {low} to {high}"
            raise ValueError(f"{text!r} is {bounds}")
        return seconds


class Size(Parsed):
    """A number of bytes: ``8M`` and ``8MiB`` count in 1024s, ``8MB`` in 1000s."""

    name = "size"
    shown = "SIZE"

    def parse(self, text: str) -> int:
        """Bytes."""
        from agentphone_async.quantities import parse_size

        return parse_size(text)


class Switch(click.types.BoolParamType):
    """On or off, from a file or the environment."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse it, or fail with one line."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is neither true nor false (nor yes, no, on, off)", param, ctx)


class Line(click.types.StringParamType):
    """Text. Where there may be several, a variable of the environment has one a line."""

    envvar_list_splitter = "\n"


class Whole(click.IntRange):
    """A whole number in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it, or fail with one line that names the range."""
        text = "" if isinstance(value, bool) else str(value).strip()
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
        if number is not None and self.clamped(number) == number:
            return number
        return self.fail(f"{value!r} is not a whole number{self._bounds()}", param, ctx)

    def clamped(self, number: int) -> int:
        """The number of the range that is nearest to it."""
        least = number if self.min is None else max(number, int(self.min))
        return least if self.max is None else min(least, int(self.max))

    def _bounds(self) -> str:
        if self.min is None:
            return ""
        return f", {self.min} or more" if self.max is None else f" from {self.min} to {self.max}"


class Finite(click.FloatRange):
    """A number in a range, and a finite one: ``nan`` is outside of no range, ``inf`` of few."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse it, or fail with one line that names the range."""
        try:
            number: float = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            low, high = (f"{bound:,.9g}" for bound in (self.min, self.max))
            self.fail(f"{value!r} is not a number from {low} to {high}", param, ctx)
        return number


class _Path(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Take it, or fail with one line."""
        if value == "":
            self.fail("the path is empty; is a variable not set?", param, ctx)
        if str(value).startswith("~/"):  # from a file or a variable, which no shell has expanded
            value = os.path.expanduser(value)  # noqa: PTH111 - click takes text
        return Path(str(super().convert(value, param, ctx)))


class Folder(_Path):
    """The path of a folder. An empty one is refused: it would be where one happens to be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Take it, or fail with one line: a URL would become a folder of an odd name."""
        if isinstance(value, str) and "://" in value:
            from agentphone_async.sinks.bucket_opening import harmless

            self.fail(f"{harmless(value)} is a URL, and this takes a folder", param, ctx)
        return super().convert(value, param, ctx)


_SLIP = re.compile(
    r"(?P<scheme>s3|gs|az|file)(:[/\\]?|//|:\\\\)(?P<rest>[^/\\].*)", re.IGNORECASE | re.DOTALL
)


class Place(Parsed):
    """The path of a folder, or the URL of a bucket and a prefix in it; that remains text."""

    name = "place"

    def parse(self, text: str) -> Path | str:
        """A path, or a URL."""
        slip = _SLIP.fullmatch(text)
        if slip is not None:
            first, rest = text.partition(slip["rest"])[0], slip["rest"].rpartition("@")[2]
            slashes = ":///" if slip["scheme"] == "file" else "://"
            raise ValueError(
                f"{first + rest!r} is not a URL; write {slip['scheme']}{slashes}{rest}"
            )
        if "://" not in text:
            return Folder().convert(text, None, None)
        from agentphone_async.sinks.bucket_opening import split_url

        split_url(text)
        return text.rstrip("/")


class File(_Path):
    """The path of a file, never an empty one."""


class Count(Parsed):
    """A number of transfers, or ``auto``."""

    name = "count"
    shown = "N|auto"

    def parse(self, text: str) -> int | Literal["auto"]:
        """A number, or ``auto``."""
        if text == "auto":
            return "auto"
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 256:
            raise ValueError(f"{text!r} is neither auto nor a number from 1 to 256")
        return int(text)


class Bandwidth(Size):
    """Bytes per second, such as ``8M``; ``off`` means no limit, and is None."""

    name = "rate"
    shown = "RATE"

    def parse(self, text: str) -> Any:
        """Bytes per second."""
        if text.strip().lower() == "off":
            return None
        rate = super().parse(text)
        if rate < 1:
            raise ValueError(f"{text!r} would transfer nothing; write off for no limit")
        return rate


class Rate(Bandwidth):
    """A bandwidth, checked and as text: as the client takes it."""

    def parse(self, text: str) -> Any:
        """Bytes per second."""
        rate = super().parse(text)
        return None if rate is None else f"{rate}b"
