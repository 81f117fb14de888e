"""What is refused before anything is sent, each with its place and a cure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypedDict

import pytest
from pydantic import BaseModel, ConfigDict, create_model

from airflow_batches.emulator import Emulator
from airflow_batches.tables import OutputType, OutputTypeError
from airflow_batches.tables.schema_limits import OPTIONAL, UNIONS
from tests.unit.emulator.client import Client, line, params

CLOSED = {"additionalProperties": False}
TEXT = {"type": "string"}


def of(**members: Any) -> dict[str, Any]:
    """A schema of an object."""
    return {"type": "object", "properties": members, "required": [*members], **CLOSED}


def refused(given: Any) -> tuple[str, ...]:
    with pytest.raises(OutputTypeError) as caught:
        OutputType.of(given)
    assert str(caught.value).endswith("\n- ".join(["nothing was sent:", *caught.value.problems]))
    return caught.value.problems


class Node(BaseModel):
    name: str
    children: list[Node]


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Circle(BaseModel):
    x: int


class Square(BaseModel):
    y: int


class Shapes(BaseModel):
    a: list[Circle | Square]


MIXED: Any = Literal["x", 1]


class Pair(NamedTuple):
    one: int
    two: str


PAIRS = (
    "the API takes no objects with members of any name; list the members, or use a list of objects with a name and a"
)
TUPLES = "the API takes no tuples; use an object with a member for each place"
REFUSED: dict[str, tuple[Any, str]] = {
    "a recursive schema": (
        of(tree={"$ref": "#/$defs/Node"}) | {"$defs": {"Node": of(inner={"$ref": "#/$defs/Node"})}},
        "#/$defs/Node/properties/inner: the API takes no schema that contains itself (#/$defs/Node); write its levels",
    ),
    "a recursive model": (Node, "#/$defs/Node/properties/children/items: the API takes no schema that contains itself"),
    "a schema that refers to its root": (
        {"$ref": "#"},
        "#: the API takes no schema that contains itself (#); write its levels out, or return a flat list whose items",
    ),
    "another document": (
        of(a={"$ref": "https://example.com/schema.json"}),
        "#/properties/a: 'https://example.com/schema.json' is not in this schema; put the definition into $defs",
    ),
    "another document in a condition": (
        of(a=TEXT | {"not": {"$ref": "https://example.com/schema.json"}}),
        "#/properties/a/not: 'https://example.com/schema.json' is not in this schema; put the definition into $defs",
    ),
    "a reference to nothing": (
        of(**{"a/b": {"$ref": "#/$defs/X"}}),
        "#/properties/a~1b: '#/$defs/X' is not in this schema; put the definition into $defs",
    ),
    "a dynamic reference": (of(a={"$dynamicRef": "#x"}), "#/properties/a: the API does not take $dynamicRef; use $ref"),
    "an open object": ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": True}, f"#: {PAIRS}"),
    "an object of texts": ({"type": "object", "additionalProperties": TEXT}, f"#: {PAIRS}"),
    "names by a pattern": (of(a=TEXT) | {"patternProperties": {"^x": TEXT}}, f"#: {PAIRS}"),
    "an open model": (Open, f"#: {PAIRS}"),
    "a dict": (create_model("Words", words=(dict[str, int], ...)), f"#/properties/words: {PAIRS}"),
    "a tuple": (create_model("Words", words=(tuple[int, str], ...)), f"#/properties/words: {TUPLES}"),
    "a named tuple": (list[Pair], f"#/$defs/Pair: {TUPLES}"),
    "a list of items": ({"type": "array", "items": TEXT, "prefixItems": [TEXT]}, f"#: {TUPLES}"),
    "an enum of objects": (
        of(a={"enum": [{"b": 1}, "c"]}),
        "#/properties/a: the API takes only texts, numbers, booleans and null in an enum; use anyOf",
    ),
    "a constant list": (of(a={"const": [1]}), "#/properties/a: the API takes only texts, numbers, booleans and null"),
    "any value": (of(a=True), "#/properties/a: a member of any type has no column; give it a type"),
    "a schema without a type": (of(a={"minimum": 1}), "#/properties/a: a value of any type has no column; give it a"),
    "alternatives beside a bound": (
        of(a={"minimum": 1, "anyOf": [{"type": "integer"}, {"type": "number"}]}),
        "#/properties/a: anyOf beside minimum; write minimum into each alternative",
    ),
    "a contradiction": (
        of(a={"allOf": [{"type": "integer"}, {"type": "string"}]}),
        "#/properties/a: the parts of allOf have different values of type; write one schema",
    ),
    "no schema": ({"type": "text"}, "#/type: no JSON schema: 'text' is not valid under any of the given schemas"),
    "broken JSON": ('{"type":', "it is no JSON: Input data was truncated"),
    "JSON that is no object": ("[]", "#: no JSON schema: [] is not of type 'object', 'boolean'"),
    "a schema that accepts everything": ("true", "it is no JSON schema; give an object"),
    "values that are no JSON": ({"enum": [object()]}, "it is no JSON: Encoding objects of type object is unsupported"),
    "a class that pydantic does not know": (Emulator, "Unable to generate pydantic-core schema for <class"),
    "deep nesting": ('{"type":"array","items":' * 400 + "{}" + "}" * 400, "it nests too deeply; flatten it"),
}


@pytest.mark.parametrize("limit", REFUSED)
def test_is_refused_with_its_place_and_a_cure(limit: str) -> None:
    given, message = REFUSED[limit]
    (problem,) = refused(given)
    assert problem.startswith(message)


NO_COLUMN: dict[str, tuple[Any, str]] = {
    "a union of scalars": (int | str, "the answer is a union (int64, string), which has no column in Arrow; use one"),
    "a union of objects": (
        Shapes,
        "a[] is a union (struct<x: int64>, struct<y: int64>), which has no column in Arrow; use one type; for objects,",
    ),
    "an enum of several types": (
        create_model("M", a=(MIXED, ...)),
        "a is an enum of several types, which has no column in Arrow; use one type, such as texts",
    ),
    "only null": (create_model("M", a=(None, ...)), "a is always null, which has no column in Arrow; leave it out"),
    "an object without members": (
        create_model("M", a=(create_model("A"), ...)),
        "a is an object without members, which has no column in Arrow; add a member, or leave it out",
    ),
    "a list of anything": ({"type": "array"}, "answer[] is of any type, which has no column in Arrow; give it a type"),
}


@pytest.mark.parametrize("kind", NO_COLUMN)
def test_what_has_no_column_is_refused_with_its_member_and_a_cure(kind: str) -> None:
    given, message = NO_COLUMN[kind]
    (problem,) = refused(given)
    assert problem.startswith(message)


def test_all_problems_are_named_at_once() -> None:
    assert len(refused(of(a=True, b={"enum": [[]]}, c={"type": "array", "prefixItems": [TEXT]}))) == 3


def optional_members(count: int) -> dict[str, Any]:
    return of(**{f"m{number}": TEXT for number in range(count)}) | {"required": []}


def nullable_members(count: int) -> dict[str, Any]:
    return of(**{f"m{number}": {"type": ["string", "null"]} for number in range(count)})


def test_the_most_optional_members_are_taken_and_one_more_is_refused() -> None:
    OutputType.of(optional_members(OPTIONAL))
    (problem,) = refused(optional_members(OPTIONAL + 1))
    assert problem == (
        "#/properties/m0, #/properties/m1, #/properties/m2 …: 25 members are optional, the API takes 24; make some "
        "required (without a default)"
    )


def test_optional_members_of_all_objects_count_and_those_of_a_definition_once() -> None:
    inner = {"Part": optional_members(OPTIONAL)}
    part = {"$ref": "#/$defs/Part"}
    OutputType.of(of(a=part, b=part) | {"$defs": inner})
    refused(of(a=part, b=part) | {"$defs": inner, "required": ["a"]})


def test_the_most_unions_are_taken_and_one_more_is_refused() -> None:
    OutputType.of(nullable_members(UNIONS))
    (problem,) = refused(nullable_members(UNIONS + 1))
    assert problem.startswith("#/properties/m0, #/properties/m1, #/properties/m2 …: 17 schemas have alternatives (such")
    assert problem.endswith('the API takes 16; use a plain type with a value for "none", such as an empty text')


def test_definitions_without_a_reference_count_nothing() -> None:
    OutputType.of(of(a=TEXT) | {"$defs": {"Unused": optional_members(50)}})


def test_a_typed_dict_of_typing_is_taken_but_not_within_a_model() -> None:
    class Item(TypedDict):
        name: str

    assert OutputType.of(list[Item]).columns(['[{"name": "x"}]']).to_pylist() == [[{"name": "x"}]]


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    client = Client(emulator)
    yield client
    client.close()


@pytest.mark.parametrize("limit", ["an open object", "an object of texts"])
def test_the_emulator_refuses_open_objects_too(limit: str, client: Client) -> None:
    error = client.error(params(output_config={"format": {"type": "json_schema", "schema": REFUSED[limit][0]}}))
    assert error["message"].endswith("'additionalProperties' must be explicitly set to false")


def test_the_emulator_takes_a_schema_at_the_limits(client: Client) -> None:
    for schema in (optional_members(OPTIONAL), nullable_members(UNIONS)):
        config = {"format": OutputType.of(schema).format()}
        assert client.outcome([line("only", output_config=config)])["only"]["type"] == "succeeded"
