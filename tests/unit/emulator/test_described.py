"""Constraints in descriptions: where the SDK and output types write what the API takes in no other form."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from anthropic import transform_schema
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from airflow_batches.emulator.described import with_described
from airflow_batches.emulator.examples import example
from airflow_batches.tables import OutputType

LOW = st.integers(-30, 30)
SIZE = st.integers(0, 9)
BOUNDED: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda low, more: Annotated[int, Field(ge=low, le=low + more)], LOW, SIZE),
    st.builds(lambda low, more: Annotated[float, Field(gt=low, lt=low + more + 0.5)], LOW, SIZE),
    st.builds(lambda step: Annotated[int, Field(ge=7, multiple_of=step, description="A share")], st.integers(1, 9)),
    st.builds(lambda low, more: Annotated[str, Field(min_length=low, max_length=low + more)], SIZE, SIZE),
    st.builds(lambda low: Annotated[list[int], Field(min_length=low, max_length=low)], SIZE),
    st.sampled_from(["^[A-Z]{2}-[0-9]{3,5}$", "^(red|green), of 3 or more$", r"^\d+\.\d+$"]).map(
        lambda pattern: Annotated[str, Field(pattern=pattern)]
    ),
)
DECIMALS = st.builds(lambda low, places: Annotated[Decimal, Field(ge=low, decimal_places=places)], LOW, SIZE)
SCHEMAS = {"of an output type": lambda made: OutputType.of(made).schema, "of the SDK": transform_schema}


def model(kinds: list[Any]) -> type[pydantic.BaseModel]:
    members: dict[str, Any] = {f"m{number}": (kind, ...) for number, kind in enumerate(kinds)}
    made: type[pydantic.BaseModel] = pydantic.create_model("Made", **members)
    return made


@pytest.mark.parametrize("schema_of", SCHEMAS.values(), ids=SCHEMAS)
@settings(deadline=None)
@given(kinds=st.lists(BOUNDED, min_size=1, max_size=3), pick=st.integers(0, 10_000))
def test_pydantic_accepts_an_example_of_what_is_sent(schema_of: Any, kinds: list[Any], pick: int) -> None:
    made = model(kinds)
    made.model_validate_json(msgspec.json.encode(example(schema_of(made), pick)))


@settings(deadline=None)
@given(kinds=st.lists(DECIMALS | BOUNDED, min_size=1, max_size=3), pick=st.integers(0, 10_000))
def test_decimals_are_texts_of_numbers(kinds: list[Any], pick: int) -> None:
    made = model(kinds)
    made.model_validate_json(msgspec.json.encode(example(OutputType.of(made).schema, pick)))


@pytest.mark.parametrize(
    "description",
    ["", "Must be polite.", "{not: pairs", "At least 3 words", "{items: fruits, minItems: many}", "{type: object}", 5],
)
def test_other_words_change_nothing(description: Any) -> None:
    schema = {"type": "string", "description": description}
    assert with_described(schema) == schema


def test_what_a_schema_says_itself_counts() -> None:
    schema = {"type": "string", "format": "date", "description": "{format: short}"}
    assert with_described(schema) == schema
    assert with_described({"minItems": 1, "description": "Must be of 3 or more items."})["minItems"] == 3


def test_a_description_that_wants_more_than_any_answer_holds_gets_nothing() -> None:
    words = "Must be in the format decimal number, exact to 900000000 decimal places."
    assert example({"type": "string", "description": words}, 0) == {}
