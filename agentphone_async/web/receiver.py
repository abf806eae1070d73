"""Takes webhooks: verify, keep, and only then say that it was taken."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import hdrs, web

from agentphone_async.errors import ConfigurationError
from agentphone_async.protocol.display import hint, printable
from agentphone_async.web.facts import Facts
from agentphone_async.web.inbox import Inbox, InboxFullError
from agentphone_async.webhooks import (
    SIGNATURE,
    TIMESTAMP,
    WebhookVerificationError,
    event_of,
    verify_webhook,
)

CALL_ENDED = "agent.call_ended"
MOST_BYTES = 1024**2
"""Of a body; what is longer is answered with 413."""

BODY_SECONDS = 20.0
"""For which a body may take to arrive."""

RETRY_AFTER = "30"
"""Seconds after which a sender may try again what could not be kept."""

_LONGEST_ID = 500

_log = logging.getLogger("agentphone_async.web")


class Receiver:
    """The HTTP side of `watch`.

    Args:
        inbox: where events are kept.
        secrets: any of them may have signed.
        healthy: whether the rest of the program works.
        now: Unix time.

    Attributes:
        counts: of deliveries: ``received`` (all that verified), of these ``new``, ``duplicate``
            and ``ignored``; ``refused`` and ``not_kept``; and of calls: ``archived``.
    """

    def __init__(
        self,
        inbox: Inbox,
        secrets: Sequence[str],
        *,
        healthy: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._inbox = inbox
        self._secrets = list(secrets)
        self._healthy = healthy
        self._now = now
        self._stuck = False
        self.counts: Counter[str] = Counter()

    def app(self) -> web.Application:
        """The routes: webhooks on any path but ``/healthz`` and ``/metrics``."""
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/{path:.*}", self._webhook)
        return app

    async def _webhook(self, request: web.Request) -> web.Response:
        try:
            answer = await self._take(request)
        except web.HTTPRequestEntityTooLarge:
            answer = _said(413, f"the body is longer than {MOST_BYTES} bytes")
        except TimeoutError:
            answer = _said(408, f"the body took longer than {BODY_SECONDS:g} s")
        if answer.status >= 400:
            self.counts["not_kept" if answer.status == 503 else "refused"] += 1
        return answer

    async def _take(self, request: web.Request) -> web.Response:
        signature, timestamp = _only(request, SIGNATURE), _only(request, TIMESTAMP)
        if signature is None or timestamp is None:
            return _said(401, f"{SIGNATURE} and {TIMESTAMP} are needed, once each")
        if (request.content_length or 0) > MOST_BYTES:
            raise web.HTTPRequestEntityTooLarge(MOST_BYTES, request.content_length or 0)
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
        try:
            verify_webhook(body, signature, self._secrets, timestamp)
        except WebhookVerificationError as error:
            _log.warning("refused a request: %s", error)
            return _said(401, error.message)
        try:
            event = event_of(body)
        except WebhookVerificationError as error:
            _log.warning("refused a request: %s", error)
            return _said(400, error.message)
        self.counts["received"] += 1
        call_id = event.data.call_id
        if event.event != CALL_ENDED or event.test or not _is_id(call_id):
            self.counts["ignored"] += 1
            return web.Response(status=204)
        return await self._keep(str(call_id), Facts.of(event), hashlib.sha256(body).digest())

    async def _keep(self, call_id: str, facts: Facts, body_hash: bytes) -> web.Response:
        try:
            new = await self._inbox.add(call_id, facts, body_hash, self._now())
        except InboxFullError as error:
            if not self._stuck:
                _log.error("%s; senders are asked to come again", error)
            self._stuck = True
            return _said(503, "the event could not be kept; send it again", RETRY_AFTER)
        self._stuck = False
        self.counts["new" if new else "duplicate"] += 1
        if new:
            _log.info("call %s has ended", hint(call_id))
        return web.Response(status=204)

    async def _healthz(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's
        well = self._healthy() and not self._stuck
        return web.Response(status=200 if well else 503, text="ok\n" if well else "failing\n")

    async def _metrics(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's
        waiting, oldest = await self._inbox.waiting()
        age = 0.0 if oldest is None else max(0.0, self._now() - oldest)
        return web.Response(
            body=_exposition(self.counts, waiting, age).encode(),
            headers={hdrs.CONTENT_TYPE: "text/plain; version=0.0.4; charset=utf-8"},
        )


_COUNTERS = {
    "received": "Webhooks that were AgentPhone's.",
    "new": "Of these: calls that had ended.",
    "duplicate": "Of these: events that had come before.",
    "ignored": "Of these: events of other kinds, and tests.",
    "refused": "Requests that were not AgentPhone's, or too large.",
    "not_kept": "Webhooks that could not be kept; their sender tries again.",
    "archived": "Calls of which the recording is in the archive now.",
    "without_recording": "Calls that turned out to have no recording.",
    "unknown": "Calls that the API did not know.",
    "failures": "Attempts that failed and are repeated.",
    "polls": "Times that the list of calls was read.",
}


def _exposition(counts: Counter[str], waiting: int, age: float) -> str:
    """As Prometheus reads it (exposition formats, text format 0.0.4)."""
    lines: list[str] = []
    for name, meaning in _COUNTERS.items():
        full = f"agentphone_watch_{name}_total"
        lines += [f"# HELP {full} {meaning}", f"# TYPE {full} counter", f"{full} {counts[name]}"]
    for full, meaning, value in (
        ("agentphone_watch_waiting", "Calls whose recording is still to come.", str(waiting)),
        ("agentphone_watch_oldest_seconds", "For how long the oldest has waited.", f"{age:.3f}"),
    ):
        lines += [f"# HELP {full} {meaning}", f"# TYPE {full} gauge", f"{full} {value}"]
    return "\n".join(lines) + "\n"


def _only(request: web.Request, name: str) -> str | None:
    """A header that is there once: of two, nobody knows which one counts."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else None


def _is_id(call_id: str | None) -> bool:
    if not call_id or len(call_id) > _LONGEST_ID:
        return False
    # Neither control characters nor lone surrogates, as JSON can spell them.
    return not any(unicodedata.category(char) in {"Cc", "Cs"} for char in call_id)


def _said(status: int, line: str, retry_after: str | None = None) -> web.Response:
    headers = None if retry_after is None else {hdrs.RETRY_AFTER: retry_after}
    return web.Response(status=status, text=line + "\n", headers=headers)


_LONGEST = 4096


def read_secrets(path: Path) -> list[str]:
    """The secrets in a file, one a line; two while a secret is being changed.

    Raises:
        ConfigurationError: there is no such file, it is empty, or others could read it.
    """
    shown = printable(os.fspath(path), 200)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_LONGEST + 1) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"cannot read the secret file {shown}: {reason}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the secret file {shown} is not a file")
    if os.name == "posix" and status.st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise ConfigurationError(
            f"the secret file {shown} has mode {stat.S_IMODE(status.st_mode):04o}, so others can "
            f"read or change it; run: chmod 600 {shown}"
        )
    if len(data) > _LONGEST:
        raise ConfigurationError(f"the secret file {shown} is longer than {_LONGEST} bytes")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the secret file {shown} is not text") from error
    secrets = [line.strip() for line in lines if line.strip()]
    if not secrets:
        raise ConfigurationError(
            f"the secret file {shown} is empty; write the webhook's secret (whsec_…) into it"
        )
    return secrets
