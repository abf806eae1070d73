"""An emulator in a thread of its own, for tests that have no event loop, or a busy one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from agentphone_async.emulator.clock import VirtualClock
from agentphone_async.emulator.factories import CallFields
from agentphone_async.emulator.faults import Fault, FaultEvent, FaultFields
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

    def add_agent(self, agent_id: str, name: str = "An agent") -> EmulatedAgent:
        """Make an agent known, so that calls can be made as it."""
        return self._on_loop(lambda: self._emulator.add_agent(agent_id, name))

    def add_number(self, number_id: str, phone_number: str) -> EmulatedNumber:
        """Make a phone number known, so that calls can be made from it."""
        return self._on_loop(lambda: self._emulator.add_number(number_id, phone_number))

    def add_call(self, **fields: Unpack[CallFields]) -> EmulatedCall:
        """Add a call; ``CallFields`` says what may be given and what is there by default.

        Raises:
            ValueError: There is a call of that id, or ``started_at`` is naive.
        """
        return self._on_loop(lambda: self._emulator.add_call(**fields))

    def remove_call(self, call_id: str) -> EmulatedCall:
        """Take a call away, recording and all.

        Raises:
            KeyError: There is none of that id.
        """
        return self._on_loop(lambda: self._emulator.remove_call(call_id))

    def change_recording(self, call_id: str, audio: bytes | None = None) -> None:
        """Replace a call's recording by another version of itself, or by these bytes."""
        self._on_loop(lambda: self._emulator.change_recording(call_id, audio))

    def fail(self, fault: Fault | str | None = None, **fields: Unpack[FaultFields]) -> Fault:
        """Make something go wrong from now on; ``Fault`` says what can.

        Raises:
            ValueError: It makes no sense.
            TypeError: It is given in two ways.
        """
        return self._on_loop(lambda: self._emulator.fail(fault, **fields))

    @property
    def webhook_log(self) -> list[WebhookDelivery]:
        """Every webhook event so far, oldest first."""
        return self._on_loop(lambda: self._emulator.webhook_log)

    def send_event(self, call_id: str, *, test: bool = False) -> WebhookDelivery:
        """Send a call's ``agent.call_ended`` event to the webhook, once more or as a test.

        Raises:
            KeyError: There is no such call.
            RuntimeError: No webhook was set, or the emulator does not run.
        """
        return self._on_loop(lambda: self._emulator.send_event(call_id, test=test))

    def expected_event(self, call_id: str) -> dict[str, Any]:
        """The event of a call as it is sent now."""
        return self._on_loop(lambda: self._emulator.expected_event(call_id))

    def events_delivered(self) -> None:
        """Return when every event so far was taken, given up or dropped."""
        self._do(self._emulator.events_delivered)

    def clear_faults(self) -> None:
        """Let everything go right again; the fault log stays."""
        self._on_loop(self._emulator.clear_faults)

    def enable_recordings(self, *, enabled: bool = True) -> None:
        """Switch the account's recording add-on, without a request."""
        self._on_loop(lambda: self._emulator.enable_recordings(enabled=enabled))

    def expected_audio(self, call_id: str) -> bytes:
        """Every byte of a call's recording, as a client must have got it."""
        return self._on_loop(lambda: self._emulator.expected_audio(call_id))

    def expected_size(self, call_id: str) -> int:
        """The size of a call's recording, in bytes."""
        return self._on_loop(lambda: self._emulator.expected_size(call_id))

    def source_of(self, call_id: str) -> Path | None:
        """The file of ``recordings`` that is served for a call."""
        return self._on_loop(lambda: self._emulator.source_of(call_id))

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
