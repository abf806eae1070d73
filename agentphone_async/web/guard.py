"""Who may see the page of `serve`: who has the token, in a browser that means this address.

A web page elsewhere can make a browser send requests to 127.0.0.1, and a name of its own can be
made to lead there (DNS rebinding). So the token of the URL becomes a cookie that no other site's
request carries, and the ``Host`` of a request must be the address that was printed.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from html import escape

from aiohttp import hdrs, web

from agentphone_async.web.listen import Address

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ENTER = (
    "<!doctype html><meta http-equiv=refresh content='0;url=/'><title>Calls</title>"
    "<link rel=icon href=/icon.svg>"
)
_SAID = "<!doctype html><meta charset=utf-8><title>Calls</title><p>{}"

_log = logging.getLogger("agentphone_async.web")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Stands before every route.

    Attributes:
        token: belongs into the URL that is opened, as ``?token=…``.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)
        self._hosts: frozenset[str] = frozenset()
        self._cookie = ""

    def at(self, address: Address) -> str:
        """Guard this address; returns the URL to open."""
        names = {"localhost", "127.0.0.1", "[::1]"}
        self._hosts = frozenset({str(address), *(f"{name}:{address.port}" for name in names)})
        # Cookies do not tell ports apart: two archives may be served at once.
        self._cookie = f"agentphone_{address.port}"
        return f"http://{address}/?token={self.token}"

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, or say why not; whatever is said has the headers."""
        answer = self._refusal(request) or self._entrance(request)
        if answer is None:
            try:
                answer = await handler(request)
            except web.HTTPException as error:
                answer = said(error.status, error.reason)
            except Exception as error:  # noqa: BLE001 - what went wrong is said in one line
                _log.error("a page cannot be shown: %s: %s", type(error).__name__, error)
                answer = said(500, "It cannot be read; the terminal says why.")
        if not answer.prepared:
            answer.headers.update(HEADERS)
            answer.headers[hdrs.SERVER] = "agentphone-async"
        return answer

    def _refusal(self, request: web.Request) -> web.StreamResponse | None:
        hosts = request.headers.getall(hdrs.HOST, [])
        here = request.raw_path.startswith("/") or request.method == "OPTIONS"
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts or not here:
            return said(421, "This is not the address that was printed.")
        if request.method not in {"GET", "HEAD"}:
            answer = said(405, "Nothing can be changed here.")
            answer.headers[hdrs.ALLOW] = "GET, HEAD"
            return answer
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and not _is_opened(request):
            return said(403, "Another site asked for this.")
        return None

    def _entrance(self, request: web.Request) -> web.StreamResponse | None:
        given = request.query.getall("token", [])
        if given and _same(given[0], self.token):
            answer = web.Response(text=_ENTER, content_type="text/html")
            answer.set_cookie(
                self._cookie, self._session, httponly=True, samesite="Strict", path="/"
            )
            return answer
        if _same(request.cookies.get(self._cookie, ""), self._session):
            return None
        return said(403, "Open the link that 'agentphone-async serve' printed: it has a token.")


def said(status: int, line: str) -> web.Response:
    """An answer of one line."""
    return web.Response(status=status, text=_SAID.format(escape(line)), content_type="text/html")


def _is_opened(request: web.Request) -> bool:
    """Whether somebody followed a link, in contrast to what a page loads by itself."""
    return request.headers.get("Sec-Fetch-Mode") == "navigate"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode())
