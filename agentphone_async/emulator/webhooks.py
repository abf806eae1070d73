"""Signed ``agent.call_ended`` events as calls end: with retries, and with faults on demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp

from agentphone_async.emulator.conversation import turns_of, verdict
from agentphone_async.emulator.exchange import Service
from agentphone_async.emulator.faults import Fault, FaultBook
from agentphone_async.emulator.models import EmulatedCall, WebhookDelivery
from agentphone_async.emulator.routes import Match
from agentphone_async.emulator.seeding import digest
from agentphone_async.emulator.serializers import number, timestamp
from agentphone_async.waiting import first_of
from agentphone_async.webhooks import sign_webhook

EVENT = "agent.call_ended"
_AT_ONCE = 32
_TOO_OLD = 600


def event_json(service: Service, call: EmulatedCall, *, test: bool = False) -> dict[str, Any]:
    """The event of a call that has ended."""
    now, seed = service.now(), service.settings.seed
    summary, sentiment, successful = verdict(call, seed)
    turns = turns_of(call, seed)
    answered = call.duration(now) is not None
    event: dict[str, Any] = {
        "event": EVENT,
        "channel": "voice",
        "timestamp": timestamp(now, milliseconds=True),
        "agentId": call.agent_id,
        "data": {
            "callId": call.id,
            "numberId": call.phone_number_id,
            "from": call.from_number,
            "to": call.to_number,
            "direction": call.direction,
            "status": call.status(now),
            "startedAt": timestamp(call.started_at, milliseconds=call.milliseconds),
            "endedAt": timestamp(call.ended_at(now), milliseconds=call.milliseconds),
            "durationSeconds": number(call.duration(now)),
            "disconnectionReason": ("user_hangup" if successful else "agent_hangup")
            if answered
            else None,
            "transcript": [{"role": role, "content": content} for _, role, content in turns],
            "summary": summary,
            "userSentiment": sentiment,
            "callSuccessful": successful,
        },
    }
    return event | {"test": True} if test else event


class WebhookSender:
    """Sends an event for every call that ends while it runs.

    All methods are to be called on the emulator's event loop.
    """

    def __init__(self, service: Service, faults: FaultBook) -> None:
        self._service = service
        self._settings = service.settings
        self._faults = faults
        self._waiting: set[EmulatedCall] = set()
        self._late: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        service.account.on_added = self._waiting.add

    def start(self) -> None:
        """Begin to watch the calls; with a backlog, those that are over already, too."""
        if self._settings.webhook is None or self._session is not None:
            return
        now = self._service.now()
        if self._settings.webhook_backlog:
            self._waiting.update(self._service.account)
        else:
            self._waiting.update(c for c in self._service.account if not c.has_ended(now))
        self._slots = asyncio.Semaphore(_AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=30)
        self._session = aiohttp.ClientSession(timeout=timeout)
        self._begin(self._watch())

    async def stop(self) -> None:
        """Send nothing more, and forget what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def send(self, call: EmulatedCall, *, test: bool = False) -> WebhookDelivery:
        """Send the event of a call now, whether or not it was sent before.

        Raises:
            RuntimeError: No webhook was set, or the emulator does not run.
        """
        if self._session is None:
            raise RuntimeError("there is nowhere to send events; set webhook and start first")
        return self._emit(call, test=test)

    async def idle(self) -> None:
        """Return when the event of every call that is over was taken, given up or dropped."""
        while self._session is not None:
            sending = [task for task in self._tasks if task.get_name() == EVENT]
            now = self._service.now()
            if not sending and not any(call.has_ended(now) for call in self._waiting):
                return
            await asyncio.gather(asyncio.sleep(0), *sending, return_exceptions=True)

    def _begin(self, work: Any, name: str = "watch") -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        service = self._service
        while True:
            now = service.now()
            over = [call for call in self._waiting if call.has_ended(now)]
            over.sort(key=lambda call: (call.ended_at(now) or now, call.id))
            self._waiting.difference_update(over)
            for call in over:
                self._emit(call, test=False)
            pause = min((call.next_change(now) for call in self._waiting), default=float("inf"))
            await first_of(self._settings.clock.sleep(pause), service.account.changed())

    def _emit(self, call: EmulatedCall, *, test: bool) -> WebhookDelivery:
        service, settings = self._service, self._settings
        struck = self._faults.strike(Match("webhook", call.id, ""), settings.clock.monotonic(), [])
        fault = struck.fault if struck is not None else Fault()
        body = event_json(service, call, test=test or fault.webhook == "test")
        name = f"evt_{digest('event', settings.seed, call.id, len(service.deliveries))}"
        delivery = WebhookDelivery(name, call.id, service.now(), body)
        service.deliveries.append(delivery)
        self._begin(self._deliver(delivery, fault), EVENT)
        return delivery

    async def _deliver(self, delivery: WebhookDelivery, fault: Fault) -> None:
        """Send an event until it is taken, or given up."""
        clock = self._settings.clock
        if fault.webhook == "never":
            delivery.status = "dropped"
            return
        if fault.delay:
            await clock.sleep(fault.delay)
        if fault.webhook == "late":
            after_the_next = asyncio.Event()
            self._late.append(after_the_next)
            await first_of(_until(after_the_next), clock.sleep(1.0))
        async with self._slots:
            await self._attempts(delivery, fault)
        late, self._late = self._late, []
        for held in late:
            held.set()

    async def _attempts(self, delivery: WebhookDelivery, fault: Fault) -> None:
        pauses: Sequence[float | None] = (*self._settings.webhook_delays, None)
        for pause in pauses:
            if fault.webhook == "drop" and not delivery.attempts:
                delivery.attempts, delivery.error = 1, "lost on its way"
                taken = False
            else:
                taken = await self._attempt(delivery, fault)
            if taken and fault.webhook == "duplicate":
                await self._attempt(delivery, fault)
            if taken:
                delivery.status = "success"
                return
            if pause is not None:
                await self._settings.clock.sleep(pause)
        delivery.status = "failed"

    async def _attempt(self, delivery: WebhookDelivery, fault: Fault) -> bool:
        settings, session = self._settings, self._session
        if session is None or settings.webhook is None:
            return False
        body = json.dumps(delivery.event, ensure_ascii=False).encode("utf-8", "replace")
        moment = int(self._service.now().timestamp())
        said = str(moment - _TOO_OLD if fault.webhook == "old" else moment)
        secret = "forged" if fault.webhook == "forged" else settings.webhook_secret
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "AgentPhone-Webhooks/1.0",
            "X-Webhook-ID": delivery.id,
            "X-Webhook-Event": EVENT,
            "X-Webhook-Timestamp": said,
            "X-Webhook-Signature": sign_webhook(body, secret, said),
        }
        delivery.attempts += 1
        delivery.last_attempt = self._service.now()
        try:
            async with session.post(
                settings.webhook, data=body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.content.read(4096)
                delivery.http_status = answer.status
                delivery.error = None
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            delivery.http_status, delivery.error = None, str(error) or type(error).__name__
            return False


async def _until(event: asyncio.Event) -> None:
    await event.wait()
