"""What a run shows and logs, as the options ask for it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import logging

    from agentphone_async.cli.display import Quiet

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Logs:
    """What is logged, and where to.

    Attributes:
        log_file: log lines are appended to it.
        log_level: the least important lines; None is info with a file, and warning without.
    """

    log_file: Path | None = None
    log_level: str | None = None

    def start(self, verbose: int = 0) -> None:
        """Set logging up; for the rest of the process.

        Raises:
            click.UsageError: the file cannot be written.
        """
        if self.log_file is None and self.log_level is None and not verbose:
            return
        import logging

        chosen = (self.log_level or "").upper()
        logger = logging.getLogger("agentphone_async")
        shown = chosen if self.log_file is None else ""
        terminal = shown or ("DEBUG" if verbose > 1 else "INFO" if verbose else "WARNING")
        handlers: list[tuple[logging.Handler, str]] = [(logging.StreamHandler(), terminal)]
        if self.log_file is not None:
            handlers.append((self._file(), chosen or ("DEBUG" if verbose > 1 else "INFO")))
        for handler, level in handlers:
            handler.setFormatter(_formatter())
            handler.setLevel(level)
            logger.addHandler(handler)
        logger.setLevel(min(handler.level for handler, _ in handlers))
        logger.propagate = False

    def _file(self) -> logging.Handler:
        import logging

        try:
            descriptor = os.open(str(self.log_file), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise click.UsageError(
                f"cannot write the log file {str(self.log_file)!r}: {error.strerror}"
            ) from error
        return logging.StreamHandler(os.fdopen(descriptor, "a", encoding="utf-8"))


def _formatter() -> logging.Formatter:
    import logging

    from agentphone_async.protocol.display import printable

    class OneLine(logging.Formatter):
        """Every line is harmless in a terminal, and one line."""

        def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
            record.message = printable(record.message, 2000)
            return super().formatMessage(record)

    return OneLine(FORMAT)


@dataclass(frozen=True, slots=True)
class Showing:
    """What a run shows while it works."""

    as_json: bool = False
    quiet: bool = False
    verbose: int = 0
    logs: Logs = field(default_factory=Logs)

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise click.UsageError(
                "--quiet and --verbose exclude each other; leave one of them out"
            )

    def display(self) -> Quiet:
        """Start logging, and make the display that the options and the terminal ask for."""
        from agentphone_async.cli import display
        from agentphone_async.cli.summary import Summary

        self.logs.start(self.verbose)
        verbose = self.verbose > 0
        if self.as_json:
            return display.Json(Summary())
        if self.quiet:
            return display.Quiet(Summary())
        if sys.stderr.isatty():
            return display.Live(Summary(), verbose=verbose)
        return display.Lines(Summary(), verbose=verbose)
