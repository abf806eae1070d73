"""Calls: list, get, make, end, and what was said."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from agentphone_async.models import Call, CallRecording, Transcript, TranscriptEvent, WebCall
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.ranges import is_whole
from agentphone_async.protocol.responses import error_of
from agentphone_async.resources.base import Resource, transcript, without_none
from agentphone_async.resources.listing import CallListing
from agentphone_async.resources.transcript_stream import HEARTBEAT, TranscriptStream

_USUAL_COMPLETION = 300
"""Seconds that the server waits for the end of a new call when nothing else is said."""


def _completion_wait(most: int | None, *, wanted: bool) -> float:
    """Seconds that the server may hold back the answer to a new call; 0 if nobody waits for it."""
    if not wanted:
        if most is not None:
            raise ValueError("max_wait_seconds needs wait_for_completion=True")
        return 0.0
    low, high = endpoints.COMPLETION_RANGE
    wait = _USUAL_COMPLETION if most is None else most
    if not low <= wait <= high:
        raise ValueError(f"max_wait_seconds is {wait}; the server waits {low} to {high} s")
    return float(wait)


class Calls(Resource):
    """The ``/v1/calls`` endpoints; names and parameters are the official SDK's.

    What makes or ends a call is sent once: after a time-out, a reset or a 5xx it may have been
    done, so it is not sent again, and the error says so by its type. It is repeated only when no
    connection was made, or after a 429.
    """

    def list(
        self,
        limit: int | None = None,
        offset: int = 0,
        status: str | None = None,
        direction: str | None = None,
        type: str | None = None,  # noqa: A002 - the SDK's and the API's name
        search: str | None = None,
    ) -> CallListing:
        """Calls, newest first in practice (API page "List Calls").

        ``await`` it for one page; iterate over it with ``async for`` for all calls.

        Args:
            limit: calls on a page, 1 to 100; by default 20 when awaited, 100 when iterated over.
            offset: calls to skip, from 0.
            status: ``completed``, ``in-progress``, ``failed``; others pass through to the API.
            direction: ``inbound`` or ``outbound``.
            type: ``pstn`` or ``web``.
            search: contained in the caller's or the called number.

        Raises:
            ValueError: ``limit`` or ``offset`` is out of range; nothing was sent.
        """
        filters = {"status": status, "direction": direction, "type": type, "search": search}
        return self._calls(
            lambda limit, offset: endpoints.list_calls(limit=limit, offset=offset, **filters),
            limit,
            offset,
        )

    async def get(self, call_id: str, *, wait: float | None = None) -> Call:
        """One call with its transcripts (API page "Get Call").

        Args:
            call_id: the call.
            wait: seconds, 10 to 300, that the server may hold the answer until the call ends;
                our own time-outs are longer by as much.

        Raises:
            NotFoundError: there is no such call.
            ValueError: ``wait`` is out of range.
        """
        return await self._model(Call, endpoints.get_call(call_id, wait=wait))

    async def make(
        self,
        agent_id: str,
        to_number: str,
        initial_greeting: str | None = None,
        from_number_id: str | None = None,
        voice: str | None = None,
        system_prompt: str | None = None,
        variables: Mapping[str, str] | None = None,
        model_tier: str | None = None,
        disable_recording: bool | None = None,
        *,
        call_screening_identity: str | None = None,
        call_screening_purpose: str | None = None,
        wait_for_completion: bool = False,
        max_wait_seconds: int | None = None,
    ) -> Call:
        """Make an outbound call (API page "Create Outbound Call"). It costs money; sent once.

        Args:
            agent_id: the agent that speaks.
            to_number: who is called, E.164 (``+14155550100``).
            initial_greeting: what the agent says first.
            from_number_id: which of the account's numbers is shown.
            voice: the agent's voice for this call.
            system_prompt: lets a built-in model hold the conversation; without it, webhooks do.
            variables: values for ``{{name}}`` placeholders in prompt and greeting.
            model_tier: ``turbo``, ``balanced`` or ``max``.
            disable_recording: True stores no audio; the transcript is kept all the same.
            call_screening_identity: who to say is calling, if the callee's phone asks.
            call_screening_purpose: why, likewise.
            wait_for_completion: return when the call has ended; time-outs are longer by as much.
            max_wait_seconds: return the call as it is after so many, 10 to 600; 300 by default.

        Raises:
            ValueError: ``max_wait_seconds`` out of range, or without waiting; nothing was sent.
            ValidationError: the server does not accept a field; ``details`` names it.
            InsufficientBalanceError: the account cannot pay for it.
            TransportError, ServerError: unless ``error.sent`` is False, it may have been placed.
        """
        body = without_none(
            agentId=agent_id, toNumber=to_number, initialGreeting=initial_greeting,
            fromNumberId=from_number_id, voice=voice, systemPrompt=system_prompt,
            variables=variables, modelTier=model_tier, disableRecording=disable_recording,
            callScreeningIdentity=call_screening_identity, maxWaitSeconds=max_wait_seconds,
            callScreeningPurpose=call_screening_purpose,
            waitForCompletion=wait_for_completion or None,
        )  # fmt: skip
        wait = _completion_wait(max_wait_seconds, wanted=wait_for_completion)
        return await self._model(Call, endpoints.make_call(body, wait=wait))

    async def make_conversation(
        self,
        agent_id: str,
        to_number: str,
        topic: str,
        initial_greeting: str | None = None,
        from_number_id: str | None = None,
        voice: str | None = None,
        model_tier: str | None = None,
    ) -> Call:
        """`make` with ``topic`` as its ``system_prompt``; here because the official SDK has it."""
        return await self.make(
            agent_id, to_number, initial_greeting, from_number_id, voice, topic,
            model_tier=model_tier,
        )  # fmt: skip

    async def create_web_call(
        self,
        agent_id: str,
        metadata: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> WebCall:
        """Get a token with which a browser joins a call (API page "Create Web Call").

        Args:
            agent_id: the agent that speaks.
            metadata: kept with the call.
            variables: values for ``{{name}}`` placeholders.

        Returns:
            The token; it is valid for 30 seconds.
        """
        body = without_none(agentId=agent_id, metadata=metadata, variables=variables)
        return await self._model(WebCall, endpoints.create_web_call(body))

    async def end(self, call_id: str) -> Call:
        """Hang up (API page "End Call").

        Returns:
            The call as it is at that moment; ``status`` and ``ended_at`` follow a little later.
            Only its id is filled where the API answers without a body.

        Raises:
            NotFoundError: there is no such call.
            ConflictError: it is over already.
        """
        return await self._model(Call, endpoints.end_call(call_id), id=call_id)

    async def get_recording(self, call_id: str) -> CallRecording:
        """A recording in memory (API page "Get Call Recording"), for small programs.

        Nothing about it is verified; `AsyncAgentPhone.fetch_recording` verifies and streams.
        No API key is sent: the endpoint is public.

        Raises:
            RecordingNotFoundError: there is none, or none yet.
            UnexpectedResponseError: it is larger than the client's ``max_file_size``.
        """
        request = endpoints.get_recording(call_id)
        reply = await self._session.call(request, largest=self._session.settings.max_file_size)
        if not is_whole(reply.status, reply.headers):
            raise error_of(request, reply)
        return CallRecording(reply.body, reply.headers.get("Content-Type"))

    async def get_transcript(self, call_id: str) -> Transcript:
        """What was said (API page "Get Call Transcript"), in whichever shape the API answers.

        Raises:
            NotFoundError: there is no such call.
        """
        request = endpoints.get_transcript(call_id)
        return transcript(request, await self._session.call(request))

    def stream_transcript(
        self, call_id: str, *, heartbeat: float = HEARTBEAT
    ) -> AsyncGenerator[TranscriptEvent]:
        """What is said, as it is said (API page "Stream Call Transcript").

        Yields one ``connected``, then each ``turn`` once, from the call's beginning, then
        ``ended``; for a call that is over, too, unless the server closes the stream without it.
        A connection that drops is opened again, as the
        retry policy has it, and turns that the server repeats then are left out. It gives up when
        as many connections in a row as the policy has attempts brought nothing new.

        Leaving the loop closes the connection; wrap it in ``contextlib.aclosing`` to be sure that
        this has happened when the next line runs.

        Args:
            call_id: the call.
            heartbeat: seconds between two signs of life that the server gives while nobody
                speaks; after two of them without any, the connection counts as dropped.

        Raises:
            NotFoundError: there is no such call.
            TransportError: the stream broke too often.
            UnexpectedResponseError: what came is not an event stream.
        """
        request = endpoints.stream_transcript(call_id)
        return TranscriptStream(self._session, request, heartbeat=heartbeat).events()
