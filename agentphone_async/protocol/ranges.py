"""Whether a body that was cut off may continue where it stopped (RFC 9110, 8.8, 13.1.5, 14, 15.3).

Four answers to a ranged request have corrupted downloads for decades: a 200 appended to what was
there, a 206 that starts elsewhere, a 304, and a 416 for a complete file. So the rule here is that
the bytes continue only when the answer *proves* that they belong to the same representation, start
where ours end, and run to the end that we expect. Everything else starts from zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from agentphone_async.protocol.retry_after import parse_http_date

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\U0010ffff]*"')
_CONTENT_RANGE = re.compile(
    r"bytes +(?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)", re.IGNORECASE
)
_NUMBER = re.compile(r"[0-9]{1,18}")

# RFC 9110, section 8.8.2.2 lets a date count as strong when it is old enough; a file written twice
# within the resolution of a date would look the same. The minute is that of RFC 7232.
_DATE_IS_STRONG_AFTER = timedelta(seconds=60)


class Resume(Enum):
    """What to do with the answer to a ranged request."""

    CONTINUE = auto()
    """The body is proved to be the rest: append it."""
    RESTART_WITH_THIS_BODY = auto()
    """The body is the whole representation: drop what there is and write this one from zero."""
    RESTART = auto()
    """The body is of no use: drop it and what there is, and ask again without a range."""


@dataclass(frozen=True, slots=True)
class Validator:
    """What a response said that lets its bytes be recognised later.

    Attributes:
        etag: a strong entity tag, quotes included; None for none or a weak one.
        last_modified: the header as it came, when it is usable as a strong validator.
    """

    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Validator:
        """The validator in the headers of the first response (looked up without regard to case).

        `Last-Modified` counts only where there is no entity tag at all (section 13.1.5) and where
        the `Date` of the same response is at least a minute later (section 8.8.2.2).
        """
        etag = headers.get("ETag")
        if etag is not None:
            etag = etag.strip()
            return cls(etag=etag if _STRONG_ETAG.fullmatch(etag) else None)
        modified = headers.get("Last-Modified", "").strip()
        return cls(last_modified=modified if _is_strong_date(modified, headers) else None)

    @property
    def if_range(self) -> str | None:
        """The value for an `If-Range` header, or None when a resume cannot be made safe."""
        return self.etag or self.last_modified

    def is_confirmed_by(self, headers: Mapping[str, str]) -> bool:
        """Whether `headers` carry this very validator; silence is not confirmation."""
        if self.etag is not None:
            return headers.get("ETag", "").strip() == self.etag
        if self.last_modified is not None:
            return headers.get("Last-Modified", "").strip() == self.last_modified
        return False


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A `Content-Range` in bytes.

    Attributes:
        first: offset of the first byte; None in an answer that the range cannot be satisfied.
        last: offset of the last byte, inclusive; None likewise.
        total: length of the whole representation; None where the server left it open (``*``).
    """

    first: int | None
    last: int | None
    total: int | None


def resume_headers(validator: Validator, offset: int) -> dict[str, str]:
    """The headers that ask for the bytes from `offset` on; empty where a resume is not safe."""
    condition = validator.if_range
    if condition is None or offset <= 0:
        return {}
    return {"Range": f"bytes={offset}-", "If-Range": condition}


def parse_content_range(value: str) -> ContentRange | None:
    """Read a `Content-Range` header; None for another unit, nonsense, or numbers that disagree."""
    found = _CONTENT_RANGE.fullmatch(value.strip())
    if found is None or found[0].endswith("*/*"):
        return None
    total = None if found[3] == "*" else int(found[3])
    if found[1] is None:
        return ContentRange(None, None, total)
    first, last = int(found[1]), int(found[2])
    if first > last or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def is_whole(status: int, headers: Mapping[str, str]) -> bool:
    """Whether the answer to a request without a range holds the whole representation.

    200 and 203 do; so may a 206 that nobody asked for.
    """
    if status != 206:
        return status in {200, 203}
    span = parse_content_range(headers.get("Content-Range", ""))
    return (
        span is not None
        and span.first == 0
        and span.total is not None
        and span.last == span.total - 1
        and _is_one_part(headers)
    )


def judge_resume(
    status: int,
    headers: Mapping[str, str],
    offset: int,
    total: int | None,
    validator: Validator,
) -> Resume:
    """Decide about the answer to a request that was made with `resume_headers`.

    Args:
        status: of the answer. Transient errors (429, 5xx …) belong to the retry policy and should
            not come here; they would be told to restart.
        headers: of the answer, looked up without regard to case.
        offset: how many bytes there are already; the range asked for starts here.
        total: the length that the first response declared, or None if it declared none.
        validator: from the first response.

    Returns:
        `CONTINUE` only for a 206 in one part and without a content coding that starts at `offset`,
        ends at the last byte, agrees with `total`, and repeats the validator.
        `RESTART_WITH_THIS_BODY` for a 200: the server ignored the range or the bytes changed; its
        headers deserve the same checks as those of a first response.
        `RESTART` for anything else (206 that proves less, 304, 416, …).
    """
    if status == 200:
        return Resume.RESTART if _is_part(headers) else Resume.RESTART_WITH_THIS_BODY
    if status != 206 or offset <= 0:
        return Resume.RESTART
    proved = (
        _is_plain(headers)
        and validator.is_confirmed_by(headers)
        and _is_the_rest(headers, offset, total)
    )
    return Resume.CONTINUE if proved else Resume.RESTART


def _is_part(headers: Mapping[str, str]) -> bool:
    """Whether a 200 admits that it holds only a part, as some broken servers' do."""
    value = headers.get("Content-Range")
    if value is None:
        return False
    span = parse_content_range(value)
    return span is None or span.first != 0 or span.total is None or span.last != span.total - 1


def _is_plain(headers: Mapping[str, str]) -> bool:
    """Neither encoded (offsets would count other bytes) nor in several parts."""
    coding = headers.get("Content-Encoding", "").strip().lower()
    return coding in ("", "identity") and _is_one_part(headers)


def _is_one_part(headers: Mapping[str, str]) -> bool:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind != "multipart/byteranges"


def _is_the_rest(headers: Mapping[str, str], offset: int, total: int | None) -> bool:
    span = parse_content_range(headers.get("Content-Range", ""))
    if span is None or span.first != offset or span.last is None:
        return False
    end = total if span.total is None else span.total
    if end is None or span.last != end - 1 or (total is not None and total != end):
        return False
    length = headers.get("Content-Length")
    if length is None:
        return True
    length = length.strip()
    return bool(_NUMBER.fullmatch(length)) and int(length) == end - offset


def _is_strong_date(modified: str, headers: Mapping[str, str]) -> bool:
    changed = parse_http_date(modified)
    sent = parse_http_date(headers.get("Date", "").strip())
    return changed is not None and sent is not None and sent - changed >= _DATE_IS_STRONG_AFTER
