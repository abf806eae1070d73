"""Where a redirect may lead. Only recordings are redirected; they travel without credentials.

Following is bounded, never leaves encryption (RFC 9110 section 15.4, RFC 6797 in spirit), and never
reaches into the network that this program runs in: a public server has no business sending a
client to loopback, link-local (cloud metadata) or private addresses.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from agentphone_async.config import DEFAULT_BASE_URL
from agentphone_async.errors import UnexpectedResponseError
from agentphone_async.protocol.display import printable
from agentphone_async.protocol.endpoints import Request
from agentphone_async.protocol.responses import what_was_asked

REDIRECTS = frozenset({301, 302, 303, 307, 308})
LONGEST_CHAIN = 5

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = frozenset({"100.100.100.200", "fd00:ec2::254", "192.0.0.192"})
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "instance-data"})

_KEPT = "!#$%&'()*+,/:;=?@[]~"
"""What may stand in a URL besides letters, digits, ``-``, ``.`` and ``_`` (RFC 3986 section 2)."""


def next_hop(request: Request, current: str, location: str | None, *, status: int, hop: int) -> str:
    """The URL to continue with.

    Args:
        request: for messages.
        current: the URL that answered with the redirect.
        location: the ``Location`` header; None if there was none.
        status: the redirect's status.
        hop: how many redirects were followed before this one.

    Raises:
        UnexpectedResponseError: this redirect is not followed; the message says why.
    """
    if request.authenticated:
        why = "the API key is sent to the base URL only"
    elif not location:
        why = "it does not say where to"
    elif hop >= LONGEST_CHAIN:
        why = f"that was more than {LONGEST_CHAIN} in a row"
    else:
        try:
            target = _wellformed(urljoin(current, location))
            why = _objection(urlsplit(current), urlsplit(target))
        except ValueError:
            target, why = "", "its target is malformed"
        if not why:
            return target
    raise UnexpectedResponseError(
        f"{status} from {what_was_asked(request)} redirects to "
        f"{_without_secrets(location)}; not followed: {why}",
        status=status,
    ).about(request)


def other_address(request: Request, base_url: str, link: str) -> str | None:
    """Where a call's ``recordingUrl`` leads, if that is another address than its id's own.

    It is followed under the rules of a redirect from the id's address: without the key, and never
    out of encryption or into a private network. Its query may be a secret; it is nobody's to show.

    Args:
        request: for the recording by its id.
        base_url: where the API is; relative links begin there.
        link: the ``recordingUrl``, of any form.
    """
    own = urlsplit(base_url + request.path)
    try:
        url = _wellformed(urljoin(base_url + "/", link.strip()))
        target = urlsplit(url)
        if _objection(own, target):
            return None
    except ValueError:
        return None
    hosts = {own.netloc.lower(), urlsplit(DEFAULT_BASE_URL).netloc}
    paths = {unquote(own.path), unquote(request.path)}
    at_home = target.netloc.lower() in hosts and unquote(target.path) in paths
    return None if at_home and not target.query else url


def _wellformed(url: str) -> str:
    """The URL with everything encoded that must be; what was encoded stays as it is.

    Raises:
        ValueError: no port, no host name, or no text that could be sent.
    """
    parts = urlsplit(url)
    _ = parts.port  # looked at only now, since nothing else does
    parts.netloc.encode("ascii")
    (parts.hostname or "").encode("idna")  # for its check of labels
    return quote(url, safe=_KEPT)


def _objection(current: SplitResult, target: SplitResult) -> str:
    if target.scheme not in {"http", "https"} or not target.hostname:
        return "it leads to no web server"
    if target.username is not None or target.password is not None:
        return "its target contains credentials"
    if current.scheme == "https" and target.scheme == "http":
        return "it leads from https to unencrypted http"
    if is_metadata(target.hostname):
        return "it leads into a private network, to where clouds keep secrets"
    if not is_inside(current.hostname or "") and is_inside(target.hostname):
        return "it leads into a private network"
    if target.scheme == "http" and not is_inside(target.hostname):
        return "it leads to unencrypted http"
    return ""


def is_metadata(host: str) -> bool:
    """Whether a host is link-local, or another place where clouds keep credentials."""
    host = host.rstrip(".").lower()
    if host in _METADATA_NAMES:
        return True
    try:
        address = _plain_address(host)
    except ValueError:
        number = _number_as_address(host)
        return number is not None and _is_secretive(number)
    return _is_secretive(address)


def _is_secretive(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_link_local or str(address) in _METADATA


def _plain_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address, out of the IPv6 disguises of an IPv4 one: mapped, NAT64, 6to4, Teredo.

    Raises:
        ValueError: it is not an address.
    """
    address = ipaddress.ip_address(host.partition("%")[0].strip("[]"))
    if isinstance(address, ipaddress.IPv4Address):
        return address
    number = int(address)
    if address in _NAT64 or 1 < number < 1 << 32:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    return inner or address


def _number_as_address(host: str) -> ipaddress.IPv4Address | None:
    """What resolvers take ``2852039166``, ``0xa9fea9fe`` or ``169.254.43518`` for."""
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def is_inside(host: str) -> bool:
    """Whether a host is none of the public network, by its address or by the look of its name."""
    host = host.rstrip(".")  # the absolute form of a name is the same name
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not _plain_address(host).is_global
    except ValueError:
        # Forms such as 2130706433 or 0x7f.1, which resolvers take for addresses.
        last = host.rpartition(".")[2]
        return last.isdigit() or last.startswith("0x")


def _without_secrets(location: str | None) -> str:
    """The target without user, query and fragment: signed URLs carry their secret there."""
    if not location:
        return "nowhere"
    try:
        parts = urlsplit(location)
    except ValueError:
        return "a malformed URL"
    host = (parts.netloc.rpartition("@")[2] or "the same host") if parts.netloc else "the same host"
    scheme = f"{parts.scheme}://" if parts.scheme and parts.netloc else ""
    return printable(f"{scheme}{host}", 120)
