"""The webhook's secret, from a file that only its owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from agentphone_async.errors import ConfigurationError
from agentphone_async.protocol.display import printable

_LONGEST = 4096


def read_secrets(path: Path) -> list[str]:
    """The secrets in a file, one a line; two while a secret is being changed.

    Raises:
        ConfigurationError: there is no such file, it is empty, or others could read it.
    """
    shown = printable(os.fspath(path), 200)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(_LONGEST + 1) if stat.S_ISREG(status.st_mode) else b""
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(f"cannot read the secret file {shown}: {reason}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the secret file {shown} is not a file")
    if os.name == "posix" and status.st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise ConfigurationError(
            f"the secret file {shown} has mode {stat.S_IMODE(status.st_mode):04o}, so others can "
            f"read or change it; run: chmod 600 {shown}"
        )
    if len(data) > _LONGEST:
        raise ConfigurationError(f"the secret file {shown} is longer than {_LONGEST} bytes")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the secret file {shown} is not text") from error
    secrets = [line.strip() for line in lines if line.strip()]
    if not secrets:
        raise ConfigurationError(
            f"the secret file {shown} is empty; write the webhook's secret (whsec_…) into it"
        )
    return secrets
