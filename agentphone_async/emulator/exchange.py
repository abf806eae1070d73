"""What a handler is given: the request as data, and the service that it is asked of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl

from agentphone_async.emulator.account import Account
from agentphone_async.emulator.audio_store import AudioStore
from agentphone_async.emulator.conversation import last_words
from agentphone_async.emulator.errors import ApiError, InvalidRequestError, problem
from agentphone_async.emulator.models import EmulatedCall, WebhookDelivery
from agentphone_async.emulator.routes import Match
from agentphone_async.emulator.serializers import Json, call_json, call_summary, snippet
from agentphone_async.emulator.settings import Settings

_HOST = re.compile(r"[A-Za-z0-9._\[\]:-]{1,255}")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(slots=True, eq=False)
class Service:
    """The parts of an emulator that handlers work on.

    Attributes:
        placed: Every call that a POST has placed, in order.
        deliveries: Every webhook event so far, in order.
    """

    settings: Settings
    account: Account
    store: AudioStore
    base_url: str = ""
    placed: list[EmulatedCall] = field(default_factory=list)
    deliveries: list[WebhookDelivery] = field(default_factory=list)

    def now(self) -> datetime:
        """The emulator's wall clock."""
        return self.settings.clock.now()


@dataclass(slots=True, eq=False)
class Exchange:
    """One request, and the service that answers it."""

    service: Service
    found: Match
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def base_url(self) -> str:
        """The emulator's address as the client sees it, for links in answers."""
        service, host = self.service, self.headers.get("Host", "")
        if not service.settings.allow_remote or not _HOST.fullmatch(host):
            return service.base_url
        return f"{service.base_url.partition(':')[0]}://{host}"

    def row(self, call: EmulatedCall, now: datetime, *, summary: bool = False) -> Json:
        """A call in JSON; a summary has neither direction nor recording fields."""
        service = self.service
        said = snippet(last_words(call, service.settings.seed, now))
        if summary:
            return call_summary(call, now, said)
        addon = service.account.recording_addon
        return call_json(call, now, said, base_url=self.base_url, addon=addon)

    def query(self) -> dict[str, str]:
        """The parameters of the query; the last of a repeated one."""
        return dict(parse_qsl(self.found.query, keep_blank_values=True))

    def sub_account(self) -> str | None:
        """The sub-account that the request is scoped to.

        Raises:
            ApiError: 404 for one that does not exist.
        """
        name = self.headers.get("X-Sub-Account-Id")
        if name is not None and name not in self.service.account.sub_accounts:
            raise ApiError(404, "Sub-account not found.", "SUB_ACCOUNT_NOT_FOUND")
        return name

    def any_call(self) -> EmulatedCall:
        """The call that the path names, whoever's it is.

        Raises:
            InvalidRequestError: The id is not one that the API could have given out.
            ApiError: 404, there is no such call.
        """
        identity = self.found.identity
        call = self.service.account.get(identity)
        if call is not None:
            return call
        if not _PLAIN_ID.fullmatch(identity):
            message = "String should match pattern '^[A-Za-z0-9_-]{1,128}$'"
            raise InvalidRequestError(
                [problem(("path", "call_id"), message, "string_pattern_mismatch", identity)]
            )
        raise ApiError(404, "Call not found.", "CALL_NOT_FOUND")

    def call(self) -> EmulatedCall:
        """The call that the path names, if the request's account owns it.

        Raises:
            InvalidRequestError: The id is malformed.
            ApiError: 404, there is no such call in this account.
        """
        account, call = self.sub_account(), self.any_call()
        if call.sub_account != account:
            raise ApiError(404, "Call not found.", "CALL_NOT_FOUND")
        return call
