"""Agents: which there are, and the calls of one."""

from __future__ import annotations

from agentphone_async.models import AgentList
from agentphone_async.protocol import endpoints
from agentphone_async.resources.base import Resource, page_of
from agentphone_async.resources.listing import CallListing


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
