"""Names that lead into the network that we run in."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver

from agentphone_async import Settings
from agentphone_async.errors import UnexpectedResponseError
from agentphone_async.transport.resolver import OutwardResolver
from agentphone_async.transport.session import Session

HOME = "api.example.com"


class Names(AbstractResolver):
    """A name server with a table."""

    def __init__(self, **addresses):
        self.addresses = addresses
        self.closed = False

    async def resolve(self, host, port=0, family=socket.AF_INET):
        found = self.addresses.get(host.partition(".")[0])
        if found is None:
            raise OSError(None, "DNS lookup failed")
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": family,
                "proto": 0,
                "flags": 0,
            }
            for address in found
        ]

    async def close(self):
        self.closed = True


def resolver(home=HOME, **addresses):
    return OutwardResolver(home, Names(**addresses))


async def addresses(resolver, host):
    return [found["host"] for found in await resolver.resolve(host, 443)]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.7", "192.168.1.1", "169.254.169.254", "::1", "fd00::1", "0.0.0.0"],
)
async def test_a_public_api_cannot_send_us_inside(address):
    names = resolver(api=["93.184.216.34"], evil=[address])
    await names.resolve(HOME)
    with pytest.raises(UnexpectedResponseError, match=r"evil\.example\.com.*private network"):
        await names.resolve("evil.example.com", 443)


async def test_nor_if_its_own_address_was_never_asked_for():
    with pytest.raises(UnexpectedResponseError, match="private network"):
        await resolver(evil=["127.0.0.1"]).resolve("evil.example.com")


async def test_of_several_addresses_the_public_ones_remain():
    names = resolver(mixed=["10.0.0.7", "93.184.216.34", "127.0.0.1"])
    assert await addresses(names, "mixed.example.com") == ["93.184.216.34"]


async def test_the_api_itself_may_be_anywhere_and_then_so_may_its_storage():
    names = resolver(api=["10.0.0.1"], storage=["10.0.0.2"])
    with pytest.raises(UnexpectedResponseError):
        await names.resolve("storage.example.com")
    assert await addresses(names, HOME) == ["10.0.0.1"]
    assert await addresses(names, "storage.example.com") == ["10.0.0.2"]


@pytest.mark.parametrize("home", ["127.0.0.1", "localhost", "::1", "api.internal"])
async def test_an_api_that_is_inside_by_its_name_needs_no_look(home):
    assert await addresses(resolver(home, storage=["10.0.0.2"]), "storage.example.com")


async def test_names_that_do_not_resolve_say_so():
    with pytest.raises(OSError, match="DNS lookup failed"):
        await resolver().resolve("nowhere.example.com")


async def test_closing_closes_what_resolves():
    names = Names()
    await OutwardResolver(HOME, names).close()
    assert names.closed


async def test_every_connection_of_a_session_is_made_through_it(monkeypatch):
    """Down to the error that a caller sees, which is final."""
    monkeypatch.setattr(
        "agentphone_async.transport.session.PatientResolver", lambda _: Names(evil=["127.0.0.1"])
    )
    async with Session(Settings(base_url=f"https://{HOME}")) as session:
        for client in (session.ready().pooled, session.ready().fresh):
            with pytest.raises(UnexpectedResponseError, match="private network") as caught:
                await client.get("https://evil.example.com/a.wav")
            assert not caught.value.transient
