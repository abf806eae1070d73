"""An answer as a value, before anything happens to it on the wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes that lie in a file: ``length`` of them from ``start``."""

    path: Path
    start: int
    length: int


Body = bytes | FileSlice | AsyncIterator[bytes]


@dataclass(slots=True)
class Reply:
    """A status, headers without framing, and a body.

    A body that comes from an iterator has no length and is sent in chunks.

    Attributes:
        whole: The body before a range was cut out of it, with its ETag; for faults that
            answer a range wrongly.
    """

    status: int
    headers: Headers = field(default_factory=list)
    body: Body = b""
    whole: bytes | FileSlice | None = None

    @property
    def length(self) -> int | None:
        """Bytes of the body, when that is known."""
        if isinstance(self.body, bytes):
            return len(self.body)
        return self.body.length if isinstance(self.body, FileSlice) else None


def json_reply(content: Any, status: int = 200) -> Reply:
    """An answer in JSON."""
    return Reply(status, [("Content-Type", "application/json")], json.dumps(content).encode())
