"""What goes out as `output_config.format.schema`: what the API takes, and the rest in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import BaseModel, Field

from airflow_batches.emulator import Emulator
from airflow_batches.tables import OutputType
from tests.unit.emulator.client import Client, line

EVERYTHING: dict[str, Any] = {
    "type": "object",
    "title": "Order",
    "description": "An order.",
    "$defs": {"Part": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}},
    "definitions": {"Size": {"enum": ["small", "large"]}},
    "properties": {
        "text": {"type": "string", "default": "none"},
        "whole": {"type": "integer"},
        "number": {"type": "number"},
        "flag": {"type": "boolean"},
        "size": {"$ref": "#/definitions/Size"},
        "kind": {"const": "order"},
        "rank": {"type": "integer", "enum": [1, 2, 3]},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "perhaps": {"type": ["integer", "null"]},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}, "minItems": 1},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 0},
        "both": {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}]},
        **{
            name: {"type": "string", "format": name}
            for name in (
                "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
            )
        },
    },
    "required": ["text", "whole", "number", "flag", "size", "kind", "rank", "maybe", "perhaps", "parts", "both"],
    "additionalProperties": False,
}  # fmt: skip
"""A schema with every feature that the API allows (docs, "Structured outputs", "Supported features")."""


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    client = Client(emulator)
    yield client
    client.close()


def sent(**member: Any) -> Any:
    """What is sent for a member of an object."""
    schema = {"type": "object", "properties": {"a": member}}
    return OutputType.of(schema).schema["properties"]["a"]


def test_every_feature_that_the_api_allows_is_sent_and_answered(client: Client) -> None:
    output = OutputType.of(EVERYTHING)
    results = client.outcome([line(f"row-{number}", output_config={"format": output.format()}) for number in range(9)])
    texts = [result["message"]["content"][0]["text"] for result in results.values()]
    assert output.check(texts) == [None] * 9
    assert output.columns(texts).null_count == 0


def test_what_the_api_allows_goes_out_as_it_stands() -> None:
    schema = OutputType.of(EVERYTHING).schema
    same = ("text", "whole", "size", "kind", "rank", "maybe", "parts", "tags", "date-time", "uuid")
    assert {name: schema["properties"][name] for name in same} == {
        name: EVERYTHING["properties"][name] for name in same
    }
    assert schema["required"] == EVERYTHING["required"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "integer", "maximum": 5, "minimum": 1}, "Must be at least 1, at most 5."),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "Must be more than 0, less than 1."),
        ({"type": "integer", "multipleOf": 5}, "Must be a multiple of 5."),
        (
            {"type": "string", "minLength": 2, "maxLength": 9},
            "Must be of 2 or more characters, of 9 or fewer characters.",
        ),
        ({"type": "string", "pattern": "^a.*z$"}, "Must be a match of the regular expression ^a.*z$."),
        ({"type": "string", "format": "iri"}, "Must be in the format iri."),
        ({"type": "string", "examples": ["x"]}, 'Must be for example ["x"].'),
        ({"type": "string", "not": {"const": ""}}, 'Must be no match of {"const":""}.'),
        ({"type": "string", "x-unit": "EUR"}, "x-unit: EUR."),
    ],
)
def test_constraints_that_the_api_does_not_take_are_sent_in_words(given: dict[str, Any], words: str) -> None:
    assert sent(**given) == {"type": given["type"], "description": words}
    assert sent(**given, description="A price.")["description"] == f"A price.\n{words}"


def test_a_list_of_at_least_two_is_sent_as_a_list_that_is_not_empty() -> None:
    given = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3, "uniqueItems": True}
    assert sent(**given) == {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "description": "Must be of 2 or more items, of 3 or fewer items, without equal items.",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (
            {"type": ["string", "null"], "enum": ["x", None], "description": "One."},
            {"anyOf": [{"type": "string", "enum": ["x"]}, {"type": "null", "enum": [None]}], "description": "One."},
        ),
        (
            {"type": ["integer", "null"], "minimum": 1, "maxLength": 5},
            {"anyOf": [{"type": "integer", "description": "Must be at least 1."}, {"type": "null"}]},
        ),
        ({"type": ["string"]}, {"type": "string"}),
        ({"type": ["string", "null"], "const": "x"}, {"type": "string", "enum": ["x"]}),
    ],
)
def test_alternatives_are_sent_as_any_of(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sent(**given) == expected


def test_the_parts_of_all_of_are_sent_as_one_closed_object() -> None:
    one = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"minimum": 1}}, "required": ["x"]}
    other = {"type": "object", "properties": {"y": {"type": "integer"}}, "required": ["y"], "title": "Other"}
    assert sent(allOf=[one, {"allOf": [other]}], title="Both") == {
        "type": "object",
        "title": "Both",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "description": "Must be at least 1."}},
        "required": ["x", "y"],
        "additionalProperties": False,
    }


def test_a_reference_with_a_description_is_sent_as_the_schema_that_it_refers_to() -> None:
    class Part(BaseModel):
        sku: str

    class Order(BaseModel):
        main: Part = Field(description="The largest.")
        others: list[Part]

    schema = OutputType.of(Order).schema
    assert schema["properties"]["main"]["description"] == "The largest."
    assert schema["properties"]["main"]["properties"] == {"sku": {"type": "string"}}
    assert schema["properties"]["others"]["items"] == {"$ref": "#/$defs/Part"}


def test_definitions_that_are_not_used_are_not_sent() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"type": "string"}},
    }
    assert "$defs" not in OutputType.of(schema).schema


def test_titles_that_repeat_the_names_of_members_are_not_sent() -> None:
    class Label(BaseModel):
        topic: str
        urgency: int = Field(title="Urgency from 1 to 5")

    members = OutputType.of(Label).schema["properties"]
    assert members == {"topic": {"type": "string"}, "urgency": {"title": "Urgency from 1 to 5", "type": "integer"}}


def test_every_object_is_sent_closed() -> None:
    class Inner(BaseModel):
        a: Annotated[list[int], Field(max_length=2)]

    class Outer(BaseModel):
        one: Inner | None
        many: list[Inner]

    schema = OutputType.of(Outer).schema
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Inner"]["additionalProperties"] is False


def test_what_is_sent_is_a_json_schema_and_the_given_one_is_unchanged() -> None:
    given = {"type": "object", "properties": {"a": {"type": ["integer", "null"], "minimum": 1}}}
    output = OutputType.of(given)
    jsonschema.Draft202012Validator.check_schema(output.schema)
    assert given == {"type": "object", "properties": {"a": {"type": ["integer", "null"], "minimum": 1}}}
