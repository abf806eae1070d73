"""What an object store's refusal means, in one line that says what to do."""

from __future__ import annotations

import re
from types import TracebackType
from typing import Literal

from agentphone_async.errors import DestinationError
from agentphone_async.protocol.display import printable

Doing = Literal["open", "write", "read", "list", "delete"]

_ACTIONS = {
    "open": "use it",
    "write": "write objects (on S3: s3:PutObject)",
    "read": "read objects (on S3: s3:GetObject)",
    "list": "list objects (on S3: s3:ListBucket)",
    "delete": "delete objects (on S3: s3:DeleteObject)",
}
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_ENDPOINT = {"gs": "GOOGLE_BASE_URL", "az": "AZURE_STORAGE_ENDPOINT"}
_CODE = re.compile(r"<Code>([\w.]{1,60})</Code>")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_HOST = re.compile(r"https?://([^/\s?,]+)")
_URLS = re.compile(r"\b(https?://)[^/\s]*@?[^\s]*")
_SECRETS = re.compile(r"(?i)(key|secret|token|sig(?:nature)?|password)=[^\s&]+")
_KIND = re.compile(r"^Generic \w+ error: ")
_BAD_KEYS = frozenset(
    {
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
        "AuthenticationFailed", "TokenRefreshRequired", "InvalidAuthenticationInfo",
        "InvalidSecurity", "UnrecognizedClientException", "InvalidClientTokenId",
    }
)  # fmt: skip
_OTHER_REGION = frozenset(
    {
        "PermanentRedirect", "AuthorizationHeaderMalformed", "IncorrectEndpoint",
        "IllegalLocationConstraintException", "TemporaryRedirect",
    }
)  # fmt: skip
_REDIRECTS = frozenset({301, 302, 307, 308})
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "ResourceNotFound"})
_SAID = {
    "RequestTimeTooSkewed": "the clock of this machine is wrong, says the store; set it",
    "InvalidBucketName": "there is no bucket of such a name; check it",
    "QuotaExceeded": "the bucket is full, says the store; raise its quota",
    "XMinioStorageFull": "the store is full; make room",
    "InsufficientStorage": "the store is full; make room",
    "InvalidObjectState": "an object lies in an archive tier, and cannot be read; restore it first",
    "AllAccessDisabled": "the bucket is closed, says the store; ask its owner",
    "AccountProblem": "the account is closed, says the store; ask its owner",
    "NotSignedUp": "the account is not signed up, says the store; ask its owner",
}
"""What some codes mean, in words."""

_UNREACHED = (
    ("dns error", "the name {host} does not resolve"),
    ("InvalidCertificate", "the certificate of {host} is not trusted (set SSL_CERT_FILE?)"),
    ("ConnectionRefused", "nothing listens at {host}"),
    ("TimedOut", "{host} does not answer"),
    ("timed out", "{host} does not answer"),
    ("error sending request", "the connection to {host} breaks off"),
    ("error decoding response body", "the connection to {host} breaks off"),
)
"""Words of obstore's on connections, and what they mean."""


class BucketError(DestinationError):
    """An object store that cannot be used, or not in this way.

    Attributes:
        reason: the message without the store's name.
        refused: whether the store says that we may not (403).
        status: of its answer; None if it did not answer.
    """

    def __init__(
        self, url: str, reason: str, *, refused: bool = False, status: int | None = None
    ) -> None:
        super().__init__(f"{url}: {reason}", filename=url)
        self.reason = reason
        self.refused = refused
        self.status = status


class bucket_errors:  # noqa: N801 - used like a function, as `destination_errors`
    """Turn an error of obstore's inside the block into a `BucketError`.

    What callers decide by passes: ``AlreadyExistsError``, and a ``FileNotFoundError`` of reading.
    """

    __slots__ = ("_doing", "_url")

    def __init__(self, url: str, doing: Doing) -> None:
        self._url = url
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None and kind.__name__ == "PanicException":  # which is no Exception
            raise BucketError(
                self._url, "obstore cannot use a setting; check the environment"
            ) from None
        if not isinstance(error, Exception) or isinstance(error, DestinationError):
            return
        if isinstance(error, FileNotFoundError) and self._doing in {"read", "delete"}:
            return
        if type(error).__name__ != "AlreadyExistsError":
            raise bucket_error(error, self._url, self._doing) from None


def bucket_error(error: Exception, url: str, doing: Doing = "open") -> BucketError:
    """The error of ours for one of obstore's.

    Its text is never repeated as it is: it can hold signed URLs and the store's whole answer.
    """
    text, _, details = str(error).partition("\n\nDebug source")
    found = _CODE.search(text)
    code = found[1] if found else ""
    kind = type(error).__name__
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    missing = kind == "NotFoundError" or isinstance(error, FileNotFoundError)
    refused = kind in {"PermissionDeniedError", "UnauthenticatedError"} or status in {401, 403}
    if _lacks_credentials(text, kind):
        variables = _CREDENTIALS.get(url.partition("://")[0], "them in the environment")
        line = f"no credentials were found; set {variables}"
    elif code in _NO_BUCKET or missing:
        line = "there is no such bucket; make it first, or check its name"
    elif code in _OTHER_REGION or "edirect without" in text or status in _REDIRECTS:
        line = "the bucket is in another region, or behind another endpoint; set AWS_REGION"
    elif code in _BAD_KEYS:
        line, refused = f"the credentials are refused ({code}); check or renew them", True
    elif code in _SAID:
        line = f"{_SAID[code]} ({code})"
    elif refused:
        named = f"{status or ''} {code}".strip()
        line = f"not permitted to {_ACTIONS[doing]}; check the policy of these credentials"
        line += f" ({named})" if named else ""
    elif status is not None:
        line = _answered(status, code, url)
    else:
        line = _unanswered(text, details, url)
    return BucketError(url, line, refused=refused, status=status)


def _answered(status: int, code: str, url: str) -> str:
    named = f"{status} {code}".strip()
    if status >= 500 or status in {408, 429}:
        return f"the store answers {named} also when asked again; try later"
    if not code:
        return f"{_named(url)} answers {named}, as no store does; is it the address of one?"
    return f"the store refuses the request ({named}); check the bucket's settings and yours"


def _unanswered(text: str, details: str, url: str) -> str:
    if "builder error" in text:
        return (
            "the endpoint is not encrypted (http://); use https://, or set AWS_ALLOW_HTTP=true "
            "(AZURE_ALLOW_HTTP, GOOGLE_ALLOW_HTTP)"
        )
    if "Invalid Access Key" in text:
        return "AZURE_STORAGE_ACCOUNT_KEY is not the key of an account; copy it again"
    if "service account file" in text:
        reason = _harmless(_KIND.sub("", text).partition(": ")[2])
        return f"GOOGLE_APPLICATION_CREDENTIALS names a file that is not one of keys: {reason}"
    host = found[1] if (found := _HOST.search(text)) else "the store"
    for sign, meaning in _UNREACHED:
        if sign in details or sign in text:
            reason = meaning.format(host=printable(host.rpartition("@")[2], 100))
            return f"the store cannot be reached: {reason}; check the network, and {_named(url)}"
    return _harmless(_KIND.sub("", text))


def _named(url: str) -> str:
    """The variable that says where the store is."""
    return _ENDPOINT.get(url.partition("://")[0], "AWS_ENDPOINT_URL")


def _lacks_credentials(text: str, kind: str) -> bool:
    return (
        "169.254.169.254" in text
        or "169.254.170.2" in text
        or "metadata.google.internal" in text
        or "metadata/computeMetadata" in text
        or "Account must be specified" in text
        or ("redential" in text and kind in {"GenericError", "UnauthenticatedError"})
    )


def _harmless(text: str) -> str:
    line = _SECRETS.sub(r"\1=…", _URLS.sub(r"\1…", text)).splitlines()[0] if text else "it failed"
    return printable(line, 200)
