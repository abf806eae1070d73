"""Somebody else's sink: what it returns is looked at, and what is wrong is said in one line.

A sink of a user's that returns nonsense, raises what it should not, or never returns must neither
lose a recording nor let one count that is not there; and who wrote it wants to read which method of
it did what, and what was expected.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextvars import ContextVar
from pathlib import PurePosixPath
from typing import Any, NoReturn, TypeVar

from agentphone_async.errors import ConfigurationError, DestinationError
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.recording import Audio, Chunk
from agentphone_async.sinks.interface import (
    Body,
    Keeping,
    Ready,
    Resumable,
    Sink,
    Staged,
    Stored,
    Target,
    Upload,
)

PATIENCE = 60.0
"""Seconds that a method may take, whatever it does."""

PER_RECORDING = 10.0
"""Seconds that it may take longer for each recording that it is given."""

SLOWEST = 100_000
"""Bytes a second that it has to store at least."""

BLOCKED = 1.0
"""Seconds for which a sink may keep everything else from running."""

_SINK = ("existing", "begin", "stage", "publish", "discard", "aclose")
_UPLOAD = ("write", "stage", "abort")
_log = logging.getLogger("agentphone_async.sinks")

patience: ContextVar[float | None] = ContextVar("patience", default=None)
"""Seconds that a method may take instead of those, for who has little."""

blocking: dict[str, str] = {}
"""Methods that kept everything else from running, and the line that says so."""

T = TypeVar("T")


def checked(dest: Any) -> Sink:
    """A sink as it is if it is one of ours, or else one that is looked at.

    Raises:
        ConfigurationError: it is none.
    """
    lacking = [name for name in _SINK if not callable(getattr(dest, name, None))]
    kind = type(dest).__name__
    if isinstance(dest, type) and not lacking:
        raise ConfigurationError(
            f"dest is the class {dest.__name__}; make a sink of it: {dest.__name__}(…)"
        )
    if len(lacking) == len(_SINK):
        raise ConfigurationError(
            f"dest is {kind}; use a folder, a URL such as s3://bucket, or a Sink"
        )
    if lacking:
        raise ConfigurationError(f"dest is {kind}, which lacks {', '.join(lacking)} of a Sink")
    ours: bool = type(dest).__module__.partition(".")[0] == __name__.partition(".")[0]
    sink: Sink = dest
    return sink if ours else CheckedSink(sink)


async def ask(
    owner: object,
    method: str,
    expected: type[T],
    *given: Any,
    several: int = 1,
    size: int = 0,
) -> T:
    """Await a method of a sink; it returns what is expected, in time, or fails in one line.

    Args:
        owner: the sink, or an upload of it.
        method: its name.
        expected: the class of what it has to return; `object` for anything.
        given: its arguments.
        several: recordings that it is given.
        size: bytes that it is given.

    Raises:
        DestinationError: whatever went wrong.
    """
    most = patience.get() or PATIENCE + PER_RECORDING * several + size / SLOWEST
    deadline = asyncio.timeout(most)
    try:
        work = getattr(owner, method)(*given)
        if not inspect.isawaitable(work):
            kind = type(work).__name__
            refuse(owner, method, f"returned {kind}, not awaitable; expected: async def {method}")
        async with deadline:
            result = await _Steps(owner, method, work)
    except DestinationError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        _refuse_raising(owner, method, error)
    except TimeoutError as error:
        if deadline.expired():
            refuse(owner, method, f"has not returned for {most:.0f} s; expected was an answer")
        _refuse_raising(owner, method, error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the sink has failed
        _refuse_raising(owner, method, error)
    if not isinstance(result, expected):
        refuse_value(owner, method, result, expected.__name__)
    return result


def refuse(owner: object, method: str, what: str) -> NoReturn:
    """Say what is wrong with a method of a sink."""
    raise DestinationError(f"the sink's method {type(owner).__name__}.{method} {what}")


def refuse_value(owner: object, method: str, value: object, expected: str) -> NoReturn:
    """Say that a method has returned something else than expected."""
    kind = type(value).__name__
    shown = "None" if value is None else f"{kind} {printable(repr(value), 80)}"
    refuse(owner, method, f"returned {shown}; expected was {expected}")


def _refuse_raising(owner: object, method: str, error: BaseException) -> NoReturn:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, DestinationError):
        raise error
    shown = f"{type(error).__name__}: {printable(str(error), 120)}".removesuffix(": ")
    line = f"raised {shown}; expected was a result, or DestinationError if the place has failed"
    raise DestinationError(f"the sink's method {type(owner).__name__}.{method} {line}") from error


class _Steps:
    """Awaits something of a sink's, and tells once if it keeps everything else from running."""

    def __init__(self, owner: object, method: str, work: Awaitable[Any]) -> None:
        self._name = f"{type(owner).__name__}.{method}"
        self._work = work

    def __await__(self) -> Generator[Any, Any, Any]:
        work = self._work.__await__()
        if not isinstance(work, Generator):
            return (yield from work)
        step: Callable[[Any], Any] = work.send
        given: Any = None
        while True:
            began = time.perf_counter()
            try:
                waits_for = step(given)
            except StopIteration as over:
                return over.value
            finally:
                self._took(time.perf_counter() - began)
            try:
                step, given = work.send, (yield waits_for)
            except BaseException as error:  # noqa: BLE001 - it is thrown into what waits
                step, given = work.throw, error

    def _took(self, seconds: float) -> None:
        if seconds > BLOCKED and self._name not in blocking:
            blocking[self._name] = line = (
                f"the sink's method {self._name} blocked the event loop for {seconds:.1f} seconds; "
                "expected was that it awaits what takes long: do what blocks in asyncio.to_thread"
            )
            _log.warning(line)


class CheckedSink:
    """A sink whose methods return what they should, or raise a `DestinationError` that says it."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        if isinstance(sink, Keeping):
            self.keep = self._keep
            self.take_up = self._take_up

    async def existing(self, targets: Sequence[Target]) -> list[PurePosixPath | None]:
        """For each target the name under which it is there already, or None."""
        count = len(targets)
        found = await ask(self.sink, "existing", object, targets, several=count)
        expected = f"a list of {count} PurePosixPath or None, one for each target"
        return _listed(self.sink, "existing", found, count, PurePosixPath | None, expected)

    async def begin(self, target: Target) -> CheckedUpload:
        """Start a recording that comes in parts."""
        return CheckedUpload(self.sink, target, await ask(self.sink, "begin", object, target))

    async def stage(self, body: Body) -> Staged:
        """Put down a recording that is in memory."""
        staged = await ask(self.sink, "stage", Staged, body, size=body.size)
        sha256 = await asyncio.to_thread(_sha256, body.chunks)
        return _as_given(self.sink, "stage", staged, body.target, body.audio, body.size, sha256)

    async def publish(self, batch: Sequence[Ready]) -> list[Stored]:
        """Make a batch visible and durable; return for each what became of it."""
        count, size = len(batch), sum(ready.size for ready in batch)
        answer = await ask(self.sink, "publish", object, batch, several=count, size=size)
        expected = f"a list of {count} Stored, one for each recording"
        stored = _listed(self.sink, "publish", answer, count, Stored, expected)
        for ready, one in zip(batch, stored, strict=True):
            if not isinstance(one.name, PurePosixPath):
                refuse_value(self.sink, "publish", one.name, "a PurePosixPath as Stored.name")
            if not isinstance(one.new, bool):
                refuse_value(self.sink, "publish", one.new, "True or False as Stored.new")
            sha256 = _sha256(ready.chunks) if isinstance(ready, Body) else ready.sha256
            _compare(self.sink, "publish", one, ready.size, sha256)
        return stored

    async def discard(self, ready: Ready) -> None:
        """Give up one that is not going to be published."""
        await ask(self.sink, "discard", object, ready)

    async def aclose(self) -> None:
        """Discard whatever was begun or staged and not published."""
        await ask(self.sink, "aclose", object)

    async def _keep(self, upload: Upload, mark: str) -> None:
        inner = upload.upload if isinstance(upload, CheckedUpload) else upload
        await ask(self.sink, "keep", object, inner, mark)

    async def _take_up(self, target: Target, mark: str) -> tuple[Upload, bytes] | None:
        kept = await ask(self.sink, "take_up", object, target, mark)
        if kept is None:
            return None
        if not (isinstance(kept, tuple) and len(kept) == 2 and isinstance(kept[1], bytes)):
            refuse_value(self.sink, "take_up", kept, "an Upload and its first bytes, or None")
        upload = CheckedUpload(self.sink, target, kept[0], method="take_up")
        return upload, kept[1]


class CheckedUpload:
    """An upload of such a sink, whose bytes are counted and hashed here, too."""

    def __init__(self, sink: Sink, target: Target, upload: Any, *, method: str = "begin") -> None:
        lacking = [name for name in _UPLOAD if not callable(getattr(upload, name, None))]
        size = _size_of(upload)
        lacking += [] if isinstance(size, int) else ["size"]
        if lacking or not isinstance(size, int):
            expected = f"an Upload, and this lacks {', '.join(lacking)}"
            refuse_value(sink, method, upload, expected)
        self.upload: Upload = upload
        self.size = size
        self._target = target
        self._digest = hashlib.sha256() if self.size == 0 else None
        if isinstance(upload, Resumable):
            self.note = self._note

    async def write(self, chunks: Sequence[Chunk]) -> None:
        """Add bytes to the end."""
        size = sum(map(len, chunks))
        await ask(self.upload, "write", object, chunks, size=size)
        self.size += size
        if self._digest is not None:
            for chunk in chunks:
                self._digest.update(chunk)
        told = _size_of(self.upload)
        if told != self.size:
            line = f"left {told!r} as its size; expected were {self.size} bytes"
            refuse(self.upload, "write", line)

    async def stage(self, audio: Audio) -> Staged:
        """Declare it whole; the upload is over."""
        staged = await ask(self.upload, "stage", Staged, audio, size=self.size)
        sha256 = None if self._digest is None else self._digest.hexdigest()
        return _as_given(self.upload, "stage", staged, self._target, audio, self.size, sha256)

    async def abort(self) -> None:
        """Give it up and leave nothing behind."""
        await ask(self.upload, "abort", object)

    async def _note(self, mark: str) -> None:
        await ask(self.upload, "note", object, mark)


def _size_of(upload: Any) -> object:
    try:
        return upload.size
    except Exception as error:  # noqa: BLE001 - a property of somebody else's
        return error


def _listed(
    owner: object, method: str, answer: object, count: int, kind: Any, expected: str
) -> list[Any]:
    if not isinstance(answer, list | tuple) or isinstance(answer, Stored):
        refuse_value(owner, method, answer, expected)
    if len(answer) != count:
        refuse(owner, method, f"returned a list of {len(answer)}; expected was {expected}")
    for one in answer:
        if not isinstance(one, kind):
            refuse_value(owner, method, one, expected)
    return list(answer)


def _as_given(
    owner: object,
    method: str,
    staged: Staged,
    target: Target,
    audio: Audio,
    size: int,
    sha256: str | None,
) -> Staged:
    if (staged.target, staged.audio) != (target, audio):
        refuse(owner, method, "returned another target or audio; expected were those it was given")
    _compare(owner, method, staged, size, sha256 or staged.sha256)
    return staged


def _compare(owner: object, method: str, told: Staged | Stored, size: int, sha256: str) -> None:
    if told.size != size:
        refuse(owner, method, f"returned {told.size!r} as the size; expected were {size} bytes")
    if told.sha256 != sha256:
        expected = f"{sha256} as the SHA-256 of the bytes that it was given"
        refuse_value(owner, method, told.sha256, expected)


def _sha256(chunks: Sequence[Chunk]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
