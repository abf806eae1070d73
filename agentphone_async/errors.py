"""Everything that this package raises on purpose, in one tree.

::

    AgentPhoneError
    ├── ConfigurationError           a setting that cannot work (also a ValueError)
    │   ├── MissingKeyError          the API key is needed here and was not given
    │   └── InvalidIdError           an id that cannot stand in a URL's path
    ├── TransportError               no complete answer arrived
    │   ├── ConnectionFailedError    DNS, refused, reset, broken before or while answering
    │   ├── TimedOutError            connecting, waiting, or slower than the minimum speed
    │   ├── CertificateError         the server cannot prove who it is; never retried
    │   ├── MismatchedAnswerError    the answer to another request
    │   └── TooManyOpenFilesError    this process has no file descriptor left for a socket
    ├── ResponseError                an answer arrived, and it says no
    │   ├── AuthenticationError      401
    │   ├── InsufficientBalanceError 402
    │   ├── PermissionDeniedError    403
    │   ├── NotFoundError            404
    │   │   └── RecordingNotFoundError   no recording: none, none yet, or no such call
    │   │       ├── RecordingNotReadyError   202, 409, 423, 425: the server says "not yet"
    │   │       └── RecordingGoneError       410: never again
    │   ├── ConflictError            409
    │   ├── ValidationError          400, 422; ``details`` names the fields
    │   ├── RateLimitError           429; ``retry_after`` in seconds
    │   ├── ServerError              5xx
    │   └── UnexpectedResponseError  not what the endpoint speaks: HTML, a refused redirect, …
    ├── RecordingError               bytes arrived, and they are not a whole recording
    │   ├── TruncatedRecordingError  fewer bytes than promised
    │   ├── SurplusBytesError        more bytes than promised
    │   ├── NotAudioError            HTML, JSON, nothing, or noise where audio should be
    │   └── RecordingTooLargeError   larger than the limit that was set
    ├── RecordingExistsError         a file of that name is there (also a FileExistsError)
    ├── RecordingErasedError         erased for good from the archive that it would lie in
    ├── RunStoppedError              not done, because the run was stopped before its turn
    └── DestinationError             the disk, not the network: full, read-only, not permitted
        ├── CatalogError             the archive's catalog: not ours, damaged, newer than we are
        └── ArchiveLockedError       another process is at work on the same archive

``transient`` tells whether trying again may help; only `agentphone_async.transport.retry`
acts on it. Messages are one line, safe to print in a terminal, and never contain the API key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol, Self


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field that the server did not accept.

    Attributes:
        field: dotted path of the field, such as ``body.toNumber``; empty when unknown.
        message: what is wrong with it, in the server's words.
        type: the server's machine-readable kind; empty when not given.
    """

    field: str
    message: str
    type: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class Asked(Protocol):
    """What an error needs to know of a request."""

    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def call_id(self) -> str | None: ...  # noqa: D102


class AgentPhoneError(Exception):
    """The base of all errors here.

    Attributes:
        method: HTTP method of the request, such as ``GET``; None where none was made.
        path: path of the request without host and query; None where none was made.
        call_id: the call that it was about, if it was about one.
        attempts: how many times the request was sent, 0 if never.
        elapsed: seconds from sending it last to this error; 0.0 if it was never sent.
        status: HTTP status of the answer; None where there was none, or none that says no.
        code: the API's own code, such as ``RATE_LIMIT_EXCEEDED``; None when not given.
        brought: whether bytes of the body came in this attempt.
        kept: whether they need not come again, since the next attempt resumes from there.
    """

    transient: bool = False
    brought: bool = False
    kept: bool = False
    method: str | None = None
    path: str | None = None
    call_id: str | None = None
    attempts: int = 0
    elapsed: float = 0.0
    status: int | None = None
    code: str | None = None

    def about(self, request: Asked) -> Self:
        """Note which request this error is about, and return it."""
        self.method = request.method
        self.path = request.path
        self.call_id = request.call_id
        return self

    @property
    def message(self) -> str:
        """The one line that ``str()`` gives, too."""
        return str(self.args[0])


class ConfigurationError(AgentPhoneError, ValueError):
    """A setting that cannot work; the message names it and says what to do."""


class MissingKeyError(ConfigurationError):
    """The endpoint needs an API key and there is none."""


class InvalidIdError(ConfigurationError):
    """An id that cannot stand in a URL's path: empty, dots only, or far too long."""


class TransportError(AgentPhoneError):
    """No complete answer arrived.

    Attributes:
        sent: False only if it is certain that the server saw nothing of the request; a POST may
            be repeated then and only then.
    """

    transient = True

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectionFailedError(TransportError):
    """The name did not resolve, or the connection was refused, reset or closed early."""


class TimedOutError(TransportError):
    """Connecting or waiting took too long, or bytes came slower than the minimum speed."""


class CertificateError(TransportError):
    """The server's certificate does not hold; trying again would not help."""

    transient = False


class MismatchedAnswerError(TransportError):
    """The answer to another request: it names another id, or the connection is out of step."""


class TooManyOpenFilesError(TransportError):
    """No file descriptor was left for a connection; fewer at a time may work."""


class ResponseError(AgentPhoneError):
    """The server answered, and the answer says no.

    Attributes:
        status: HTTP status; 0 if the answer did not get as far.
        details: the fields that were not accepted; empty unless the server named some.
        retry_after: seconds that the server asks to wait; None when it does not ask.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str | None = None,
        details: tuple[FieldProblem, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:  # type: ignore[override]  # one status makes the difference
        """True for 408, which any proxy may answer to any request."""
        return self.status == 408


class AuthenticationError(ResponseError):
    """401: the API key is missing, wrong or revoked."""


class InsufficientBalanceError(ResponseError):
    """402: the account cannot pay for this."""


class PermissionDeniedError(ResponseError):
    """403: the key is valid and may not do this."""


class NotFoundError(ResponseError):
    """404: there is no such thing, or not for this account."""


class RecordingNotFoundError(NotFoundError):
    """404 for a recording: the call has none, has none yet, or does not exist.

    The three cannot be told apart from the answer (API page "Get Call Recording"); the call's
    age can tell "not yet" from "never".

    Attributes:
        trust: whether the answer belongs to this request, for those who must be sure; None if
            nobody has to wait for that.
    """

    trust: Any = None


class RecordingNotReadyError(RecordingNotFoundError):
    """202, 409, 423 or 425 for a recording: the server says that it is not there yet."""


class RecordingGoneError(RecordingNotFoundError):
    """410 for a recording: it is gone for good, and is not asked for again."""


class ConflictError(ResponseError):
    """409: the thing is not in a state that allows this."""


class ValidationError(ResponseError):
    """400 or 422: the request was understood and not accepted; ``details`` names the fields."""


class RateLimitError(ResponseError):
    """429: too many requests; ``retry_after`` says for how long, in seconds."""

    transient = True


class ServerError(ResponseError):
    """5xx: the server's own trouble."""

    transient = True


class UnexpectedResponseError(ResponseError):
    """An answer that the endpoint never gives: HTML, a refused redirect, malformed JSON."""


class RecordingError(AgentPhoneError):
    """Bytes arrived, and they are not a whole recording; nothing was kept.

    Attributes:
        media_type: what the server called it; None when it did not say.
        received: bytes that arrived.
        expected: bytes that were promised; None when nothing was.
    """

    def __init__(
        self,
        message: str,
        *,
        media_type: str | None = None,
        received: int = 0,
        expected: int | None = None,
    ) -> None:
        super().__init__(message)
        self.media_type = media_type
        self.received = received
        self.expected = expected


class TruncatedRecordingError(RecordingError):
    """Fewer bytes than the response or the WAVE header promised."""

    transient = True


class SurplusBytesError(RecordingError):
    """More bytes than the response promised; none of the surplus was written."""

    transient = True


class NotAudioError(RecordingError):
    """Something other than audio, with status 200; the message quotes its first bytes."""


class RecordingTooLargeError(RecordingError):
    """Larger than the limit that was set."""


class RecordingErasedError(AgentPhoneError):
    """The call was erased for good from the archive that the file would lie in."""


class RunStoppedError(AgentPhoneError):
    """Not done in this run, because the run was stopped before its turn; nothing has failed."""

    def __init__(self, message: str = "the run was stopped") -> None:
        super().__init__(message)


class RecordingExistsError(AgentPhoneError, FileExistsError):
    """A file is there already under the recording's name; it was kept.

    Attributes:
        call_id: whose recording was asked for.
        path: what is there.
    """

    def __init__(self, message: str, *, call_id: str, path: PurePath) -> None:
        super().__init__(message)
        self.call_id = call_id
        self.path = path  # type: ignore[assignment]  # a request's path elsewhere, a file's here

    def __str__(self) -> str:
        return self.message


class DestinationError(AgentPhoneError):
    """The place where recordings are kept failed; the run cannot continue.

    Attributes:
        errno: the operating system's error number; None when it gave none.
        filename: the file or folder in question.
    """

    def __init__(
        self,
        message: str,
        *,
        errno: int | None = None,
        filename: str | None = None,
    ) -> None:
        super().__init__(message)
        self.errno = errno
        self.filename = filename


class CatalogError(DestinationError):
    """The catalog of an archive cannot be used; the message says what to do about it."""


class ArchiveLockedError(DestinationError):
    """Another process is at work on the same archive; the message names it.

    Attributes:
        holder: who, as it wrote of itself: process, host and beginning; empty if unreadable.
    """

    def __init__(self, message: str, *, filename: str | None = None, holder: str = "") -> None:
        super().__init__(message, filename=filename)
        self.holder = holder
