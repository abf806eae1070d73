"""What all models share: tolerant parsing, and the JSON as it came."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PrivateAttr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)
"""Moments that exist in every zone; the very first one is often written for "never"."""


def or_none(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    """A field that makes no sense is None."""
    try:
        return parse(value)
    except ValidationError:
        return None


def or_empty(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    """A list that makes no sense is empty."""
    try:
        return parse(value)
    except ValidationError:
        return []


def _aware(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    moment = parse(value)
    if moment is None:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return moment if EARLIEST <= moment <= LATEST else None


def _spelled(value: Any) -> Any:
    """An id that is a number becomes its digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class _OrNone:
    """As `or_none`, without a call into Python for each field of each row of each page.

    Args:
        usual: what a value nearly always is; only another one meets the field's own validators.
    """

    def __init__(self, usual: CoreSchema | None = None) -> None:
        self._usual = usual

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        if self._usual is not None:
            schema = core_schema.union_schema([self._usual, schema], mode="left_to_right")
        return core_schema.with_default_schema(schema, default=None, on_error="default")


Id = Annotated[str, Field(min_length=1), BeforeValidator(_spelled)]
OtherId = Annotated[str | None, BeforeValidator(_spelled), _OrNone(core_schema.str_schema())]
Text = Annotated[str | None, _OrNone()]
Number = Annotated[int | float | None, _OrNone()]
Flag = Annotated[bool | None, _OrNone()]
Moment = Annotated[
    datetime | None,
    WrapValidator(_aware),
    _OrNone(core_schema.datetime_schema(tz_constraint="aware", ge=EARLIEST, le=LATEST)),
]


class ApiModel(BaseModel):
    """The base of what the API returns; ``raw`` is the JSON that it was made from."""

    model_config = ConfigDict(
        protected_namespaces=(),  # the API has a model_tier, which pydantic 2.9 warns of
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,
        frozen=True,
    )

    _raw: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Make one from a decoded JSON object.

        Raises:
            pydantic.ValidationError: what cannot be missing is missing (an id).
        """
        model = cls.model_validate(data)
        if model.__pydantic_private__ is not None:
            model.__pydantic_private__["_raw"] = dict(data)
        return model

    @property
    def raw(self) -> dict[str, Any]:
        """The JSON object as it came, unknown fields included."""
        private: dict[str, dict[str, Any]] = self.__pydantic_private__ or {}  # a detour is slow
        return private.get("_raw", {})

    def to_dict(self) -> dict[str, Any]:
        """A copy of ``raw``, for ``json.dumps``; of the fields, if it was not made from JSON."""
        return deepcopy(self._raw) or self.model_dump(mode="json", by_alias=True)

    def __getitem__(self, name: str) -> Any:
        return self._raw[name]

    def __contains__(self, name: object) -> bool:
        return name in self._raw

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]  # pydantic's gives fields
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __bool__(self) -> bool:
        return True  # even an empty answer is one

    def get(self, name: str, default: Any = None) -> Any:
        """The value under a wire name, as with a dict."""
        return self._raw.get(name, default)

    def keys(self) -> KeysView[str]:
        """The wire names, as with a dict."""
        return self._raw.keys()

    def values(self) -> ValuesView[Any]:
        """Their values, as with a dict."""
        return self._raw.values()

    def items(self) -> ItemsView[str, Any]:
        """Both, as with a dict."""
        return self._raw.items()


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row of a page that could not be read; the others could.

    Attributes:
        row: its place on the page, from 0.
        message: what was wrong with it.
        raw: the row as it came.
    """

    row: int
    message: str
    raw: Any = field(repr=False)

    def __str__(self) -> str:
        return f"row {self.row} of a page: {self.message}"


M = TypeVar("M", bound=ApiModel)


def read_rows(
    kind: type[M], page: Mapping[str, Any], name: str
) -> tuple[list[M], list[RowProblem]]:
    """The rows of a decoded page that can be read, in their order, and the others.

    Raises:
        ValueError: it is not a page: there is no list in it.
    """
    rows = page.get("data")
    if not isinstance(rows, list):
        raise ValueError("there is no list of rows")  # noqa: TRY004 - of the data, not of a caller
    read: list[M] = []
    problems: list[RowProblem] = []
    for number, row in enumerate(rows):
        try:
            read.append(kind.from_json(row))
        except (ValidationError, TypeError, ValueError):
            why = f"not {name}: its id is missing or is not text"
            problems.append(RowProblem(number, why, row))
    return read, problems
