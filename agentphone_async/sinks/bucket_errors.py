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
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_URLS = re.compile(r"\b(https?://)[^/\s]*@?[^\s]*")
_SECRETS = re.compile(r"(?i)(key|secret|token|sig(?:nature)?|password)=[^\s&]+")
_BAD_KEYS = frozenset(
    {
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
        "AuthenticationFailed", "TokenRefreshRequired", "InvalidAuthenticationInfo",
    }
)  # fmt: skip
_OTHER_REGION = frozenset(
    {
        "PermanentRedirect", "AuthorizationHeaderMalformed", "IncorrectEndpoint",
        "IllegalLocationConstraintException",
    }
)  # fmt: skip
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "ResourceNotFound"})


class BucketError(DestinationError):
    """An object store that cannot be used, or not in this way.

    Attributes:
        reason: the message without the store's name.
        refused: whether the store says that we may not (403).
    """

    def __init__(self, url: str, reason: str, *, refused: bool = False) -> None:
        super().__init__(f"{url}: {reason}", filename=url)
        self.reason = reason
        self.refused = refused


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
    text = str(error).split("\n\nDebug source", 1)[0]
    found = _CODE.search(text)
    code = found[1] if found else ""
    kind = type(error).__name__
    status = found[1] if (found := _STATUS.search(text)) else ""
    named = f"{status} {code}".strip()
    if _lacks_credentials(text, kind):
        return BucketError(
            url,
            "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY",
        )
    if code in _NO_BUCKET or kind == "NotFoundError" or isinstance(error, FileNotFoundError):
        return BucketError(url, "there is no such bucket; make it first, or check its name")
    if code in _OTHER_REGION or "edirect without" in text or status == "301":
        return BucketError(
            url, "the bucket is in another region, or behind another endpoint; set AWS_REGION"
        )
    if code in _BAD_KEYS:
        return BucketError(
            url, f"the credentials are refused ({code}); check or renew them", refused=True
        )
    if kind in {"PermissionDeniedError", "UnauthenticatedError"} or status in {"401", "403"}:
        return BucketError(
            url,
            f"not permitted to {_ACTIONS[doing]}; check the policy of these credentials"
            + (f" ({named})" if named else ""),
            refused=True,
        )
    if status:
        return BucketError(url, f"the store answers {named} also when asked again; try later")
    if "builder error" in text:
        return BucketError(
            url,
            "the endpoint is not encrypted (http://); use https://, or set AWS_ALLOW_HTTP=true "
            "(AZURE_ALLOW_HTTP, GOOGLE_ALLOW_HTTP)",
        )
    if "error sending request" in text or "timed out" in text or "dns error" in text:
        return BucketError(url, "the store cannot be reached; check the network and the endpoint")
    return BucketError(url, _harmless(text))


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
