"""The peers, in the order in which tables show them. A new one is a class and a line here."""

from __future__ import annotations

from benchmarks.peers.aria2 import Aria2
from benchmarks.peers.curl import Curl, CurlAndHash
from benchmarks.peers.interface import Peer, Work
from benchmarks.peers.ours import Ours
from benchmarks.peers.python_tools import NaiveAiohttp, OfficialSdk, Parfive, Prototype
from benchmarks.peers.rclone import Rclone

REGISTRY: tuple[Peer, ...] = (
    Ours(),
    Ours(transfers="auto"),
    Ours(processes=2),
    Curl(),
    CurlAndHash("curl -Z + sha256sum", ("sha256sum",)),
    CurlAndHash("curl -Z + 2 sha256sum", ("sha256sum",), at_once=2),
    # Debian's sha256sum does not use the processor's SHA instructions; OpenSSL does.
    CurlAndHash("curl -Z + openssl sha256", ("openssl", "dgst", "-sha256", "-r")),
    Aria2(),
    Rclone(),
    OfficialSdk(),
    Parfive(),
    NaiveAiohttp(),
    Prototype(),
)

__all__ = ["REGISTRY", "Peer", "Work"]
