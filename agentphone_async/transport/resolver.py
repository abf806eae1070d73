"""Name resolution that keeps redirects out of the network that this program runs in.

`agentphone_async.protocol.redirects` refuses addresses and names that are private by their look; a
public name may lead to a private address all the same, and only here that is seen.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from agentphone_async.errors import UnexpectedResponseError
from agentphone_async.protocol.redirects import is_inside, is_metadata


class OutwardResolver(AbstractResolver):
    """Resolves the API's host as it is, and for all others gives public addresses only.

    If the API itself lies inside a private network, so may everything that it redirects to, but for
    the addresses where clouds tell secrets to their machines.

    Args:
        home: the API's host.
        names: what really resolves.
        known: other hosts that may be anywhere, such as a proxy.
    """

    def __init__(
        self, home: str, names: AbstractResolver, *, known: frozenset[str] = frozenset()
    ) -> None:
        self._home = home
        self._known = known
        self._names = names
        self._home_is_inside = is_inside(home)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            OSError: there are none.
            UnexpectedResponseError: all of them are private.
        """
        found = await self._names.resolve(host, port, family)
        if host in self._known:
            return found
        if host == self._home:
            self._home_is_inside |= any(is_inside(address["host"]) for address in found)
        if host == self._home:
            return found
        refused = is_metadata if self._home_is_inside else is_inside
        outside = [address for address in found if not refused(address["host"])]
        if not outside:
            raise UnexpectedResponseError(
                f"a redirect to {host} is not followed: its name leads into a private network"
            )
        return outside

    async def close(self) -> None:
        """Nothing is kept open, unless by ``names``."""
        await self._names.close()


class PatientResolver(AbstractResolver):
    """Asks the system, in a thread of its own that nobody waits for when the program ends.

    A look-up cannot be interrupted; one that hangs must hold up neither a time-out nor Ctrl-C, nor
    fill a pool of threads that others need.

    Args:
        patience: seconds for one look-up.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        Raises:
            OSError: there are none, or not in time.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def tell(found: list[Any] | None, error: OSError | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found or [])

        def look_up() -> None:
            found, failure = None, None
            try:
                found = socket.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
                )
            except OSError as error:
                failure = error
            except UnicodeError as error:
                failure = OSError(None, str(error))
            try:
                loop.call_soon_threadsafe(tell, found, failure)
            except RuntimeError:  # the loop is closed: nobody wants to know any more
                return

        threading.Thread(target=look_up, name="look-up", daemon=True).start()
        try:
            async with asyncio.timeout(self._patience):
                found = await answer
        except TimeoutError as error:
            raise OSError(None, "the name look-up took too long") from error
        return [_result(host, entry) for entry in found]

    async def close(self) -> None:
        """Nothing is kept open."""


def _result(host: str, entry: Any) -> ResolveResult:
    family, _, proto, _, address = entry
    where = address[0]
    if family == socket.AF_INET6 and len(address) > 3 and address[3]:  # a scope, such as %eth0
        where, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return {
        "hostname": host,
        "host": where,
        "port": address[1],
        "family": family,
        "proto": proto,
        "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    }
