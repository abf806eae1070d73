"""The peers, in the order in which tables show them. A new one is a class and a line here."""

from __future__ import annotations

from benchmarks.peers.aria2 import Aria2
from benchmarks.peers.curl import Curl
from benchmarks.peers.hashed import OPENSSL, RCLONE_HASHSUM, Hashed
from benchmarks.peers.interface import Peer, Work
from benchmarks.peers.ours import Ours
from benchmarks.peers.python_tools import NaiveAiohttp, OfficialSdk, Parfive, Prototype
from benchmarks.peers.rclone import Rclone

RECORD: tuple[Peer, ...] = (
    Hashed(Curl(), OPENSSL),
    Hashed(Rclone(), RCLONE_HASHSUM),
    Hashed(Aria2(), OPENSSL),
)
"""The peers of record: bytes on disk and a SHA-256 of each file, as ours leaves them."""

REGISTRY: tuple[Peer, ...] = (
    Ours(),
    Ours(transfers="auto"),
    *RECORD,
    # What follows does less, and is there for reference.
    Curl(),
    Aria2(),
    Rclone(),
    OfficialSdk(),
    Parfive(),
    NaiveAiohttp(),
    Prototype(),
)

__all__ = ["RECORD", "REGISTRY", "Peer", "Work"]
