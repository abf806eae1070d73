"""The account: what it uses, and its add-ons."""

from __future__ import annotations

from typing import Any

from agentphone_async.models import Usage
from agentphone_async.protocol import endpoints
from agentphone_async.resources.base import Resource


class AccountUsage(Resource):
    """The part of ``/v1/usage`` that says how many calls there are."""

    async def get(self) -> Usage:
        """What the account has used, and what its plan allows (API page "Get Usage").

        ``usage.stats.total_calls`` says how many calls a whole archive has.
        """
        return await self._model(Usage, endpoints.get_usage())


class Account(Resource):
    """The part of the credits API that is about recordings."""

    async def enable_recording(self) -> dict[str, Any]:
        """Turn call recording on for the account. It costs $5 a month.

        Nothing in this package ever calls it for you (API page "Get Call Recording" documents
        the add-on and its price).

        Returns:
            The API's answer as JSON.

        Raises:
            InsufficientBalanceError: the account cannot pay for it.
        """
        return await self._json(endpoints.enable_recording())
