"""Settings: frozen, with their units; the environment is read in one place, on request."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from urllib.parse import urlsplit

from agentphone_async._version import __version__
from agentphone_async.errors import ConfigurationError

DEFAULT_BASE_URL = "https://api.agentphone.ai"
_LIVE = re.compile(r"sk[_-]live[_-]", re.IGNORECASE)
"""What keys have in them that cost money."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "proxy-authorization",
        "range",
        "te",
        "upgrade",
        "transfer-encoding",
        "user-agent",
    }
)

USER_AGENT = f"agentphone-async/{__version__}"


LARGEST_RECORDING = 4 * 1024**3
"""Bytes; what a RIFF file can hold, and days of telephone audio. A body beyond it has no end."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, each in seconds; there is no limit on a transfer's total time.

    Attributes:
        connect: for one connection, TCP and TLS together.
        read: without a single byte arriving.
        head: from sending the request to the complete response head.
        minimum_speed: bytes per second below which a body counts as stalled; 0 turns it off
            (curl's ``--speed-limit``).
        minimum_speed_window: seconds over which that speed is measured (``--speed-time``).
    """

    connect: float = 10.0
    read: float = 30.0
    head: float = 60.0
    minimum_speed: int = 1024
    minimum_speed_window: float = 30.0

    def __post_init__(self) -> None:
        for name in ("connect", "read", "head", "minimum_speed_window"):
            seconds = getattr(self, name)
            if not 0 < seconds < math.inf:
                raise ConfigurationError(f"the {name} timeout is {seconds} s; use more than 0")
        if self.minimum_speed < 0:
            raise ConfigurationError(
                f"minimum_speed is {self.minimum_speed}; use 0 to turn it off, or more"
            )

    @classmethod
    def of(cls, seconds: float) -> Timeouts:
        """One number for connecting and for each wait, as the official SDK's ``timeout``."""
        return cls(connect=seconds, read=seconds, head=max(seconds, Timeouts().head))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What is tried again, and for how long, where trying again is safe at all.

    Attributes:
        attempts: how many times one request may fail, at least 1. What is the host's failure (it
            cannot be reached, or refuses everybody for a while) and what made progress do not
            count.
        first_delay: seconds; the first pause is random between 0 and this, the next ones
            double (full jitter).
        longest_delay: seconds; the cap of that growth.
        longest_wait: seconds; the server is waited for exactly as long as it asks, up to this.
        total: seconds of failing attempts and pauses after which none is begun any more. It is
            also how long an outage of the whole host is waited out.
    """

    attempts: int = 5
    first_delay: float = 0.5
    longest_delay: float = 20.0
    longest_wait: float = 3600.0
    total: float = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(
                f"attempts is {self.attempts}; one request is sent at least once: use 1 or more"
            )


def check_base_url(base_url: str, *, allow_http: bool = False) -> str:
    """Return the base URL without a trailing slash, or say why it cannot be one.

    Plain ``http://`` would send the API key and the recordings in the clear, so it is allowed
    towards this machine only (for the emulator).

    Raises:
        ConfigurationError: no http(s) URL, no host, credentials, query or fragment inside, a path
            that ends in ``/v1``, or ``http://`` to a host that is not loopback.
    """
    shown = _without_secrets(base_url)
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"base URL {shown} is malformed: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "the base URL contains credentials; give the key in AGENTPHONE_API_KEY instead"
        )
    if parts.scheme not in {"http", "https"} or not host:
        raise ConfigurationError(
            f"base URL {shown} is not an http(s) URL; expected something like {DEFAULT_BASE_URL}"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(f"base URL {shown} has a query or a fragment; leave them out")
    if parts.path.rstrip("/").endswith("/v1"):
        # Every request would answer 404, which is what a call without a recording answers.
        raise ConfigurationError(
            f"base URL {shown} ends in /v1, which is added by itself; leave it out"
        )
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in base_url):
        raise ConfigurationError(f"base URL {shown} contains white space or control characters")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise ConfigurationError(
            f"base URL {shown} is not encrypted; use https:// (http:// is for loopback only, "
            "unless allow_http says that the network is private)"
        )
    return base_url.rstrip("/")


def _without_secrets(base_url: str) -> str:
    """The value for a message, unless it looks as if a key were in it."""
    if "@" in base_url or base_url.lstrip().startswith("sk_"):
        return "(not shown, since it seems to contain a key or password)"
    return repr(base_url)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_api_key(api_key: str) -> str:
    """Return the key without surrounding white space, or say why it cannot be one.

    Raises:
        ConfigurationError: it is empty, or cannot stand in an HTTP header. The message never
            shows the key.
    """
    key = api_key.strip()
    if not key:
        raise ConfigurationError("the API key is empty; set AGENTPHONE_API_KEY to a key")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(
            "the API key contains characters that no key has (it is not shown here); copy it again"
        )
    return key


def check_proxy(proxy: str) -> str:
    """Return the URL of a proxy, or say why it cannot be one; its password is never shown.

    Raises:
        ConfigurationError: it is not an http(s) URL with a host.
    """
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            "the proxy is not an http(s) URL; write it as http://proxy.example.com:3128"
        )
    return proxy


def check_headers(headers: Mapping[str, str]) -> None:
    """Say which extra header cannot be sent, or must not be.

    Raises:
        ConfigurationError: it is not a header, or one that this package sends itself.
    """
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not all(0x20 <= ord(each) < 0x7F for each in value):
            raise ConfigurationError(f"header {name!r} cannot be sent; use printable ASCII")
        if name.lower() in _OWN_HEADERS:
            raise ConfigurationError(f"header {name!r} is set by this package; leave it out")


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a client needs to know; nothing in it changes afterwards.

    Attributes:
        api_key: the bearer token; None is enough for recordings, which are public by their id.
            Never part of ``repr``.
        base_url: scheme, host and optional prefix; `check_base_url` holds for it.
        sub_account: sent as ``X-Sub-Account-Id`` with authenticated requests.
        connections: the most that are open to the host at once, besides those of streams; None
            for 64, and as many as prove to be of use, up to 256, for automatic transfers.
        tpslimit: requests per second, listing and fetching together; None for no limit.
        bwlimit: bytes per second of all answers, such as ``8M`` (binary multiples); None for no
            limit.
        max_file_size: bytes of one recording beyond which it is refused, by default 4 GiB; None
            for no limit.
        ca_file: a PEM file of certificate authorities in addition to the system's.
        proxy: URL of an HTTP proxy for everything; by default what ``HTTPS_PROXY``,
            ``HTTP_PROXY`` and ``NO_PROXY`` say. Never part of ``repr``.
        ssl: an ``ssl.SSLContext`` of your own, for client certificates, say.
        headers: what goes to the API with every request, besides what is sent anyway; never to
            where it redirects. Never part of ``repr``.
        allow_http: permits ``http://`` beyond loopback, for a mock in a private network. A key
            that looks live is refused then.
    """

    api_key: str | None = field(default=None, repr=False)
    base_url: str = DEFAULT_BASE_URL
    sub_account: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    connections: int | None = None
    tpslimit: float | None = None
    bwlimit: str | None = None
    max_file_size: int | None = LARGEST_RECORDING
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)
    ssl: SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    allow_http: bool = False

    def __post_init__(self) -> None:
        checked = check_base_url(self.base_url, allow_http=self.allow_http)
        object.__setattr__(self, "base_url", checked)
        check_headers(self.headers)
        if self.proxy is not None:
            check_proxy(self.proxy)
        if self.api_key is not None:
            object.__setattr__(self, "api_key", check_api_key(self.api_key))
        parts = urlsplit(checked)
        if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
            sent = (self.api_key or "", *self.headers.values())
            if any(map(_LIVE.search, sent)):
                raise ConfigurationError(
                    f"a live API key is not sent over unencrypted http to {parts.hostname}; "
                    "use https:// or a test key"
                )
        if self.sub_account is not None and not (
            self.sub_account.isascii() and self.sub_account.isprintable() and self.sub_account
        ):
            raise ConfigurationError(f"sub-account {self.sub_account!r} cannot be sent in a header")
        if self.connections is not None and self.connections < 1:
            raise ConfigurationError(f"connections is {self.connections}; use 1 or more")
        if self.tpslimit is not None and not 0 < self.tpslimit < float("inf"):
            raise ConfigurationError(f"tpslimit is {self.tpslimit}; use more than 0 a second")


def from_environment(
    api_key: str | None, base_url: str | None, environment: Mapping[str, str] | None = None
) -> tuple[str | None, str]:
    """Fill in from the environment what was not given.

    ``AGENTPHONE_API_KEY`` and ``AGENTPHONE_BASE_URL`` are read; an empty variable counts as not
    set, because that is what an unset secret looks like in most schedulers.

    Returns:
        The API key, or None, and the base URL.
    """
    environment = os.environ if environment is None else environment
    return (
        api_key if api_key is not None else environment.get("AGENTPHONE_API_KEY") or None,
        base_url or environment.get("AGENTPHONE_BASE_URL") or DEFAULT_BASE_URL,
    )
