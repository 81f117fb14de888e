"""Why answers are invalid: the member and what is wrong, never the whole value."""

from __future__ import annotations

from typing import Any, Literal

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator
from pydantic_core import from_json

from airflow_batches.tables import OutputType
from airflow_batches.tables.quick_check import quick_validator
from tests.unit.tables.output_types import encoded


class Line(BaseModel):
    price: int = Field(ge=0)


class Bill(BaseModel):
    kind: Literal["Invoice", "Credit note"]
    lines: list[Line]

    @field_validator("kind")
    @classmethod
    def fine(cls, value: str) -> str:
        return value


BILL = OutputType.of(Bill)
SAME = OutputType.of(
    {
        "type": "object",
        "properties": {
            "kind": {"enum": ["Invoice", "Credit note"]},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        },
        "required": ["kind", "lines"],
        "$defs": {"Line": {"type": "object", "properties": {"price": {"type": "integer", "minimum": 0}}}},
    }
)  # fmt: skip


def reason(output: OutputType, text: str | None, stop_reason: str | None = None) -> str | None:
    return output.check([text], [stop_reason])[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"kind": "Invoice", "lines": [{"price": 1}, {"price": -1}]}',
            "lines[1].price: Input should be greater than or",
        ),
        ('{"kind": "Letter", "lines": []}', "kind: Input should be 'Invoice' or 'Credit note'"),
        ('{"kind": "Invoice"}', "lines: Field required"),
        ("[]", "Input should be an object"),
        ("Here is the bill:", "Invalid JSON: expected value at line 1 column 1"),
        ('```json\n{"kind": "Invoice", "lines": []}\n```', "Invalid JSON: expected value at line 1 column 1"),
        ('{"kind": "Invoice", "lines": []} and', "Invalid JSON: trailing characters at line 1 column 34"),
        (None, "the answer has no text"),
        (
            '{"kind": "Invoice", "lines": [{"price": 9223372036854775808}]}',
            "lines[0].price: does not fit a column of int64",
        ),
    ],
)
def test_a_reason_names_the_member_and_what_is_wrong(text: str | None, said: str) -> None:
    assert str(reason(BILL, text)).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"kind": "Invoice", "lines": [{"price": 1}, {"price": -1}]}', "lines[1].price: must be at least 0"),
        ('{"kind": "Letter", "lines": []}', 'kind: must be one of ["Invoice","Credit note"]'),
        ('{"kind": "Invoice"}', "'lines' is a required property"),
        ('{"kind": "Invoice", "lines": {}}', "lines: must be of type array"),
        (
            '{"kind": "Invoice", "lines": [], "mood": 1}',
            "Additional properties are not allowed ('mood' was unexpected)",
        ),
        ('{"kind": "Invoice", "lines": NaN}', "Invalid JSON: expected value at line 1 column 30"),
        (None, "the answer has no text"),
        (
            '{"kind": "Invoice", "lines": [{"price": 9223372036854775808}]}',
            "lines[0].price: does not fit a column of int64",
        ),
    ],
)
def test_an_answer_of_a_json_schema_gets_a_reason_in_the_same_form(text: str | None, said: str) -> None:
    assert reason(SAME, text) == said


@pytest.mark.parametrize("output", [BILL, SAME], ids=["type", "schema"])
@pytest.mark.parametrize(
    ("stop_reason", "said"),
    [
        ("max_tokens", "cut off at max_tokens; raise it (Invalid JSON: EOF while parsing"),
        ("refusal", "the model refused to answer (Invalid JSON: EOF while parsing"),
        ("model_context_window_exceeded", "cut off at the end of the model's context window (Invalid JSON"),
        ("stop_sequence", "cut off at a stop sequence (Invalid JSON"),
        ("end_turn", "the answer ends early, as when max_tokens cuts it (Invalid JSON: EOF while parsing"),
        (None, "the answer ends early, as when max_tokens cuts it (Invalid JSON: EOF while parsing"),
    ],
)
def test_a_cut_or_refused_answer_is_said_to_be_one(output: OutputType, stop_reason: str | None, said: str) -> None:
    assert str(reason(output, '{"kind": "Invo', stop_reason)).startswith(said)
    assert reason(output, '{"kind": "Invoice", "lines": []}', stop_reason) is None


def test_a_reason_is_short_however_long_the_answer_is() -> None:
    class Loud(BaseModel):
        text: str

        @field_validator("text")
        @classmethod
        def quiet(cls, value: str) -> str:
            raise ValueError(f"{value} is too loud")

    for output, text in [
        (OutputType.of(Loud), encoded({"text": "x" * 100_000})),
        (BILL, encoded({"kind": "x" * 100_000, "lines": ["y" * 100_000] * 100})),
        (SAME, encoded({"kind": "Invoice", "lines": [], "x" * 100_000: 1})),
        (SAME, encoded({"kind": {"x" * 100_000: 1}, "lines": []})),
        (SAME, encoded({"kind": "Invoice", "lines": "z" * 100_000})),
    ]:
        assert len(str(reason(output, text))) < 500


def test_two_problems_are_named_and_the_others_counted() -> None:
    text = encoded({"kind": "Invoice", "lines": [{}, {}, {}, {}]})
    assert reason(BILL, text) == "lines[0].price: Field required; lines[1].price: Field required; and 2 more"


def test_half_a_surrogate_pair_is_a_reason_and_no_crash() -> None:
    for output in (BILL, SAME):
        assert reason(output, '{"kind": "\ud800", "lines": []}')
        assert reason(output, '{"kind": "\\ud800", "lines": []}')


@pytest.mark.parametrize("output", [BILL, SAME], ids=["type", "schema"])
def test_the_capitals_of_an_enum_are_corrected_because_the_api_does_not_promise_them(output: OutputType) -> None:
    texts = ['{"kind": "Credit Note", "lines": []}', '{"kind": "credit notes", "lines": []}']
    assert [each is None for each in output.check(texts)] == [True, False]
    assert output.columns(texts).to_pylist() == [{"kind": "Credit note", "lines": []}, None]


def test_capitals_are_corrected_beside_numbers_that_no_integer_type_holds() -> None:
    members = {"kind": {"enum": ["A"]}, "size": {"type": "number"}}
    output = OutputType.of({"type": "object", "properties": members})
    assert output.columns([f'{{"kind": "a", "size": {10**30}}}']).to_pylist() == [{"kind": "A", "size": 1e30}]


def test_capitals_that_fit_two_values_of_an_enum_are_not_corrected() -> None:
    output = OutputType.of(list[Literal["Topic a", "Topic A", "b"]])
    assert output.columns(['["Topic A", "B"]', '["TOPIC A"]']).to_pylist() == [["Topic A", "b"], None]


def test_capitals_are_corrected_within_alternatives_and_definitions() -> None:
    class Part(BaseModel):
        size: Literal["XL"] | None

    output = OutputType.of(list[Part | None])
    assert output.columns(['[{"size": "xl"}, null, {"size": null}]']).to_pylist() == [
        [{"size": "XL"}, None, {"size": None}]
    ]


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"type": "string", "pattern": "b"}, '"abc"', '"ac"'),
        ({"type": "string", "format": "date"}, '"2026-01-31"', '"2026-02-31"'),
        ({"type": "string", "format": "email"}, '"a@b"', '"ab"'),
        ({"type": "string", "format": "date-time"}, '"2026-01-31T00:00:00Z"', '"2026-01-31"'),
        ({"type": "number", "multipleOf": 0.5}, "1.5", "1.2"),
        ({"type": "integer", "not": {"const": 5}}, "4", "5"),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, "[1, 2]", "[1, 1]"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, "[1, 2]", "[1]"),
        ({"type": "array", "items": {"type": "integer"}, "contains": {"const": 1}}, "[1, 2]", "[2]"),
        ({"oneOf": [{"type": "integer", "minimum": 5}, {"type": "integer", "maximum": 5}]}, "4", "5"),
        ({"type": "integer", "if": {"minimum": 5}, "then": {"multipleOf": 2}}, "6", "7"),
        ({"type": "integer", "maximum": 2**60}, str(2**60), str(2**60 + 1)),
    ],
)
def test_every_constraint_of_a_json_schema_is_checked(schema: dict[str, Any], valid: str, invalid: str) -> None:
    output = OutputType.of(schema)
    assert [each is None for each in output.check([valid, invalid])] == [True, False]


SCHEMAS = st.recursive(
    st.one_of(
        st.sampled_from(
            [{"type": "null"}, {"type": "boolean"}, {"enum": ["a", "b"]}, {"type": "string", "const": "a"}]
        ),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["integer", "number"])},
            optional={
                "minimum": st.integers(-2, 2),
                "maximum": st.floats(-2, 2),
                "exclusiveMinimum": st.integers(-2, 2),
                "exclusiveMaximum": st.integers(-2, 2),
            },
        ),
        st.fixed_dictionaries(
            {"type": st.just("string")},
            optional={
                "minLength": st.integers(0, 2),
                "maxLength": st.integers(0, 2),
                "format": st.sampled_from(["date", "ipv4", "uri"]),
            },
        ),
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner},
            optional={"minItems": st.integers(0, 2), "maxItems": st.integers(0, 2)},
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda each: {"anyOf": each}),
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from("ab"), inner),
                "additionalProperties": st.just(False),
            },
            optional={"required": st.lists(st.sampled_from("ab"), unique=True)},
        ),
    ),
    max_leaves=4,
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["", "a", "b", "abc", "😀"]),
        st.sampled_from([2**53 + 1, 2**64, 10**30, "2026-01-31", "127.0.0.1"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=4,
)  # fmt: skip


@given(schema=SCHEMAS, value=VALUES)
def test_what_the_quick_check_accepts_jsonschema_accepts_and_reads_alike(schema: dict[str, Any], value: Any) -> None:
    formats = jsonschema.FormatChecker()
    quick = quick_validator(schema, formats.conforms)
    if quick is None:
        return
    try:
        read = quick.validate_json(encoded(value))
    except ValueError:
        return
    assert read == from_json(encoded(value)) or isinstance(value, int)  # a double of an integer beyond 2^53
    jsonschema.Draft202012Validator(schema, format_checker=formats).validate(value)


def test_the_quick_check_knows_the_usual_schemas() -> None:
    conforms = jsonschema.FormatChecker().conforms
    for output in (BILL, SAME):
        assert quick_validator(output.schema, conforms)
