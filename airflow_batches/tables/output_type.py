"""What an answer must look like: a Python type or a JSON schema, and the columns that it becomes.

A type takes four steps, a file each; every step refuses what it cannot keep, before anything is sent:

    type_schemas    the type's JSON schemas, made by pydantic; a JSON schema is taken as it is
    closed_schema   one form of it, after `schema_limits` has looked at its references
    sent_schema     what the API takes of it goes out as `output_config.format`, the rest into the descriptions
    arrow_types     the columns (`arrow_columns`); the table of types is there

Answers come back as text. `answer_check` checks them against the whole type with its constraints; `casing` corrects the
capitals of enums, which the API does not promise. Fences of Markdown stay: structured outputs are JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple, Self

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
from pydantic_core import to_json

from airflow_batches.tables.answer_check import AnswerCheck, InvalidAnswer, SchemaCheck, TypeCheck, decoded
from airflow_batches.tables.arrow_columns import UNFIT, ArrowColumn
from airflow_batches.tables.arrow_types import column_of
from airflow_batches.tables.casing import with_cases_of
from airflow_batches.tables.closed_schema import closed
from airflow_batches.tables.constraints import shortened
from airflow_batches.tables.errors import OutputTypeError
from airflow_batches.tables.schema_limits import counts, references, shapes
from airflow_batches.tables.sent_schema import sendable
from airflow_batches.tables.subschemas import Schema
from airflow_batches.tables.type_schemas import adapter_of, schemas_of

NO_TEXT: Final = "the answer has no text"
STOPPED: Final[Mapping[str, str]] = {
    "max_tokens": "cut off at max_tokens; raise it",
    "model_context_window_exceeded": "cut off at the end of the model's context window",
    "refusal": "the model refused to answer",
    "stop_sequence": "cut off at a stop sequence",
}
"""Stop reasons with which an answer may not match its schema (docs, "Invalid outputs" and "Stop reasons")."""
CUT: Final = "EOF while parsing"
"""How pydantic's JSON parser names the end of a text within a value."""


class ReadAnswers(NamedTuple):
    """Why answers are invalid (None: an answer is valid), and the column of their values."""

    reasons: list[str | None]
    array: pa.Array


class OutputType:
    """The type of a job's answers.

    Make one with `of`. `schema` is what is sent. `answer` has the constraints as well that the API does not take, so
    that a process without the Python type can make the output type again.

    :param name: the type, for people.
    :param answer: the closed schema that answers must match.
    :param check: reads answers.
    :param column: makes columns of their values.

    Example::

        class Label(BaseModel):
            topic: Literal["bill", "delivery", "other"]
            urgency: int = Field(ge=1, le=5)

        output = OutputType.of(Label)
        print(output.check(['{"topic": "bill", "urgency": 9}']))
    """

    def __init__(self, name: str, answer: Schema, check: AnswerCheck, column: ArrowColumn) -> None:
        self.name = name
        self.schema: Mapping[str, Any] = sendable(answer)
        self.answer = answer
        self._check = check
        self._column = column

    @classmethod
    def of(cls, given: Any) -> Self:
        """Return the output type of a Python type or of a JSON schema.

        :param given: a pydantic model, a dataclass, a TypedDict, another type that pydantic knows (`list[Item]`, an
            enum, `int`), a JSON schema as a mapping or as JSON; or an output type, which is returned.
        :raises OutputTypeError: the API does not take its schema, or a member has no column.
        """
        if isinstance(given, cls):
            return given
        try:
            return cls._of_schema(given) if isinstance(given, Mapping | str) else cls._of_type(given)
        except RecursionError as exc:
            raise OutputTypeError(_name(given), ["it nests too deeply; flatten it"]) from exc

    @classmethod
    def _of_schema(cls, given: Mapping[str, Any] | str) -> Self:
        schema, name = _json_schema(given), "of a JSON schema"
        answer = _closed(schema, name)
        return cls(name, answer, SchemaCheck(answer), column_of(answer, name))

    @classmethod
    def _of_type(cls, given: Any) -> Self:
        name = _name(given)
        adapter = adapter_of(given, name)
        schemas = schemas_of(adapter, name)
        answer = _closed(schemas["answer"], name)
        return cls(name, answer, TypeCheck(adapter), column_of(_referring(schemas["value"], name), name))

    def __repr__(self) -> str:
        return f"OutputType({self.name}: {self.arrow_type})"

    @property
    def arrow_type(self) -> pa.DataType:
        """The type of the column: a struct for objects."""
        return self._column.type

    def format(self) -> dict[str, Any]:
        """Return what goes into a request as `output_config.format`."""
        return {"type": "json_schema", "schema": dict(self.schema)}

    def check(self, texts: Sequence[str | None], stop_reasons: Sequence[str | None] | None = None) -> list[str | None]:
        """Return why answers are invalid.

        :param texts: the texts of the answers; None: an answer has no text.
        :param stop_reasons: why the model stopped, for each answer; the default is not to know.
        :return: for each answer None if it is valid, else the reason: the member and what is wrong, in one line.
        """
        return self.read(texts, stop_reasons).reasons

    def columns(self, texts: Sequence[str | None]) -> pa.StructArray | pa.Array:
        """Return the values of answers as an array of `arrow_type`; an invalid answer is null."""
        return self.read(texts).array

    def read(self, texts: Sequence[str | None], stop_reasons: Sequence[str | None] | None = None) -> ReadAnswers:
        """Return both what `check` and what `columns` returns, for the time of one of them."""
        reasons, array = self._read(texts)
        stopped = stop_reasons if stop_reasons is not None else repeat(None, len(texts))
        return ReadAnswers([_explained(*each) for each in zip(reasons, stopped, strict=True)], array)

    def _read(self, texts: Sequence[str | None]) -> ReadAnswers:
        values: list[Any] = []
        reasons: list[str | None] = []
        for text in texts:
            try:
                values.append(self._value(text))
                reasons.append(None)
            except InvalidAnswer as exc:
                values.append(None)
                reasons.append(str(exc))
        try:
            return ReadAnswers(reasons, self._column.array(values))
        except UNFIT:
            return self._fitting(values, reasons)

    def _fitting(self, values: list[Any], reasons: list[str | None]) -> ReadAnswers:
        """Drop the values that do not fit the column, one by one, because Arrow does not say which."""
        misfits = [None if value is None else self._column.misfit(value) for value in values]
        kept = [None if misfit else value for value, misfit in zip(values, misfits, strict=True)]
        why = [misfit or reason for reason, misfit in zip(reasons, misfits, strict=True)]
        return ReadAnswers(why, self._column.array(kept))

    def _value(self, text: str | None) -> Any:
        if text is None:
            raise InvalidAnswer(NO_TEXT)
        try:
            return self._check.read(text)
        except InvalidAnswer:
            corrected = self._corrected(text)
            if corrected is None:
                raise
            return self._check.read(corrected)

    def _corrected(self, text: str) -> str | None:
        """Return the answer with the capitals of the schema's enums, or None if they are the same."""
        try:
            value = decoded(text)
        except InvalidAnswer:
            return None  # there is nothing to correct
        corrected = with_cases_of(self.answer, value)
        return None if corrected == value else to_json(corrected).decode()


def _closed(schema: Schema, name: str) -> dict[str, Any]:
    """Return the closed schema of answers.

    :raises OutputTypeError: the API does not take it.
    """
    answer = _referring(schema, name)
    if problems := [*shapes(answer), *counts(sendable(answer))]:
        raise OutputTypeError(name, problems)
    return answer


def _referring(schema: Schema, name: str) -> dict[str, Any]:
    """Return the closed schema, after a look at its references."""
    if problems := references(schema):
        raise OutputTypeError(name, problems)
    return closed(schema, name)


def _json_schema(given: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return a copy of a JSON schema that consists of JSON only."""
    try:
        schema = msgspec.json.decode(given if isinstance(given, str) else msgspec.json.encode(dict(given)))
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as exc:
        place = "/".join(map(str, ("#", *exc.absolute_path)))
        raise OutputTypeError("of a JSON schema", [f"{place}: no JSON schema: {shortened(exc.message)}"]) from exc
    except (msgspec.MsgspecError, TypeError) as exc:
        raise OutputTypeError(_name(given), [f"it is no JSON: {shortened(str(exc))}"]) from exc
    if not isinstance(schema, dict):
        raise OutputTypeError(_name(given), ["it is no JSON schema; give an object"])
    return schema


def _name(given: Any) -> str:
    return given.__qualname__ if isinstance(given, type) else shortened(repr(given))


def _explained(reason: str | None, stop_reason: str | None) -> str | None:
    if reason is None:
        return None
    if stop_reason is not None and stop_reason in STOPPED:
        return f"{STOPPED[stop_reason]} ({reason})"
    return f"the answer ends early, as when max_tokens cuts it ({reason})" if CUT in reason else reason
