"""Output types: from a type to the columns of its answers."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, RootModel, computed_field, field_validator
from typing_extensions import TypedDict

from airflow_batches.tables import OutputType, OutputTypeError

TOPICS = pa.dictionary(pa.int32(), pa.string())


class Topic(enum.Enum):
    BILL = "bill"
    OTHER = "other"


class Label(BaseModel):
    topic: Literal["bill", "delivery"]
    urgency: int = Field(ge=1, le=5)
    note: str | None = None


@dataclass
class LabelData:
    topic: Literal["bill", "delivery"]
    urgency: Annotated[int, Field(ge=1, le=5)]
    note: str | None = None


class LabelDict(TypedDict):
    topic: Literal["bill", "delivery"]
    urgency: Annotated[int, Field(ge=1, le=5)]
    note: NotRequired[str | None]


SCHEMA = {
    "type": "object",
    "properties": {
        "topic": {"enum": ["bill", "delivery"]},
        "urgency": {"type": "integer", "minimum": 1, "maximum": 5},
        "note": {"type": ["string", "null"]},
    },
    "required": ["topic", "urgency"],
}
LABELS = pytest.mark.parametrize(
    "given",
    [Label, LabelData, LabelDict, SCHEMA, json.dumps(SCHEMA)],
    ids=["model", "dataclass", "dict", "schema", "json"],
)


@LABELS
def test_answers_become_columns_of_the_type_whatever_it_is_given_as(given: Any) -> None:
    output = OutputType.of(given)
    texts = ['{"topic": "bill", "urgency": 5}', '{"topic": "delivery", "urgency": 1, "note": "late"}', None]
    assert output.arrow_type == pa.struct({"topic": TOPICS, "urgency": pa.int64(), "note": pa.string()})
    assert output.columns(texts).to_pylist() == [
        {"topic": "bill", "urgency": 5, "note": None},
        {"topic": "delivery", "urgency": 1, "note": "late"},
        None,
    ]


@LABELS
def test_answers_are_checked_against_constraints_that_are_not_sent(given: Any) -> None:
    output = OutputType.of(given)
    (reason,) = output.check(['{"topic": "bill", "urgency": 9}'])
    assert "maximum" not in output.schema["properties"]["urgency"]
    assert reason in {"urgency: Input should be less than or equal to 5", "urgency: must be at most 5"}


@LABELS
@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"topic": "bill"}', '{"topic": 5, "urgency": 1}', '{"topic": "bill", "urgency": "x"}'],
)
def test_an_answer_of_another_shape_is_null_with_a_reason(given: Any, text: str) -> None:
    output = OutputType.of(given)
    assert output.check([text])[0]
    assert output.columns([text]).to_pylist() == [None]


TABLE: list[tuple[Any, str, pa.DataType, Any]] = [
    (str, '"x"', pa.string(), "x"),
    (bytes, '"x"', pa.string(), "x"),
    (UUID, '"00000000-0000-4000-8000-000000000000"', pa.string(), "00000000-0000-4000-8000-000000000000"),
    (AnyUrl, '"https://example.com/"', pa.string(), "https://example.com/"),
    (Literal["bill", "other"], '"other"', TOPICS, "other"),
    (Topic, '"bill"', TOPICS, "bill"),
    (Literal["bill"] | Topic, '"other"', TOPICS, "other"),
    (Literal["bill"] | str, '"more"', pa.string(), "more"),
    (Literal[1, 2], "2", pa.int64(), 2),
    (Literal[True], "true", pa.bool_(), True),
    (int, "7", pa.int64(), 7),
    (float, "7", pa.float64(), 7.0),
    (int | float, "7.5", pa.float64(), 7.5),
    (bool, "true", pa.bool_(), True),
    (date, '"2026-01-31"', pa.date32(), date(2026, 1, 31)),
    (datetime, '"2026-01-31T12:00:00Z"', pa.timestamp("us", "UTC"), datetime(2026, 1, 31, 12, tzinfo=UTC)),
    (datetime, '"2026-01-31T12:00:00+02:00"', pa.timestamp("us", "UTC"), datetime(2026, 1, 31, 10, tzinfo=UTC)),
    (datetime, '"2026-01-31T12:00:00.5"', pa.timestamp("us", "UTC"), datetime(2026, 1, 31, 12, 0, 0, 500_000, UTC)),
    (time, '"12:30:00Z"', pa.string(), "12:30:00Z"),
    (timedelta, '"P1DT2H"', pa.string(), "P1DT2H"),
    (Annotated[Decimal, Field(max_digits=9, decimal_places=2)], '"1.5"', pa.decimal128(9, 2), Decimal("1.50")),
    (Annotated[Decimal, Field(max_digits=9, decimal_places=2)], "1.5", pa.decimal128(9, 2), Decimal("1.50")),
    (Annotated[Decimal, Field(max_digits=40, decimal_places=2)], '"1.50"', pa.string(), "1.50"),
    (Decimal, '"1.500"', pa.string(), "1.500"),
    (list[int], "[1, 2]", pa.list_(pa.int64()), [1, 2]),
    (set[int], "[1, 1]", pa.list_(pa.int64()), [1]),
    (tuple[date, ...], '["2026-01-31"]', pa.list_(pa.date32()), [date(2026, 1, 31)]),
    (list[list[str] | None], '[["x"], null, []]', pa.list_(pa.list_(pa.string())), [["x"], None, []]),
    (RootModel[list[int]], "[1]", pa.list_(pa.int64()), [1]),
    (int | None, "null", pa.int64(), None),
    (list[Label], "[]", pa.list_(pa.struct({"topic": TOPICS, "urgency": pa.int64(), "note": pa.string()})), []),
    ({"type": "string", "format": "date-time"}, '"2026-01-31t12:00:00z"', pa.timestamp("us", "UTC"),
     datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ({"type": "integer"}, "7.0", pa.int64(), 7),
    ({"enum": [1, 2.5, None]}, "1", pa.float64(), 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("given", "text", "column", "value"), TABLE, ids=lambda each: str(each)[:40])
def test_each_type_has_its_column(given: Any, text: str, column: pa.DataType, value: Any) -> None:
    output = OutputType.of(given)
    assert output.check([text]) == [None]
    assert output.arrow_type == column
    assert output.columns([text, None]).to_pylist() == [value, None]
    assert output.columns([]).type == column


def test_an_enum_has_the_same_dictionary_in_each_array() -> None:
    output = OutputType.of(Literal["b", "a", "c"])
    assert output.columns(['"c"']).dictionary.to_pylist() == ["b", "a", "c"]
    assert output.columns([]).dictionary.to_pylist() == ["b", "a", "c"]


def test_members_have_the_names_of_their_aliases_in_answers_and_columns() -> None:
    class Price(BaseModel):
        amount: int = Field(alias="Amount in EUR")

    output = OutputType.of(Price)
    assert list(output.schema["properties"]) == ["Amount in EUR"]
    assert output.columns(['{"Amount in EUR": 5}']).to_pylist() == [{"Amount in EUR": 5}]


def test_a_serialization_alias_names_the_column_only() -> None:
    class Price(BaseModel):
        amount: int = Field(validation_alias="asked", serialization_alias="stored")

    output = OutputType.of(Price)
    assert list(output.schema["properties"]) == ["asked"]
    assert output.columns(['{"asked": 5}']).to_pylist() == [{"stored": 5}]


def test_columns_hold_what_validators_defaults_and_computed_fields_make_of_an_answer() -> None:
    class Price(BaseModel):
        model_config = ConfigDict(str_strip_whitespace=True)
        currency: str = "EUR"
        cents: int
        secret: str = Field(default="", exclude=True)

        @field_validator("currency")
        @classmethod
        def upper(cls, value: str) -> str:
            return value.upper()

        @computed_field
        def euros(self) -> float:
            return self.cents / 100

    output = OutputType.of(Price)
    assert "euros" not in output.schema["properties"]
    assert output.columns(['{"cents": 150}', '{"cents": 5, "currency": " chf"}']).to_pylist() == [
        {"currency": "EUR", "cents": 150, "euros": 1.5},
        {"currency": "CHF", "cents": 5, "euros": 0.05},
    ]


def test_members_that_no_type_declares_are_no_columns() -> None:
    output = OutputType.of(Label)
    assert output.columns(['{"topic": "bill", "urgency": 1, "mood": "calm"}']).to_pylist() == [
        {"topic": "bill", "urgency": 1, "note": None}
    ]


def test_an_output_type_of_an_output_type_is_itself() -> None:
    output = OutputType.of(Label)
    assert OutputType.of(output) is output


def test_it_goes_into_a_request_as_a_format() -> None:
    output = OutputType.of(Label)
    assert output.format() == {"type": "json_schema", "schema": output.schema}
    assert repr(output).startswith("OutputType(Label: struct<topic: dictionary<")


def test_a_typed_dict_that_inherits_keeps_what_is_required() -> None:
    from typing import TypedDict as StandardTypedDict

    class Item(StandardTypedDict, total=False):
        """An item."""

        name: str
        parts: list[Part]

    class Sold(Item):
        price: Annotated[int, Field(ge=0)]

    class Part(StandardTypedDict):
        sku: str

    globals()["Part"] = Part  # where a hint in quotes is looked for
    output = OutputType.of(list[Sold] | None)
    del globals()["Part"]
    assert output.check(['[{"price": 1}]', '[{"name": "x"}]', '[{"price": -1}]', '[{"price": 1, "parts": [{}]}]']) == [
        None,
        "[0].price: Field required",
        "[0].price: Input should be greater than or equal to 0",
        "[0].parts[0].sku: Field required",
    ]


def test_a_type_that_is_no_type_is_refused() -> None:
    with pytest.raises(OutputTypeError, match="The output type 5 cannot be used; nothing was sent:"):
        OutputType.of(5)
