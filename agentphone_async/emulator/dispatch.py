"""From a request on the wire to the answer on the wire."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from aiohttp import web

from agentphone_async.emulator.clock import Pacer, RateLimiter
from agentphone_async.emulator.errors import ApiError, InvalidRequestError, error_body
from agentphone_async.emulator.exchange import Exchange, Service
from agentphone_async.emulator.factories import call_from_fields
from agentphone_async.emulator.faults import Fault, FaultBook, FaultEvent
from agentphone_async.emulator.faults.apply import Circumstances, apply_fault, delivery, error_reply
from agentphone_async.emulator.faults.book import Rule
from agentphone_async.emulator.models import EmulatedCall
from agentphone_async.emulator.reply import FAITHFUL, Delivery, FileSlice, Reply
from agentphone_async.emulator.request_log import LoggedRequest, RequestLog
from agentphone_async.emulator.routes import Match, Route, match
from agentphone_async.emulator.routes.account import (
    enable_recording,
    list_agents,
    list_numbers,
    usage,
    webhook_deliveries,
)
from agentphone_async.emulator.routes.calls import (
    agent_calls,
    create_call,
    create_web_call,
    end_call,
    get_call,
    list_calls,
    number_calls,
)
from agentphone_async.emulator.routes.recording import recording, storage
from agentphone_async.emulator.routes.transcripts import transcript, transcript_stream
from agentphone_async.emulator.seeding import call_id
from agentphone_async.emulator.send import ALIVE, GONE, Answer, Throttle, http_date
from agentphone_async.emulator.validation import decoded_body

Handler = Callable[[Exchange], Awaitable[Reply]]

HANDLERS: dict[Route, Handler] = {
    "list_calls": list_calls,
    "create_call": create_call,
    "create_web_call": create_web_call,
    "get_call": get_call,
    "end_call": end_call,
    "recording": recording,
    "storage": storage,
    "transcript": transcript,
    "transcript_stream": transcript_stream,
    "number_calls": number_calls,
    "agent_calls": agent_calls,
    "list_numbers": list_numbers,
    "list_agents": list_agents,
    "usage": usage,
    "webhook_deliveries": webhook_deliveries,
    "enable_recording": enable_recording,
}
PUBLIC: frozenset[Route] = frozenset({"recording", "storage"})
"""Endpoints that ask for no key: a call id is the key to its recording."""

_DEFAULT_AGENTS = ("python/", "python-requests/", "aiohttp/", "python-httpx/", "go-http-client/")
_OFFSET = re.compile(r"(?<![^&])offset=\d+")
_SLOWEST_START = 0.05


class Dispatcher:
    """Counts a request, lets limits and faults have their way, and answers it."""

    def __init__(self, service: Service, requests: RequestLog, faults: FaultBook) -> None:
        self._service = service
        self._settings = service.settings
        self._requests = requests
        self._faults = faults
        self._limiter = RateLimiter()
        self._pacer = Pacer()
        self._date: tuple[int, str] = (0, "")
        self._arrived = 0
        self._late: dict[asyncio.Transport, Reply] = {}

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; aiohttp's handler."""
        found = match(request.method, request.raw_path)
        now = self._settings.clock.monotonic()
        entry = LoggedRequest(
            request.method, request.raw_path, found.route, found.identity, request.headers, now
        )
        self._requests.opened(entry)
        held: list[Rule] = []
        try:
            exchange = Exchange(self._service, found, request.headers)
            refused = await self._read(request, entry)
            exchange.body = entry.body
            await self._send_late(request)
            reply = refused or await self._limited()
            event = None if reply else self._faults.strike(found, now, held)
            return ALIVE if await self._answer(request, exchange, entry, reply, event) else GONE
        except ConnectionError:
            return GONE
        finally:
            self._faults.release(held)
            self._requests.closed()

    async def _read(self, request: web.BaseRequest, entry: LoggedRequest) -> Reply | None:
        """Read the body; an answer when it is not what its headers say."""
        if not request.body_exists:
            return None
        try:
            entry.body = await request.read()
            entry.body = decoded_body(entry.body, request.headers.get("Content-Encoding", ""))
        except web.HTTPException as error:
            return self._refused(ApiError(error.status, error.reason, framework=True))
        except web.RequestPayloadError:
            return self._refused(ApiError(400, "The body is not whole.", framework=True))
        except ApiError as error:
            return self._refused(error)
        return None

    async def _answer(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        entry: LoggedRequest,
        reply: Reply | None,
        event: FaultEvent | None,
    ) -> bool:
        settings = self._settings
        way = FAITHFUL
        if event is not None:
            entry.fault = event.fault
            reply = await self._spoiled(exchange, event, entry.target)
            way = delivery(reply, event.fault)
        elif reply is None:
            reply = await self._reply(exchange)
        pause = settings.latency + way.delay
        if pause:
            await settings.clock.sleep(pause)
        self._requests.answered(entry, reply.status)
        answer = Answer(request, reply, way, self._throttle(way), settings.clock)
        alive = await answer.send(self._http_date())
        if way.repeated == "late" and alive and request.transport is not None:
            self._late[request.transport] = reply
        if event is not None and event.fault.arrive | event.fault.vanish:
            self._shift_list(event.fault)
        return alive

    async def _send_late(self, request: web.BaseRequest) -> None:
        """Send what was held back on this connection, if anything was."""
        if not self._late or request.transport is None:
            return
        reply = self._late.pop(request.transport, None)
        self._late = {at: kept for at, kept in self._late.items() if not at.is_closing()}
        if reply is not None:
            answer = Answer(request, reply, FAITHFUL, None, self._settings.clock)
            await answer.send(self._http_date())

    async def _limited(self) -> Reply | None:
        """The answer of a server that has enough to do; None when it has not."""
        settings = self._settings
        if settings.rate_limit is not None:
            wait = self._limiter.admit(settings.clock.monotonic(), settings.rate_limit)
            if wait > 0:
                later = {"Retry-After": str(math.ceil(wait))}
                return self._refused(ApiError(429, headers=later))
        excess = self._requests.in_flight - (settings.capacity or math.inf)
        if excess > 0:
            if settings.overload == "refuse":
                return self._refused(ApiError(503, headers={"Retry-After": "1"}))
            share = excess / (settings.capacity or 1)
            await settings.clock.sleep(share * max(settings.latency, _SLOWEST_START))
        return None

    async def _reply(self, exchange: Exchange) -> Reply:
        """What the service answers, when nothing is in the way."""
        try:
            self._admit(exchange)
            return await HANDLERS[exchange.found.route](exchange)
        except RecursionError:
            return self._refused(ApiError(400, "The JSON is nested too deeply.", framework=True))
        except InvalidRequestError as error:
            return Reply(422, [("Content-Type", "application/json")], error.body())
        except ApiError as error:
            return self._refused(error)

    def _refused(self, error: ApiError) -> Reply:
        shape = "detail" if error.framework else self._settings.error_shape
        body, media_type = error_body(error.status, error.message, error.code, shape)
        return Reply(error.status, [("Content-Type", media_type), *error.headers.items()], body)

    def _admit(self, exchange: Exchange) -> None:
        """Let a request in: the path exists, takes the method, and the key is right."""
        found, headers = exchange.found, exchange.headers
        if found.allow or found.route == "delete_call":
            allow = {"Allow": ", ".join(found.allow or ("GET",))}
            raise ApiError(405, "Method Not Allowed", headers=allow, framework=True)
        if found.route == "unknown":
            raise ApiError(404, "Not Found", framework=True)
        if self._settings.refuse_default_agents:
            agent = headers.get("User-Agent", "python/").lower()
            if agent.startswith(_DEFAULT_AGENTS):
                raise ApiError(403, "Forbidden")
        if found.route in PUBLIC:
            return
        if headers.get("Authorization") != f"Bearer {self._settings.api_key}":
            raise ApiError(401, headers={"WWW-Authenticate": "Bearer"})

    async def _spoiled(self, exchange: Exchange, event: FaultEvent, target: str) -> Reply:
        """What is answered when something goes wrong on purpose."""
        fault, settings = event.fault, self._settings
        if fault.page == "repeat":
            exchange.found = _from_the_start(exchange.found)
        call = self._service.account.get(event.call_id) if fault.change_recording else None
        if call is not None:
            change_recording(call)
        if fault.other_call and (mine := self._service.account.get(event.call_id)) is not None:
            other = self._service.account.after(mine)
            exchange.found = exchange.found._replace(identity=other.id)
        if event.refused_with == 404 and fault.recording_url is not None:
            reply = self._refused(ApiError(404, "Recording not found.", "RECORDING_NOT_FOUND"))
        elif event.refused_with is None:
            reply = await _in_memory(await self._reply(exchange))
        else:
            reply = error_reply(fault, settings.error_shape)
        around = Circumstances(
            now=self._service.now(),
            base_url=exchange.base_url,
            target=target,
            seed=settings.seed,
            error_shape=settings.error_shape,
        )
        return apply_fault(reply, event, around)

    def _shift_list(self, fault: Fault) -> None:
        """Let calls arrive or vanish, so that the offsets of the next page are other ones."""
        account, now = self._service.account, self._service.now()
        for call in [call for call, _ in zip(account, range(fault.vanish), strict=False)]:
            account.remove(call.id)
        for position in range(fault.arrive):
            self._arrived += 1
            fresh = call_id("arrived", self._settings.seed, self._arrived)
            begun = now - timedelta(milliseconds=10 * (fault.arrive - position))
            account.add(
                call_from_fields(
                    {"id": fresh, "started_at": begun, "duration": 2.0},
                    self._settings.seed,
                    self._arrived,
                    now,
                )
            )

    def _throttle(self, way: Delivery) -> Throttle | None:
        settings = self._settings
        rates = [rate for rate in (settings.bandwidth, way.bandwidth) if rate is not None]
        if not rates and settings.total_bandwidth is None:
            return None
        return Throttle(
            settings.clock, min(rates, default=None), self._pacer, settings.total_bandwidth
        )

    def _http_date(self) -> str:
        """Now, as HTTP writes it; computed once a second."""
        second = int(self._service.now().timestamp())
        if self._date[0] != second:
            self._date = (second, http_date(second))
        return self._date[1]


def change_recording(call: EmulatedCall, audio: bytes | None = None) -> None:
    """Put another recording in the place of a call's: these bytes, or newly generated ones."""
    call.version += 1
    call.audio = audio


def _from_the_start(found: Match) -> Match:
    """The same list, but its first page."""
    return found._replace(query=_OFFSET.sub("offset=0", found.query))


async def _in_memory(reply: Reply) -> Reply:
    """The answer with its bytes at hand, so that they can be tampered with."""
    changes: dict[str, bytes] = {}
    for name in ("body", "whole"):
        part = getattr(reply, name)
        if isinstance(part, FileSlice):
            changes[name] = await asyncio.to_thread(_contents, part)
    return replace(reply, **changes)  # type: ignore[arg-type] # only bodies are changed


def _contents(part: FileSlice) -> bytes:
    with part.path.open("rb") as file:
        file.seek(part.start)
        return file.read(part.length)
