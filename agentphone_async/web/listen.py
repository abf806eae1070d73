"""An address to listen on, and listening there."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from dataclasses import dataclass

from aiohttp import web

from agentphone_async.errors import ConfigurationError
from agentphone_async.protocol.display import printable


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen.

    Attributes:
        host: an IP address, or ``localhost``.
        port: 0 takes any that is free.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``127.0.0.1:8080``, ``[::1]:8080`` or ``localhost:8080``.

        Raises:
            ConfigurationError: it is none of these.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""
        if host == "*":
            host = "0.0.0.0"  # noqa: S104 - refused below, unless asked for
        number = int(port) if port.isascii() and port.isdigit() else -1
        if not colon or not _is_host(host) or not 0 <= number <= 65535:
            raise ConfigurationError(
                f"{printable(text, 80)!r} is not an address to listen on; use HOST:PORT with an IP "
                "address, such as 127.0.0.1:8080"
            )
        return cls(host, number)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def runner_of(app: web.Application, shutdown_timeout: float) -> web.AppRunner:
    """To serve an application: nothing of requests is logged but what is wrong, in one line."""
    log = logging.getLogger("agentphone_async.web.http")
    log.addFilter(_in_one_line)
    return web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_timeout, logger=log)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Without a traceback; what somebody sent may be in it, and is nobody's business."""
    if record.exc_info and record.exc_info[1] is not None:
        record.msg, record.args = f"{record.getMessage()}: {type(record.exc_info[1]).__name__}", ()
        record.exc_info = None
    if record.levelno > logging.WARNING:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


async def listen(runner: web.AppRunner, address: Address) -> Address:
    """Serve an application there, and return the address with the real port.

    Raises:
        ConfigurationError: the port is taken, or the address is not this machine's.
    """
    # Not 'localhost' itself: it may be two addresses, and two different free ports.
    host = "127.0.0.1" if address.host == "localhost" else address.host
    site = web.TCPSite(runner, host, address.port, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(
            f"cannot listen on {address}: {reason.lower()}; choose another port or address"
        ) from error
    real = runner.addresses[0]
    return Address(address.host, real[1])


def notify(state: str) -> bool:
    """Tell systemd, if it asked to be told (sd_notify(3)); ``READY=1``, ``STOPPING=1``."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where or not hasattr(socket, "AF_UNIX"):
        return False
    path = "\0" + where[1:] if where.startswith("@") else where
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        try:
            client.sendto(state.encode(), path)
        except OSError:
            return False
    return True
