"""Instances of JSON schemas, as answers that must keep to one."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.emulator.examples import example

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
    return objects | arrays | st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3))


@given(schema=st.recursive(LEAVES, nested, max_leaves=5), pick=st.integers(0, 10_000))
def test_an_example_keeps_to_its_schema(schema: dict[str, Any], pick: int) -> None:
    jsonschema.validate(example(schema, pick), schema)


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
    assert set(example(tree, 0)) == {"child"}


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
