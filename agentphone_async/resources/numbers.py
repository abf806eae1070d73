"""Phone numbers: which there are, and the calls of one."""

from __future__ import annotations

from agentphone_async.models import PhoneNumberList
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
