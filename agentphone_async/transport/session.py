"""The one place that speaks HTTP: a pooled aiohttp session, its timeouts, and what goes along.

The API key is added to authenticated requests to the base URL, one by one; it is never a session
default, so that nothing public and no redirect can carry it. There is no cookie jar, no ``.netrc``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import ssl
from collections.abc import Mapping
from functools import cached_property, partial
from typing import AnyStr, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from anyio.abc import AsyncResource
from yarl import URL

from agentphone_async.config import USER_AGENT, Settings, Timeouts
from agentphone_async.errors import (
    AgentPhoneError,
    ConfigurationError,
    MismatchedAnswerError,
    MissingKeyError,
    TimedOutError,
)
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.redirects import REDIRECTS, next_hop
from agentphone_async.protocol.responses import Reply, error_of, what_was_asked
from agentphone_async.transport.aiohttp_errors import FOREIGN, HIDDEN, translated
from agentphone_async.transport.answer import LARGEST_REPLY, Answer
from agentphone_async.transport.connection import CheckedConnector, latest_trust
from agentphone_async.transport.fast_path import FastPath
from agentphone_async.transport.limits import HostLimits
from agentphone_async.transport.proxy import Proxies
from agentphone_async.transport.rate import parse_bandwidth
from agentphone_async.transport.resolver import OutwardResolver, PatientResolver
from agentphone_async.transport.retry import Retrier

READ_BUFFER = 64 * 1024
"""Bytes; aiohttp stops reading from the socket at twice this much unread."""

HEADERS = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
"""What goes along with every request."""

REFUSALS = frozenset({400, 401, 403, 404, 410})
"""What a storage answers when a signed address has expired, or was never right."""

FIRST_CONTACT = 10.0
"""Seconds that a host which has never answered is waited for: the address may be mistyped."""


class _Clients(NamedTuple):
    """The ways to a connection.

    Attributes:
        pooled: for nearly everything; connections are used again.
        fresh: a new connection for each request: for what must not be sent twice, since a pooled
            one may turn out to be dead, and for what stays open for as long as a reader likes.
        fast: a quicker way to the pooled ones for what is public; None if this aiohttp has none.
    """

    pooled: aiohttp.ClientSession
    fresh: aiohttp.ClientSession
    fast: FastPath | None


class Session(AsyncResource):
    """One pool of connections to one API host, with its limits and retries.

    Use it as an async context manager, in one event loop; or call `open` and `aclose`.

    Args:
        settings: base URL, key, timeouts, retry policy.
        limits: shared limits of the host; made from the settings if not given.
    """

    def __init__(self, settings: Settings, *, limits: HostLimits | None = None) -> None:
        self.settings = settings
        self.limits = limits or HostLimits(
            settings.connections or 64,
            tpslimit=settings.tpslimit,
            bwlimit=None if settings.bwlimit is None else parse_bandwidth(settings.bwlimit),
            outage_budget=settings.retry.total,
            first_contact_budget=min(FIRST_CONTACT, settings.retry.total),
        )
        self.retrier = Retrier(settings.retry, self.limits)
        self.host = urlsplit(settings.base_url).netloc
        self._clients: _Clients | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._auth = self._auth_headers()
        self._proxies = Proxies(settings.proxy)
        self._headers = {**HEADERS, **settings.headers}
        self._timeout = _timeout(settings.timeouts)

    def __repr__(self) -> str:
        state = "open" if self._clients is not None else "closed"
        return f"<Session to {self.settings.base_url}, {state}>"

    def _auth_headers(self) -> dict[str, str]:
        headers = {}
        if self.settings.api_key is not None:
            headers["Authorization"] = f"Bearer {self.settings.api_key}"
        if self.settings.sub_account is not None:
            headers["X-Sub-Account-Id"] = self.settings.sub_account
        return headers

    async def __aenter__(self) -> Self:
        self.open()
        return self

    def open(self) -> None:
        """Get ready to connect; to be called inside a running event loop. Opening twice is fine.

        The first request does it, too, if nobody did before.

        Raises:
            ConfigurationError: the file of certificate authorities cannot be used.
        """
        self._closed = False
        self.ready()

    def ready(self) -> _Clients:
        """Open it, if nobody has yet.

        Raises:
            ConfigurationError: it was closed, or belongs to another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._clients is None:
            if self._closed:
                raise ConfigurationError("the client is closed; use it inside 'async with'")
            self._loop, self._clients = loop, self._make_clients()
        elif loop is not self._loop:
            raise ConfigurationError("this client is in use in another event loop; make one each")
        return self._clients

    def _make_clients(self) -> _Clients:
        base_url, timeouts = self.settings.base_url, self.settings.timeouts
        home, names = URL(base_url).raw_host or "", PatientResolver(timeouts.connect)
        connector = partial(
            CheckedConnector,
            resolver=OutwardResolver(home, names, known=self._proxies.hosts),
            ttl_dns_cache=60,
            ssl=self._tls if self._has_tls else True,
        )
        pooled = self._client_on(connector(limit=0))  # the limits know how many
        fresh = self._client_on(connector(limit=0, force_close=True))
        fast = None
        if self._proxies.of(base_url) is None:
            fast = FastPath.beside(pooled, base_url, self._headers, timeouts, READ_BUFFER)
        return _Clients(pooled, fresh, fast)

    def _client_on(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            headers=HEADERS,
            skip_auto_headers=("Accept", "Content-Type"),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            trust_env=False,
        )

    @property
    def _has_tls(self) -> bool:
        """Whether connections are made by `_tls` from the beginning."""
        settings = self.settings
        return bool(settings.ssl or settings.ca_file or not settings.base_url.startswith("http://"))

    def _tls_to(self, url: str, proxy: str | None) -> ssl.SSLContext | bool:
        """By what a hop is verified; True for the connector's way.

        Where the API has no TLS, authorities are read when a redirect leads to a host that has:
        that takes longer than all else that begins a short run.
        """
        schemes = urlsplit(url).scheme, urlsplit(proxy or "").scheme
        return True if self._has_tls or "https" not in schemes else self._tls

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        if self.settings.ssl is not None:
            return self.settings.ssl
        try:
            context = ssl.create_default_context()
            if self.settings.ca_file is not None:
                context.load_verify_locations(self.settings.ca_file)
            return context
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"cannot read certificate authorities from {self.settings.ca_file!r}: {error}"
            ) from error

    async def aclose(self) -> None:
        """Close all connections. Closing twice is fine."""
        clients, self._clients = self._clients, None
        self._closed = True
        if clients is not None:
            try:
                await clients.pooled.close()
            finally:
                await clients.fresh.close()

    async def call(self, request: Request, *, largest: int | None = LARGEST_REPLY) -> Reply:
        """Send a request, tried again where that is safe, and read the whole answer.

        Args:
            request: what to ask.
            largest: bytes of the body beyond which it is refused; None for no limit.

        Raises:
            AgentPhoneError: no answer, or one that is transient, after all attempts. Other
                answers are returned whatever their status.
        """
        apart = False  # once answers were mixed up, a connection of its own

        async def attempt(number: int) -> Reply:
            nonlocal apart
            try:
                async with await self.send(request, apart=apart) as answer:
                    body = self.without_key(await answer.body(largest))
                    reply = Reply(answer.status, answer.headers, body, attempts=number)
                if (wrong := await answer.doubt(reply)) is not None:
                    raise wrong
            except MismatchedAnswerError:
                apart = True
                raise
            if reply.status >= 400 and (error := error_of(request, reply)).transient:
                raise error
            return reply

        return await self.retrier.run(request, attempt)

    def without_key(self, text: AnyStr) -> AnyStr:
        """What a server said, without the API key, if it echoes that."""
        key = self.settings.api_key
        if not key:
            return text
        if isinstance(text, bytes):
            return text.replace(key.encode(), HIDDEN.encode())
        return text.replace(key, HIDDEN)

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str] | None = None,
        *,
        apart: bool = False,
        start: str | None = None,
    ) -> Answer:
        """Send a request once and return when the response head is there.

        Redirects of public requests are followed, others are returned as they are. Takes no slot
        and tries nothing again: that is `Retrier.run`.

        Args:
            request: what to ask.
            headers: more headers, such as ``Range``.
            apart: over a connection of its own, which is closed afterwards: for a body that is read
                as slowly as its reader likes, and would keep one of the pool for as long.
            start: begin at this URL instead of the base URL's, as if redirected there.

        Raises:
            MissingKeyError: the endpoint needs a key and the settings have none.
            TransportError: there was no answer.
            UnexpectedResponseError: it was not HTTP, or a redirect that is not followed.
        """
        first = response = None
        fast = None if headers or apart or start else self.ready().fast
        if fast is not None:
            try:
                response = await fast.get(request)
            except FOREIGN as error:
                ours = translated(error, request, self.host)
                self._doubt_the_pool(ours)
                raise ours from error
        if response is not None:
            self.limits.connection_worked()
            first = Answer(response, request, self.host, self.settings.timeouts, self.limits)
            if first.status not in REDIRECTS:
                return first
        answer = await self._follow(request, headers, start, first, apart=apart)
        if answer.redirected and answer.status in REFUSALS:
            # The address may have expired on the way; the origin gives a fresh one.
            answer.close()
            answer = await self._follow(request, headers, start, apart=apart)
        return answer

    async def _follow(
        self,
        request: Request,
        headers: Mapping[str, str] | None,
        start: str | None,
        first: Answer | None = None,
        *,
        apart: bool,
    ) -> Answer:
        """Send it, unless the ``first`` answer is there already, and go where it leads."""
        url = start or self.settings.base_url + request.path
        if request.query:
            url += "?" + urlencode(request.query, quote_via=quote)
        answer, before = first, None
        begin = 0 if start is None else 1
        for hop in itertools.count(begin):
            if answer is None:
                client = self._client_for(request, apart=apart)
                answer = await self._send_once(client, request, url, headers, at_home=hop == 0)
            answer.redirected = hop > begin
            if before is not None:
                answer.trust.follows(before)
            if answer.status not in REDIRECTS:
                return answer
            location = answer.headers.get("Location")
            before = answer.redirects(location)
            answer.close()
            url = next_hop(request, url, location, status=answer.status, hop=hop)
            answer = None
        raise AssertionError  # next_hop bounds the chain

    async def _send_once(
        self,
        client: aiohttp.ClientSession,
        request: Request,
        url: str,
        headers: Mapping[str, str] | None,
        *,
        at_home: bool,
    ) -> Answer:
        sent = {**self.settings.headers} if at_home else {}
        sent.setdefault("Accept", request.accept)
        if headers:
            sent.update(headers)
        if request.authenticated and at_home:
            if self.settings.api_key is None:
                raise MissingKeyError(
                    f"{what_was_asked(request)} needs an API key; set AGENTPHONE_API_KEY",
                ).about(request)
            sent.update(self._auth)
        data = None
        if request.body is not None:
            data = json.dumps(request.body).encode()
            sent["Content-Type"] = "application/json"
        timeouts = self.settings.timeouts
        timeout = self._timeout
        if request.live or request.patience:
            timeout = _timeout(timeouts, math.inf if request.live else request.patience)
        host = self.host if at_home else urlsplit(url).netloc
        proxy = self._proxies.of(url)
        try:
            async with asyncio.timeout(timeouts.connect + timeouts.head + request.patience):
                response = await client.request(
                    request.method,
                    URL(url, encoded=True),
                    data=data,
                    headers=sent,
                    allow_redirects=False,
                    proxy=proxy,
                    ssl=self._tls_to(url, proxy),
                    timeout=timeout,
                )
        except FOREIGN as error:
            ours = translated(error, request, host, redirected=not at_home)
            self._doubt_the_pool(ours)
            raise ours from error
        self.limits.connection_worked()
        return Answer(response, request, host, timeouts, self.limits)

    def _doubt_the_pool(self, error: AgentPhoneError) -> None:
        """After a silence on a connection that was used before, use none of the idle ones again.

        After sleep, or behind a NAT that forgets, all of them are dead.
        """
        trust = latest_trust.get()
        if isinstance(error, TimedOutError) and error.sent and trust and not trust.first:
            connector = self.ready().pooled.connector
            if isinstance(connector, CheckedConnector):
                connector.retire()

    def _client_for(self, request: Request, *, apart: bool) -> aiohttp.ClientSession:
        clients = self.ready()
        alone = apart or request.live or not request.repeatable
        return clients.fresh if alone else clients.pooled


def _timeout(timeouts: Timeouts, patience: float = 0.0) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None,  # aiohttp's default of five minutes ends long downloads
        connect=None,
        sock_connect=timeouts.connect,
        sock_read=None if patience == math.inf else timeouts.read + patience,
    )
