"""The account: its numbers and agents with their calls, what it uses, and its add-ons."""

from __future__ import annotations

from typing import Any

from agentphone_async.models import AgentList, PhoneNumberList, Usage
from agentphone_async.protocol import endpoints
from agentphone_async.resources.base import Resource, page_of
from agentphone_async.resources.listing import CallListing


class Numbers(Resource):
    """The part of ``/v1/numbers`` that is needed for calls."""

    async def list(self, limit: int = 20, offset: int = 0) -> PhoneNumberList:
        """One page of the account's phone numbers (API page "List Numbers").

        Args:
            limit: numbers on a page, 1 to 100.
            offset: numbers to skip, from 0.

        Raises:
            ValueError: ``limit`` or ``offset`` is out of range; nothing was sent.
        """
        request = endpoints.list_numbers(limit=limit, offset=offset)
        return page_of(PhoneNumberList, request, await self._session.call(request))

    def list_calls(self, number_id: str, limit: int | None = None, offset: int = 0) -> CallListing:
        """The calls of a number (API page "List Calls For Number"); await it or iterate over it.

        Args:
            number_id: the number's id, such as ``num_…``.
            limit: calls on a page, 1 to 100; by default 20 when awaited, 100 when iterated over.
            offset: calls to skip, from 0.

        Raises:
            ValueError: ``limit`` or ``offset`` is out of range; nothing was sent.
        """
        return self._calls(
            lambda limit, offset: endpoints.list_calls_for_number(
                number_id, limit=limit, offset=offset
            ),
            limit,
            offset,
        )


class Agents(Resource):
    """The part of ``/v1/agents`` that is needed for calls."""

    async def list(self, limit: int = 20, offset: int = 0) -> AgentList:
        """One page of the account's agents (API page "List Agents").

        Args:
            limit: agents on a page, 1 to 100.
            offset: agents to skip, from 0.

        Raises:
            ValueError: ``limit`` or ``offset`` is out of range; nothing was sent.
        """
        request = endpoints.list_agents(limit=limit, offset=offset)
        return page_of(AgentList, request, await self._session.call(request))

    def list_calls(self, agent_id: str, limit: int | None = None, offset: int = 0) -> CallListing:
        """The calls of an agent (API page "List Agent Calls"); await it or iterate over it.

        They are summaries: direction and the recording's fields are missing.

        Args:
            agent_id: the agent's id, such as ``agt_…``.
            limit: calls on a page, 1 to 100; by default 20 when awaited, 100 when iterated over.
            offset: calls to skip, from 0.

        Raises:
            ValueError: ``limit`` or ``offset`` is out of range; nothing was sent.
        """
        return self._calls(
            lambda limit, offset: endpoints.list_agent_calls(agent_id, limit=limit, offset=offset),
            limit,
            offset,
        )


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
