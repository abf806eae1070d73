"""The machine that measured, without saying whose it is: no host name, no user, no paths."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def describe(cache: Path) -> dict[str, str]:
    """Processor, memory, kernel, Python, the revision measured, and how busy it was before."""
    return {
        "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cores": str(os.cpu_count() or "unknown"),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
        "destination": _file_system(cache),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "revision": _revision(),
    }


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _memory() -> str:
    total = _field("/proc/meminfo", "MemTotal")
    return f"{int(total.split()[0]) / 1e6:.0f} GB" if total else "unknown"


def _file_system(folder: Path) -> str:
    """The type of the file system that ``folder`` lies on, from the longest matching mount."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    whole = folder.resolve()
    around = [(len(row[1]), row[2]) for row in mounts if whole.is_relative_to(row[1])]
    return max(around)[1] if around else "unknown"


def _revision() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
