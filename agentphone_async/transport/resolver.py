"""Name resolution that keeps redirects out of the network that this program runs in.

`agentphone_async.protocol.redirects` refuses addresses and names that are private by their look; a
public name may lead to a private address all the same, and only here that is seen.
"""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from agentphone_async.errors import UnexpectedResponseError
from agentphone_async.protocol.redirects import is_inside


class OutwardResolver(AbstractResolver):
    """Resolves the API's host as it is, and for all others gives public addresses only.

    If the API itself lies inside a private network, so may everything that it redirects to.

    Args:
        home: the API's host.
        names: what really resolves.
    """

    def __init__(self, home: str, names: AbstractResolver | None = None) -> None:
        self._home = home
        self._names = names or aiohttp.ThreadedResolver()
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
        if host == self._home:
            self._home_is_inside |= any(is_inside(address["host"]) for address in found)
        if self._home_is_inside or host == self._home:
            return found
        outside = [address for address in found if not is_inside(address["host"])]
        if not outside:
            raise UnexpectedResponseError(
                f"a redirect to {host} is not followed: its name leads into a private network"
            )
        return outside

    async def close(self) -> None:
        """Nothing is kept open, unless by ``names``."""
        await self._names.close()
