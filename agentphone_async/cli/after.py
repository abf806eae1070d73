"""``--exec``: a program that is run for each recording that has arrived."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import click

from agentphone_async.quantities import counted
from agentphone_async.recordings.outcomes import Archived, Outcome, Recording

AT_ONCE = os.cpu_count() or 1

STANDARD_ERROR = 2

PLACES = ("path", "call_id", "sha256", "size", "media_type")


@dataclass
class Program:
    """A program and its arguments; ``{path}`` and others in `PLACES` stand for the recording's.

    No shell reads them, so that nothing in a name is obeyed.

    Attributes:
        words: the program, and its arguments.
        failed: how often it ended with something else than 0.
        not_run: how many recordings it was not run for, because the command was stopped.
    """

    words: tuple[str, ...]
    failed: int = 0
    not_run: int = 0
    _waiting: deque[Recording] = field(default_factory=deque)
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False

    @classmethod
    def parse(cls, exec_: str) -> Program:
        """Read ``cmd {path}``.

        Raises:
            click.UsageError: it cannot be meant.
        """
        try:
            words = tuple(shlex.split(exec_))
            for word in words:
                word.format(**dict.fromkeys(PLACES, ""))
        except (ValueError, LookupError, AttributeError) as error:
            known = ", ".join(f"{{{place}}}" for place in PLACES)
            why = f"there is no {{{error.args[0]}}}" if isinstance(error, KeyError) else error
            raise click.UsageError(
                f"--exec {exec_!r}: {why}; write it like 'cmd {{path}}', with any of {known}"
            ) from error
        if not words:
            raise click.UsageError("--exec is empty; write it like 'cmd {path}'")
        return cls(words)

    def settled(self, outcome: Outcome) -> None:
        """Run it for this outcome, soon, if it is a new recording."""
        if isinstance(outcome, Archived):
            self._waiting.append(outcome.recording)
            self._more.set()

    def stop(self) -> None:
        """Start no more of them."""
        self.not_run += len(self._waiting)
        self._waiting.clear()

    def end(self) -> None:
        """No more recordings will come."""
        self._ended = True
        self._more.set()

    async def work(self, note: Callable[[str], None]) -> None:
        """Run it for what arrives, until `end`. Several of these may run."""
        while True:
            while self._waiting:
                await self._run(self._waiting.popleft(), note)
            if self._ended:
                return
            self._more.clear()
            await self._more.wait()

    async def _run(self, recording: Recording, note: Callable[[str], None]) -> None:
        values = {place: str(getattr(recording, place)) for place in PLACES}
        words = [word.format(**values) for word in self.words]
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=STANDARD_ERROR,  # ours may be JSON events
                start_new_session=True,  # a Ctrl-C is ours to handle
            )
            code = await process.wait()
        except (OSError, ValueError) as error:
            self.failed += 1
            reason = getattr(error, "strerror", None) or str(error)
            note(f"--exec: cannot run {words[0]!r}: {reason}")
            return
        if code:
            self.failed += 1
            ended = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            note(f"--exec: {words[0]} {ended} for {recording.path}")


@asynccontextmanager
async def running(
    program: Program | None, note: Callable[[str], None], stopped: Callable[[], bool]
) -> AsyncGenerator[None]:
    """Run the program for what arrives inside, and at the end wait until it ran for everything.

    What waits when the command was stopped, or failed, is not run; the note says how much that is.
    """
    if program is None:
        yield
        return
    import anyio

    async with anyio.create_task_group() as workers:
        for _ in range(AT_ONCE):
            workers.start_soon(program.work, note)
        try:
            yield
        except BaseException:
            program.stop()
            raise
        finally:
            if stopped():
                program.stop()
            program.end()
    if program.not_run:
        note(f"--exec was not run for {counted(program.not_run, 'recording')}")
