"""An emulator in a thread of its own, for tests that have no event loop, or a busy one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

from agentphone_async.emulator.clock import VirtualClock
from agentphone_async.emulator.faults import FaultEvent
from agentphone_async.emulator.models import (
    EmulatedAgent,
    EmulatedCall,
    EmulatedNumber,
    WebhookDelivery,
)
from agentphone_async.emulator.request_log import RequestLog
from agentphone_async.emulator.server import Emulator
from agentphone_async.emulator.settings import Options, Settings

T = TypeVar("T")
P = ParamSpec("P")


def _on_its_loop(
    method: Callable[Concatenate[Emulator, P], T],
) -> Callable[Concatenate[EmulatorThread, P], T]:
    """The emulator's method, done in the emulator's thread."""

    @wraps(method)
    def done_there(self: EmulatorThread, /, *args: P.args, **more: P.kwargs) -> T:
        return self._on_loop(lambda: method(self._emulator, *args, **more))

    return done_there


class EmulatorThread:
    """The handles of an ``Emulator``, safe to use from any thread; a plain context manager.

    Takes the arguments of ``Emulator``. Every method waits until the emulator's thread has
    done it, which takes well under a millisecond.

    Raises:
        OSError: From ``start``: the port is taken.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._emulator = Emulator(**options)
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def __repr__(self) -> str:
        return f"<EmulatorThread of {self._emulator!r}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin to listen, or listen again on the same port after ``stop``.

        Raises:
            OSError: The port is taken.
        """
        if self._running is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(
                target=loop.run_forever, name="agentphone-emulator", daemon=True
            )
            self._running = loop, thread
            thread.start()
        try:
            self._do(self._emulator.start)
        except OSError:
            self.close()
            raise

    def stop(self) -> None:
        """Stop listening and cut every connection."""
        self._do(self._emulator.stop)

    def close(self) -> None:
        """Stop for good, and end the thread."""
        if self._running is None:
            return
        self.stop()
        (loop, thread), self._running = self._running, None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return self._emulator.base_url

    @property
    def api_key(self) -> str:
        """The key that it accepts."""
        return self._emulator.api_key

    @property
    def settings(self) -> Settings:
        """Speeds, limits and shapes may be changed at any time."""
        return self._emulator.settings

    @property
    def requests(self) -> RequestLog:
        """Every request so far: counts, and the latest ones in full."""
        return self._emulator.requests

    @property
    def fault_log(self) -> list[FaultEvent]:
        """What the faults did so far."""
        return self._on_loop(lambda: self._emulator.fault_log)

    @property
    def calls(self) -> list[EmulatedCall]:
        """Every call there is, newest first."""
        return self._on_loop(lambda: self._emulator.calls)

    @property
    def placed_calls(self) -> list[EmulatedCall]:
        """Every call that a POST has placed, in order."""
        return self._on_loop(lambda: self._emulator.placed_calls)

    @property
    def agents(self) -> list[EmulatedAgent]:
        """The account's agents."""
        return self._on_loop(lambda: self._emulator.agents)

    @property
    def numbers(self) -> list[EmulatedNumber]:
        """The account's phone numbers."""
        return self._on_loop(lambda: self._emulator.numbers)

    @property
    def webhook_log(self) -> list[WebhookDelivery]:
        """Every webhook event so far, oldest first."""
        return self._on_loop(lambda: self._emulator.webhook_log)

    add_agent = _on_its_loop(Emulator.add_agent)
    add_number = _on_its_loop(Emulator.add_number)
    add_call = _on_its_loop(Emulator.add_call)
    remove_call = _on_its_loop(Emulator.remove_call)
    change_recording = _on_its_loop(Emulator.change_recording)
    fail = _on_its_loop(Emulator.fail)
    clear_faults = _on_its_loop(Emulator.clear_faults)
    enable_recordings = _on_its_loop(Emulator.enable_recordings)
    send_event = _on_its_loop(Emulator.send_event)
    expected_event = _on_its_loop(Emulator.expected_event)
    expected_audio = _on_its_loop(Emulator.expected_audio)
    expected_size = _on_its_loop(Emulator.expected_size)
    source_of = _on_its_loop(Emulator.source_of)

    def events_delivered(self) -> None:
        """Return when every event so far was taken, given up or dropped."""
        self._do(self._emulator.events_delivered)

    def advance(self, seconds: float) -> None:
        """Move the ``VirtualClock`` that the emulator was given.

        Raises:
            TypeError: It runs on real time.
        """
        clock = self.settings.clock
        if not isinstance(clock, VirtualClock):
            raise TypeError("only a VirtualClock can be advanced")
        self._on_loop(lambda: clock.advance(seconds))

    def _on_loop(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return action() if self._running is None else self._do(act)

    def _do(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._running is None:
            raise RuntimeError("the emulator's thread is not running")
        return asyncio.run_coroutine_threadsafe(work(), self._running[0]).result()
