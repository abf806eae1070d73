"""Where an answer ends, told by its first bytes alone; and answers that came in one piece.

A parser that is ready for everything costs several times what most recordings need: a plain head,
and all of the body in the same read. What is plain is a narrow matter here (RFC 9112 without its
leniencies); whatever is not is left to aiohttp's parser, strange answers included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from multidict import CIMultiDict, CIMultiDictProxy

LONGEST_PLAIN = 8 * 1024
"""Bytes of a head that is read here."""

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})")
_PLAIN = re.compile(
    rb"HTTP/1\.1 [0-9]{3} [ -~]*\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)\r\n"
)
_NUMBER = re.compile(r"[0-9]{1,18}")
_FIELD = re.compile(r"([^:]+):[ \t]*([^\r]*[^\r \t]|)[ \t]*\r\n")


@dataclass(slots=True)
class PlainAnswer:
    """A plain head, and what came along with it; in place of aiohttp's message.

    If that is all of the body, it stands in place of aiohttp's stream, too.

    Attributes:
        code: the status.
        headers: as they came.
        data: head and body, as far as they came along.
        start: where the body begins in there; behind it, once it was read as a stream.
        missing: bytes of the body that did not come along.
    """

    code: int
    headers: CIMultiDictProxy[str]
    data: bytes
    start: int
    missing: int

    @property
    def body(self) -> bytes:
        """What came of it and has not been read."""
        return self.data[self.start :]

    async def readany(self) -> bytes:
        """All that has not been read."""
        body, self.start = self.body, len(self.data)
        return body


def whole_size(data: bytes) -> int | None:
    """Bytes of head and body together, by the head that ``data`` begins with; None if unknown."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    status = _STATUS.match(data)
    length = _LENGTH.findall(data, 0, end + 4)
    if status is None or len(length) != 1 or _CODED.search(data, 0, end + 4):
        return None
    code = int(status[1])
    return None if code < 200 or code in {204, 304} else end + 4 + int(length[0])


def plain_answer(data: bytes) -> PlainAnswer | None:
    """The answer that ``data`` is, or begins, if its head is plain; else None."""
    head = _PLAIN.match(data)
    if head is None or head.end() > LONGEST_PLAIN:
        return None
    headers = CIMultiDict(_FIELD.findall(head[1].decode("ascii")))
    code = int(data[9:12])
    lengths = headers.getall("Content-Length", ())
    if (
        len(lengths) != 1
        or _NUMBER.fullmatch(lengths[0]) is None
        or (missing := head.end() + int(lengths[0]) - len(data)) < 0
        or "Transfer-Encoding" in headers
        or code < 200
        or code in {204, 304}
        or headers.get("Connection", "keep-alive").lower() != "keep-alive"
        or "Content-Encoding" in headers
        or "Upgrade" in headers
    ):
        return None
    return PlainAnswer(code, CIMultiDictProxy(headers), data, head.end(), missing)
