"""A disk that fails at one step, for the files of one folder, after so many that went well."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentphone_async.sinks import disk

STEPS = ("mkdir", "open", "write", "fsync", "rename", "sync folder")


class BrokenDisk:
    """Patches the calls that write recordings; nothing else of the process is disturbed.

    Attributes:
        hits: how often it has failed.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, folder: Path, step: str, error: int, *, after: int = 0
    ) -> None:
        self._folder = os.fspath(folder)
        self._error = error
        self._left = after
        self._lock = threading.Lock()
        self.hits = 0
        self.mended = False
        patch.setattr(disk, "_syncfs", None)  # so that each file is synced on its own
        {
            "mkdir": lambda: self._wrap(patch, os, "mkdir", self._in_folder),
            "open": lambda: self._wrap(patch, os, "open", self._is_partial),
            "write": lambda: [
                self._wrap(patch, os, name, self._writes_partial) for name in ("write", "writev")
            ],
            "fsync": lambda: self._wrap(patch, os, "fsync", self._writes_partial),
            "rename": lambda: [
                self._wrap(patch, os, name, self._is_partial) for name in ("link", "rename")
            ],
            "sync folder": lambda: self._wrap(patch, os, "fsync", self._is_folder),
        }[step]()

    def _wrap(
        self, patch: pytest.MonkeyPatch, module: Any, name: str, ours: Callable[..., bool]
    ) -> None:
        real = getattr(module, name)

        def wrapped(first: Any, *args: Any, **more: Any) -> Any:
            if not self.mended and ours(first):
                with self._lock:
                    self._left -= 1
                    if self._left < 0:
                        self.hits += 1
                        raise OSError(self._error, os.strerror(self._error), str(first))
            return real(first, *args, **more)

        patch.setattr(module, name, wrapped)

    def _in_folder(self, path: Any) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(
            self._folder + "/"
        )

    def _is_partial(self, path: Any) -> bool:
        return self._in_folder(path) and os.fspath(path).endswith(".part")

    def _writes_partial(self, fd: int) -> bool:
        return self._is_partial(_name_of(fd))

    def _is_folder(self, fd: int) -> bool:
        name = _name_of(fd)
        return self._in_folder(name) and os.path.isdir(name)


def _name_of(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError as error:
        if error.errno == errno.ENOENT:
            return ""
        raise
