"""What this process takes of the machine."""

from __future__ import annotations

import sys
from pathlib import Path


def resident_bytes() -> int | None:
    """Bytes of memory that this process has now; its peak where only that is told.

    Returns:
        None on Windows.
    """
    try:
        status = Path("/proc/self/statm").read_text(encoding="ascii")
    except OSError:
        return _peak_bytes()
    import resource  # noqa: PLC0415 - there is none on Windows

    return int(status.split()[1]) * resource.getpagesize()


def _peak_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - there is none on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
