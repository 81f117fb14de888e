"""An answer as an object, made from a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
from pydantic import TypeAdapter

from airflow_batches.tables.answer_columns import ANSWER, OUTCOME, SUCCEEDED

ANSWER_NAMES: Final = b"airflow_batches.answer"
"""Metadata of a table of answers: the names of the columns that hold the answer itself, as JSON."""

Parse = Callable[[Any], Any]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One row or request, and its answer.

    :param row: the kept columns of the row; of result lines `custom_id`.
    :param value: a text, or an object of the output type; None if there is no answer.
    :param status: `succeeded`, or why there is no answer (`answer_columns`).
    :param error: the reason in words.

    Example::

        for answer in read_results("s3://lake/answers/"):
            print(answer.row, answer.value if answer.succeeded else answer.error)
    """

    row: Mapping[str, Any]
    value: Any
    status: str
    error: str | None
    stop_reason: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_read_input_tokens: int | None

    @property
    def succeeded(self) -> bool:
        """Whether there is an answer."""
        return self.status == SUCCEEDED


def with_answer_names(schema: pa.Schema, names: list[str]) -> pa.Schema:
    """Return the schema with metadata that say which columns hold the answer itself."""
    return schema.with_metadata({ANSWER_NAMES: msgspec.json.encode(names)})


def answer_names(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that hold the answer itself; `answer` if the schema does not say it."""
    named = (schema.metadata or {}).get(ANSWER_NAMES)
    return msgspec.json.decode(named, type=list[str]) if named else [ANSWER]


def answer_parser(output_type: Any) -> Parse:
    """Return a function that makes an object of the output type from plain values.

    :param output_type: a type; for a JSON schema, or None, the values stay as they are.
    """
    if output_type is None or isinstance(output_type, Mapping | str):
        return lambda value: value
    adapter: TypeAdapter[Any] = TypeAdapter(output_type)
    # Through JSON, because a strict type takes a date or an enumeration from text only there.
    return lambda value: adapter.validate_json(msgspec.json.encode(value), by_alias=True, by_name=True)


def answers_in(rows: pa.RecordBatch, parse: Parse) -> Iterator[Answer]:
    """Yield the answers of a table's rows."""
    names = answer_names(rows.schema)
    outcome = OUTCOME.names
    kept = rows.select([name for name in rows.schema.names if name not in {*names, *outcome}])
    values = rows[ANSWER].to_pylist() if names == [ANSWER] else rows.select(names).to_pylist()
    ends = zip(*(rows[name].to_pylist() for name in outcome), strict=True)
    for row, value, end in zip(_rows(kept), values, ends, strict=True):
        fields = dict(zip((name.removeprefix("_") for name in outcome), end, strict=True))
        yield Answer(row=row, value=parse(value) if end[0] == SUCCEEDED else None, **fields)


def _rows(kept: pa.RecordBatch) -> list[dict[str, Any]]:
    return kept.to_pylist() if kept.num_columns else [{} for _ in range(kept.num_rows)]
