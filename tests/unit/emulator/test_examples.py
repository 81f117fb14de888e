"""Instances of JSON schemas, as answers that must keep to one."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Any, Literal, Union
from uuid import UUID

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AnyUrl

from airflow_batches.emulator.examples import example, mismatch
from airflow_batches.emulator.output_schemas import check_schema
from airflow_batches.emulator.patterns import matching_text

NAMES = st.text("abc", min_size=1, max_size=3)
LEAVES = st.one_of(
    st.just({"type": "string"}),
    st.builds(
        lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
        st.integers(0, 9),
        NAT := st.integers(0, 9),
    ),
    st.builds(lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more}, st.integers(-9, 9), NAT),
    st.builds(lambda low: {"type": "number", "minimum": low}, st.integers(-9, 9)),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": ["integer", "null"]}),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers() | NAMES, min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.integers() | NAMES),
    st.builds(
        lambda low, more: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + more + 1}, NAT, NAT
    ),
    st.builds(
        lambda low, step: {"type": "integer", "exclusiveMinimum": low, "multipleOf": step}, NAT, st.integers(1, 9)
    ),
    st.builds(lambda high: {"type": "integer", "exclusiveMaximum": high}, st.integers(-9, 9)),
    st.sampled_from(["^[A-Z]{2}-[0-9]{3,5}$", "^(red|green)$", r"^\d+(\.\d+)?$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.builds(
        lambda properties, wanted: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in wanted],
        },
        st.dictionaries(NAMES, inner, max_size=3),
        st.sets(NAMES, max_size=3),
    )
    arrays = st.builds(lambda items, low: {"type": "array", "items": items, "minItems": low}, inner, st.integers(0, 3))
    tuples = st.lists(inner, min_size=1, max_size=3).map(lambda items: {"type": "array", "prefixItems": items})
    branches = st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found})
    both = objects.map(lambda part: {"allOf": [part, {"description": "both"}], "title": "both"})
    return objects | arrays | tuples | branches | both


@given(schema=st.recursive(LEAVES, nested, max_leaves=5), pick=st.integers(0, 10_000))
def test_an_example_keeps_to_its_schema(schema: dict[str, Any], pick: int) -> None:
    jsonschema.validate(example(schema, pick), schema)


@given(schema=st.recursive(LEAVES, nested, max_leaves=5), pick=st.integers(0, 10_000))
def test_a_mismatch_does_not(schema: dict[str, Any], pick: int) -> None:
    text = mismatch(schema, pick)
    if text is not None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(text), schema)


@given(
    schema=st.recursive(
        st.none() | st.integers() | NAMES,
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "type",
                        "enum",
                        "$ref",
                        "anyOf",
                        "allOf",
                        "properties",
                        "items",
                        "minimum",
                        "required",
                        "minLength",
                    ]
                ),
                inner,
            )
        ),
    ),
    pick=st.integers(0, 100),
)
def test_whatever_stands_in_a_schema_something_comes_back(schema: Any, pick: int) -> None:
    example(schema, pick)


def test_definitions_are_followed() -> None:
    schema = {
        "$defs": {"label": {"enum": ["a", "b"]}},
        "type": "object",
        "properties": {"label": {"$ref": "#/$defs/label"}, "both": {"allOf": [{"type": "string"}, {"maxLength": 2}]}},
    }
    assert example(schema, 1) == {"label": "b", "both": "te"}


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    tree: dict[str, Any] = {"type": "object", "properties": {"child": {"$ref": "#"}}, "required": ["child"]}
    assert example(tree, 0) == {}
    may_end = tree | {"properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}
    for pick in range(5):
        jsonschema.validate(example(may_end, pick), may_end)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 10**12},
        {"type": "array", "minItems": 10**12},
        {"properties": {name: {"$ref": "#"} for name in map(str, range(100))}},
    ],
    ids=["text", "items", "tree"],
)
def test_a_schema_that_wants_more_than_any_answer_holds_gets_nothing(schema: dict[str, Any]) -> None:
    assert example({"type": "object", "properties": {"a": schema}} | schema, 0) == {}


@pytest.mark.parametrize(("form", "value"), [("date", "2026-01-31"), ("email", "someone@example.com")])
def test_formats_are_kept(form: str, value: str) -> None:
    assert example({"type": "string", "format": form}, 0) == value


def test_the_same_pick_gives_the_same_example_and_another_one_another() -> None:
    schema = {"enum": ["a", "b", "c"]}
    assert [example(schema, pick) for pick in (0, 1, 2, 3, 0)] == ["a", "b", "c", "a", "a"]


MONEY: dict[str, Any] = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "currency": {"enum": ["EUR", "USD"]}},
}
SKU: dict[str, Any] = {"type": "object", "properties": {"sku": {"type": "string"}}}
IN_OSLO: dict[str, Any] = {"properties": {"city": {"const": "Oslo"}}, "required": ["city"]}
ORDER: dict[str, Any] = {
    "$defs": {"money": MONEY, "a/b": {"type": "string", "format": "date"}},
    "type": "object",
    "properties": {
        "total": {"$ref": "#/$defs/money", "description": "With tax"},
        "paid_on": {"anyOf": [{"$ref": "#/$defs/a~1b"}, {"type": "null"}]},
        "email": {"type": ["string", "null"], "format": "email"},
        "lines": {"type": "array", "minItems": 0, "items": SKU},
        "note": {"type": "string"},
        "place": {"allOf": [{"$ref": "#/$defs/money"}, IN_OSLO]},
    },
    "required": ["total", "paid_on", "email", "lines", "place"],
    "additionalProperties": False,
}


def test_what_the_api_takes_of_json_schema_is_kept_and_varied() -> None:
    made = [example(ORDER, pick) for pick in range(12)]
    for value in made:
        jsonschema.validate(value, ORDER)
        assert value["place"]["city"] == "Oslo"
    assert {type(value["email"]) for value in made} == {type(value["paid_on"]) for value in made} == {str, type(None)}
    assert {"note" in value for value in made} == {True, False}


def test_members_that_are_required_but_not_described_are_there() -> None:
    schema = {"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}}
    jsonschema.validate(example(schema, 5), schema)


def test_types_that_hold_each_other_are_followed_to_the_last() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(25):
        schema = {"type": "object", "properties": {"inner": schema}, "required": ["inner"]}
    jsonschema.validate(example(schema, 0), schema)


def test_an_object_has_as_many_members_as_it_must() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2}
    jsonschema.validate(example(schema, 1), schema)


def test_references_in_a_circle_come_to_an_end() -> None:
    circle = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "anyOf": [{"$ref": "#/$defs/a"}]}
    assert example(circle, 0) in (None, "text", {})


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[A-Z]{2}\d{4}$",
        r"^(yes|no)$",
        r"^[^abc0-9]+$",
        r"^[a-z0-9_-]{1,64}$",
        r"^\+?[0-9 ]{5,}$",
        r"^https?://\S+$",
        r"^\w+@\w+\.com$",
        r"^.{3}?x*?[^y]$",
        "",
    ],
)
def test_a_pattern_gets_a_text_that_matches(pattern: str) -> None:
    for pick in range(40):
        text = matching_text(pattern, pick)
        assert text is not None
        assert re.search(pattern, text)


@pytest.mark.parametrize("pattern", ["(?=x)", r"(a)\1", "a{100000000}", "(((a{999}){999}){999}){999}", "[", "a^"])
def test_a_pattern_that_is_not_understood_gets_none(pattern: str) -> None:
    assert matching_text(pattern, 0) is None
    assert example({"type": "string", "pattern": pattern}, 0) == "text"


class Mood(Enum):
    """An enum, as users write them."""

    GOOD = "good"
    BAD = "bad"


class Node(pydantic.BaseModel):
    """A type that holds itself."""

    name: str
    children: list[Node]
    parent: Node | None


SIMPLE: st.SearchStrategy[Any] = st.sampled_from(
    [
        int,
        float,
        str,
        bool,
        None,
        date,
        datetime,
        time,
        timedelta,
        UUID,
        Decimal,
        Mood,
        Node,
        IPv4Address,
        AnyUrl,
        bytes,
    ]
) | st.lists(NAMES | st.integers(0, 9), min_size=1, max_size=3).map(lambda values: Literal[tuple(values)])


def composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        inner.map(lambda kind: list[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: Union[kind, None]),  # noqa: UP007
        several.map(lambda kinds: Union[tuple(kinds)]),  # noqa: UP007
        several.map(lambda kinds: tuple[tuple(kinds)]),  # type: ignore[misc]
        st.builds(model, several, st.integers(0, 3)),
    )


def model(kinds: list[Any], required: int) -> type[pydantic.BaseModel]:
    """A model with a member of each type, some of them with a default."""
    members = {f"m{number}": (kind, ... if number < required else None) for number, kind in enumerate(kinds)}
    made: type[pydantic.BaseModel] = pydantic.create_model("Made", **members)  # type: ignore[call-overload]
    return made


BOUNDS = {"minLength", "maxItems", "exclusiveMinimum"}
"""What pydantic writes for the types above, and the API does not support."""


def closed(schema: Any) -> Any:
    """The schema as the API takes it: without bounds and further properties."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: closed(each) for name, each in schema.items() if name not in BOUNDS}
    if kept.get("type") == "array":
        kept["minItems"] = min(1, kept.get("minItems", 0))
    return kept | {"additionalProperties": False} if kept.get("type") == "object" else kept


@settings(deadline=None)
@given(
    kinds=st.lists(st.recursive(SIMPLE, composed, max_leaves=4), min_size=1, max_size=4), pick=st.integers(0, 10_000)
)
def test_pydantic_accepts_the_example_of_every_type_whose_schema_the_api_takes(kinds: list[Any], pick: int) -> None:
    made = model(kinds, required=3)
    schema = closed(made.model_json_schema())
    check_schema(schema, "schema")
    answer = msgspec.json.encode(example(schema, pick))
    assert isinstance(made.model_validate_json(answer), made)


@settings(deadline=None)
@given(
    kinds=st.lists(st.recursive(SIMPLE, composed, max_leaves=4), min_size=1, max_size=4), pick=st.integers(0, 10_000)
)
def test_pydantic_refuses_the_mismatch(kinds: list[Any], pick: int) -> None:
    made = model(kinds, required=3)
    text = mismatch(closed(made.model_json_schema()), pick)
    assert text is not None
    with pytest.raises(pydantic.ValidationError):
        made.model_validate_json(text)
