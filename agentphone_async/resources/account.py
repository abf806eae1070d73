"""The account's add-ons."""

from __future__ import annotations

from typing import Any

from agentphone_async.protocol import endpoints
from agentphone_async.resources.base import Resource


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
