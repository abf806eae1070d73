"""Which proxy a request goes through, by the settings or by the environment."""

from __future__ import annotations

import logging
import urllib.request
from urllib.parse import urlsplit

from agentphone_async.protocol.display import printable

_log = logging.getLogger("agentphone_async.transport")


class Proxies:
    """``proxy=`` for everything, or else ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``.

    Args:
        proxy: URL of a proxy that was set; None to look into the environment.
    """

    def __init__(self, proxy: str | None) -> None:
        self._proxy = proxy
        self._environment = {} if proxy else urllib.request.getproxies_environment()
        self._told: set[str] = set()

    @property
    def hosts(self) -> frozenset[str]:
        """Where they are: these may well be in a private network."""
        urls = [self._proxy] if self._proxy else list(self._environment.values())
        return frozenset(filter(None, (_parts(url)[0] for url in urls)))

    def of(self, url: str) -> str | None:
        """The URL of the proxy for a URL; None for going there directly."""
        if self._proxy:
            return self._proxy
        if not self._environment:
            return None
        parts = urlsplit(url)
        found = self._environment.get(parts.scheme)
        if not found or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
            return None
        if "://" not in found:
            found = f"http://{found}"
        if found not in self._told:
            self._told.add(found)
            host, port = _parts(found)
            _log.info("using the proxy %s:%s from the environment", printable(host), port)
        return found


def _parts(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return parts.hostname or "", parts.port
    except ValueError:
        return "", None
