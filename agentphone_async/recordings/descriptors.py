"""How many transfers this process has file descriptors for."""

from __future__ import annotations

import sys

RESERVED = 24
"""Descriptors for all but connections: catalog, lock, files being written, standard streams."""


def affordable(transfers: int) -> int:
    """At most as many transfers as there are descriptors for, and at least 1.

    Connections stay open between recordings. If they took all descriptors, no file could be
    opened, and waiting would not help.
    """
    if sys.platform == "win32":
        return transfers
    import resource  # noqa: PLC0415 - there is none on Windows

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return transfers
    return max(1, min(transfers, limit - RESERVED))
