"""The emulator itself: a server on loopback, and the handles by which a test moves it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import date
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from agentphone_async.emulator.account import Account
from agentphone_async.emulator.audio_store import AudioStore, scan
from agentphone_async.emulator.dispatch import Dispatcher, change_recording
from agentphone_async.emulator.exchange import Service
from agentphone_async.emulator.factories import (
    CallFields,
    Population,
    agents,
    call_from_fields,
    day_bounds,
    from_folder,
    generate,
    new_call,
    numbers,
    yesterday,
)
from agentphone_async.emulator.faults import Fault, FaultBook, FaultEvent, FaultFields
from agentphone_async.emulator.faults.language import parse_fault
from agentphone_async.emulator.models import (
    EmulatedAgent,
    EmulatedCall,
    EmulatedNumber,
    WebhookDelivery,
)
from agentphone_async.emulator.reply import FileSlice
from agentphone_async.emulator.request_log import RequestLog
from agentphone_async.emulator.settings import Options, Settings
from agentphone_async.emulator.webhooks import WebhookSender, event_json

_LOG = logging.getLogger("agentphone_async.emulator")
_LOG.addFilter(lambda record: not _is_the_clients(record.exc_info))


def _is_the_clients(failure: object) -> bool:
    """Whether a failure is a request that is not HTTP: it is answered 400, and not logged."""
    return isinstance(failure, tuple) and isinstance(failure[1], HttpProcessingError)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _reachable(host: str) -> str:
    """A host to which this machine can connect, as URLs have it."""
    if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - it is compared, not listened on
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


class Emulator:
    """The AgentPhone calls API on 127.0.0.1, with calls, audio and faults of your choosing.

    An async context manager; ``Settings`` says what its arguments mean. All methods are to
    be called on the event loop on which it was started (``EmulatorThread`` is for others)::

        async with Emulator(calls=800, seed=7) as emulator:
            ...  # emulator.base_url, emulator.api_key

    Attributes:
        settings: As given; speeds, limits and shapes may be changed at any time.
        requests: Every request so far: counts, and the latest ones in full.

    Raises:
        ValueError: A fault makes no sense; or ``host`` is not loopback without ``allow_remote``.
        NotADirectoryError: ``recordings`` is not a folder.
        OSError: It cannot be read; or, from ``start``, the port is taken.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self.settings = settings = Settings(**options)
        if not settings.allow_remote and not _is_loopback(settings.host):
            raise ValueError(
                f"host {settings.host!r} lets other machines in; "
                "use 127.0.0.1, or set allow_remote as well (--allow-remote)"
            )
        if settings.webhook and urlsplit(settings.webhook).scheme not in {"http", "https"}:
            raise ValueError(f"webhook {settings.webhook!r} is not an http or https URL")
        self.requests = RequestLog(settings.keep_requests)
        account = Account(agents(settings.seed), numbers(settings.seed))
        account.sub_accounts.update(settings.sub_accounts)
        account.recording_addon = settings.recording_addon
        self._service = Service(settings, account, AudioStore(settings.seed, settings.audio_cache))
        now = settings.clock.now()
        self.day: date = settings.day or yesterday(now, settings.zone)
        folder = settings.recordings
        account.populate(
            generate(self._population(), now) if folder is None else self._filed(folder)
        )
        self._added = self._begun = 0
        self._faults = FaultBook(settings.seed)
        for fault in settings.faults:
            self.fail(fault)
        self._webhooks = WebhookSender(self._service, self._faults)
        self._dispatcher = Dispatcher(self._service, self.requests, self._faults)
        self._listener: asyncio.Server | None = None
        self._web: web.Server | None = None
        self._beginning: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        where = self._service.base_url or "not started"
        return f"<Emulator {where}, {len(self._service.account)} calls>"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: The port is taken.
        """
        loop = asyncio.get_running_loop()
        server = web.Server(self._dispatcher.serve, handler_cancellation=True)

        def connection() -> Connection:
            return Connection(
                server,
                loop=loop,
                access_log=None,  # type: ignore[arg-type] # which stands for "none"
                auto_decompress=False,
                logger=_LOG,
            )

        settings = self.settings
        self._listener = await loop.create_server(
            connection, settings.host, settings.port, ssl=settings.tls, backlog=4096
        )
        self._web = server
        self._webhooks.start()
        if settings.new_calls:
            self._beginning = asyncio.create_task(self._begin_calls(60 / settings.new_calls))
        scheme = "https" if settings.tls else "http"
        settings.port = self._listener.sockets[0].getsockname()[1]
        self._service.base_url = f"{scheme}://{_reachable(settings.host)}:{settings.port}"

    async def stop(self) -> None:
        """Stop listening and cut every connection, also those with an answer on the way.

        Calls and logs can be read afterwards; ``start`` listens again, on the same port.
        """
        await self._webhooks.stop()
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.gather(self._beginning, return_exceptions=True)
        listener, self._listener = self._listener, None
        server, self._web = self._web, None
        if listener is None or server is None:
            return
        listener.close()
        # A connection is forgotten when its task has ended, a few turns of the loop later.
        while connections := server.connections:
            for connection in connections:
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(0)
        await listener.wait_closed()

    @property
    def base_url(self) -> str:
        """Scheme, host and port, without a slash at the end.

        Raises:
            RuntimeError: It was never started.
        """
        if not self._service.base_url:
            raise RuntimeError("the emulator has no base URL before it is started")
        return self._service.base_url

    @property
    def api_key(self) -> str:
        """The key that it accepts."""
        return self.settings.api_key

    @property
    def calls(self) -> list[EmulatedCall]:
        """Every call there is, newest first."""
        return list(self._service.account)

    @property
    def placed_calls(self) -> list[EmulatedCall]:
        """Every call that a POST has placed, in order: a repeated POST shows here."""
        return list(self._service.placed)

    @property
    def agents(self) -> list[EmulatedAgent]:
        """The account's agents."""
        return list(self._service.account.agents.values())

    @property
    def numbers(self) -> list[EmulatedNumber]:
        """The account's phone numbers."""
        return list(self._service.account.numbers.values())

    @property
    def fault_log(self) -> list[FaultEvent]:
        """What the faults did so far, oldest first; the latest 100,000 are kept."""
        return list(self._faults.log)

    @property
    def webhook_log(self) -> list[WebhookDelivery]:
        """Every webhook event so far, oldest first."""
        return list(self._service.deliveries)

    def send_event(self, call_id: str, *, test: bool = False) -> WebhookDelivery:
        """Send a call's ``agent.call_ended`` event to the webhook, again or as a test.

        Raises:
            KeyError: There is no such call.
            RuntimeError: No webhook was set, or the emulator does not run.
        """
        return self._webhooks.send(self.call(call_id), test=test)

    def expected_event(self, call_id: str) -> dict[str, Any]:
        """The event of a call as it is sent now: JSON with ``event``, ``agentId``, ``data``."""
        return event_json(self._service, self.call(call_id))

    async def events_delivered(self) -> None:
        """Return when every event so far was taken, given up or dropped."""
        await self._webhooks.idle()

    def fail(self, fault: Fault | str | None = None, **fields: Unpack[FaultFields]) -> Fault:
        """Make something go wrong from now on; ``Fault`` says what can.

        Args:
            fault: A fault; or one line of text, like ``route=recording,status=503,times=3``.
            **fields: Of the fault, when it is not given as one.

        Raises:
            ValueError: It makes no sense.
            TypeError: It is given in two ways.
        """
        if fault is not None and fields:
            raise TypeError("give a fault, or its fields, and not both")
        if isinstance(fault, str):
            fault = parse_fault(fault)
        chosen = Fault(**fields) if fault is None else fault
        self._faults.add(chosen)
        return chosen

    def clear_faults(self) -> None:
        """Let everything go right again; the fault log stays."""
        self._faults.clear()

    def enable_recordings(self, *, enabled: bool = True) -> None:
        """Switch the account's recording add-on, without a request."""
        self._service.account.recording_addon = enabled

    def add_agent(self, agent_id: str, name: str = "An agent") -> EmulatedAgent:
        """Make an agent known, so that calls can be made as it."""
        agent = EmulatedAgent(agent_id, name)
        self._service.account.agents[agent_id] = agent
        return agent

    def add_number(self, number_id: str, phone_number: str) -> EmulatedNumber:
        """Make a phone number known, so that calls can be made from it."""
        number = EmulatedNumber(number_id, phone_number)
        self._service.account.numbers[number_id] = number
        return number

    def add_call(self, **fields: Unpack[CallFields]) -> EmulatedCall:
        """Add a call; ``CallFields`` says what may be given and what is there by default.

        Raises:
            ValueError: There is a call of that id, or ``started_at`` is naive.
        """
        self._added += 1
        settings = self.settings
        call = call_from_fields(fields, settings.seed, self._added, settings.clock.now())
        self._service.account.add(call)
        return call

    def remove_call(self, call_id: str) -> EmulatedCall:
        """Take a call away, recording and all.

        Raises:
            KeyError: There is none of that id.
        """
        return self._service.account.remove(call_id)

    def call(self, call_id: str) -> EmulatedCall:
        """The call of that id.

        Raises:
            KeyError: There is none.
        """
        call = self._service.account.get(call_id)
        if call is None:
            raise KeyError(call_id)
        return call

    def change_recording(self, call_id: str, audio: bytes | None = None) -> None:
        """Replace a call's recording by another version of itself, or by these bytes."""
        change_recording(self.call(call_id), audio)

    def expected_audio(self, call_id: str) -> bytes:
        """Every byte of a call's recording, as a client must have got it.

        Raises:
            KeyError: There is no such call.
        """
        whole = self._service.store.whole(self.call(call_id))
        return whole.path.read_bytes() if isinstance(whole, FileSlice) else whole

    def expected_size(self, call_id: str) -> int:
        """The size of a call's recording, in bytes."""
        return self._service.store.size(self.call(call_id))

    def source_of(self, call_id: str) -> Path | None:
        """The file of ``recordings`` that is served for a call; None for generated audio."""
        return self._service.store.path(call_id)

    async def _begin_calls(self, pause: float) -> None:
        """Let a call begin after every ``pause``, in seconds."""
        settings, account = self.settings, self._service.account
        while True:
            self._begun += 1
            now = settings.clock.now()
            call = new_call(self._population(), self._begun, now, settings.life.recording)
            account.add(call)
            await settings.clock.sleep(pause)

    def _population(self) -> Population:
        settings = self.settings
        return Population(
            calls=settings.calls,
            neighbours=settings.neighbours,
            day=self.day,
            zone=settings.zone,
            seed=settings.seed,
            median=settings.seconds,
            spread=settings.spread,
            agents=self.agents,
            numbers=self.numbers,
        )

    def _filed(self, folder: Path) -> Iterator[EmulatedCall]:
        found = list(scan(folder))
        for recording in found:
            self._service.store.put(recording)
        return from_folder(found, day_bounds(self.day, self.settings.zone), self.numbers)


class Connection(web.RequestHandler):
    """Says in the web framework's JSON what is wrong with a request, as the API does."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be read, or that we failed to answer."""
        super().handle_error(request, status, exc, message)  # which logs it
        lines = (message or "").splitlines() if status < 500 else []
        detail = ascii(lines[0][:200])[1:-1] if lines else "Internal Server Error"
        response = web.json_response({"detail": detail}, status=status)
        response.force_close()
        return response
