"""What an account has before it has calls: numbers, agents, and how much of its plan is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, get_args

from pydantic import Field, WrapValidator, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler  # not at the top in 2.9

from agentphone_async.models.base import (
    ApiModel,
    Flag,
    Id,
    Moment,
    Number,
    OtherId,
    RowProblem,
    Text,
    or_empty,
    or_none,
    read_rows,
)


class _Nested(ApiModel):
    """A model that keeps its JSON when it is a part of another one, too."""

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, data: Any, parse: ModelWrapValidatorHandler[Self]) -> Self:
        model = parse(data)
        if isinstance(data, Mapping):
            model._raw = dict(data)
        return model


class PhoneNumber(ApiModel):
    """A phone number of the account (API page "List Numbers")."""

    id: Id
    phone_number: Text = None
    country: Text = None
    status: Text = None
    type: Text = None
    agent_id: OtherId = None
    inbound_calls_enabled: Flag = None
    created_at: Moment = None
    purchased_at: Moment = None
    expires_at: Moment = None


class AgentNumber(_Nested):
    """A phone number that an agent answers."""

    id: Id
    phone_number: Text = None
    status: Text = None
    type: Text = None


class Agent(ApiModel):
    """An agent of the account (API page "List Agents"); ``raw`` has its other settings."""

    id: Id
    name: Text = None
    description: Text = None
    created_at: Moment = None
    voice_mode: Text = None
    model_tier: Text = None
    system_prompt: Text = None
    begin_message: Text = None
    voice: Text = None
    language: Text = None
    numbers: Annotated[list[AgentNumber], WrapValidator(or_empty), Field(default_factory=list)]


Row = TypeVar("Row", bound=ApiModel)


class _Page(ApiModel, Generic[Row]):
    """One page of a list.

    Attributes:
        data: the rows that could be read.
        has_more: whether the server says that another page follows; None when it does not say.
        total: rows in all pages; None when the server does not say.
        problems: the rows that could not be read.
    """

    _row: ClassVar[str] = "a row"

    data: list[Row] = Field(default_factory=list)
    has_more: Flag = None
    total: Number = None
    problems: list[RowProblem] = Field(default_factory=list)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make one from a decoded page; rows that cannot be read become ``problems``.

        Raises:
            ValueError: there is no list in it.
        """
        (kind,) = get_args(cls.model_fields["data"].annotation)
        read, problems = read_rows(kind, data, cls._row)
        page = cls.model_validate({**data, "data": [], "problems": []})
        page._raw = dict(data)
        page.data.extend(read)
        page.problems.extend(problems)
        return page


class PhoneNumberList(_Page[PhoneNumber]):
    """One page of phone numbers."""

    _row = "a number"


class AgentList(_Page[Agent]):
    """One page of agents."""

    _row = "an agent"


class NumberLimits(_Nested):
    """How many numbers the account has, and may have."""

    used: Number = None
    limit: Number = None
    remaining: Number = None


class PlanLimits(_Nested):
    """What the plan allows; ``raw`` has what is not listed here."""

    concurrent_calls: Number = None
    max_call_duration_minutes: Number = None


class Plan(_Nested):
    """The account's plan."""

    name: Text = None
    limits: Annotated[PlanLimits | None, WrapValidator(or_none)] = None


class UsageStats(_Nested):
    """Counts; the calls say how many an archive should have."""

    total_calls: Number = None
    calls_last_24h: Number = Field(None, alias="callsLast24h")
    calls_last_7d: Number = Field(None, alias="callsLast7d")
    calls_last_30d: Number = Field(None, alias="callsLast30d")
    total_messages: Number = None
    messages_last_24h: Number = Field(None, alias="messagesLast24h")
    messages_last_7d: Number = Field(None, alias="messagesLast7d")
    messages_last_30d: Number = Field(None, alias="messagesLast30d")
    total_webhook_deliveries: Number = None
    successful_webhook_deliveries: Number = None
    failed_webhook_deliveries: Number = None


def _no_stats() -> UsageStats:
    return UsageStats.model_validate({})


class Usage(ApiModel):
    """What the account has used (API page "Get Usage")."""

    plan: Annotated[Plan | None, WrapValidator(or_none)] = None
    numbers: Annotated[NumberLimits, WrapValidator(or_none)] = Field(default_factory=NumberLimits)
    stats: Annotated[UsageStats, WrapValidator(or_none)] = Field(default_factory=_no_stats)
    period_start: Moment = None
    period_end: Moment = None
    report_generated_at: Moment = None
