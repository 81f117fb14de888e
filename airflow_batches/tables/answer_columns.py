"""The columns of an answer, from the columns of its result line (`landing.columns`).

| column                                | holds                                                                        |
|---------------------------------------|-------------------------------------------------------------------------------|
| `answer`, or the output type's members | the answer; null if there is none, or one that is not of the output type    |
| `_status`                             | `succeeded`, `errored`, `expired`, `canceled`, `invalid_output`, or `skipped`|
|                                       | (the row has no request); a type that this version does not know, unchanged  |
| `_error`                              | the API's error type and message, or why the answer is not of the type       |
| `_stop_reason`, `_model`,             | as in the result line                                                        |
| `_input_tokens`, `_output_tokens`,    |                                                                              |
| `_cache_creation_input_tokens`,       |                                                                              |
| `_cache_read_input_tokens`            |                                                                              |

An output type that is no object has one column, `answer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.tables.rows_object import REQUEST

if TYPE_CHECKING:
    from airflow_batches.tables.output_type import OutputType

CUSTOM_ID: Final = "_custom_id"
"""The member of a failed row that names its request."""
ANSWER: Final = "answer"
SUCCEEDED: Final = "succeeded"
INVALID_OUTPUT: Final = "invalid_output"
SKIPPED: Final = "skipped"
STATUS: Final = "_status"
ERROR: Final = "_error"
TOKENS: Final[Mapping[str, str]] = {
    f"_{name}": name
    for name in ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
}
OUTCOME: Final = pa.schema(
    [
        pa.field(STATUS, pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in (ERROR, "_stop_reason", "_model")),
        *(pa.field(name, pa.int64()) for name in TOKENS),
    ]
)


def answer_fields(output: OutputType | None, kept: pa.Schema) -> pa.Schema:
    """Return the columns of a part: the kept ones, the answer's, how the request ended.

    :param output: the type of the answers; None: text.
    :param kept: the columns kept of the rows.
    :raises InvalidRequest: two columns have the same name; call this before anything is sent.
    """
    answers = value_schema(output)
    taken = {
        **dict.fromkeys(answers.names, "the answers have a column of that name" if output is None else
                        "output_type has a member of that name"),
        **dict.fromkeys((*OUTCOME.names, REQUEST, CUSTOM_ID), "that name is reserved"),
    }  # fmt: skip
    for name in kept.names:
        if name in taken:
            raise InvalidRequest(
                f"the kept column {name!r} clashes: {taken[name]}. Rename the column, or leave it out of keep"
            )
    require_unique(kept.names, "the kept column")
    require_unique([*answers.names, *OUTCOME.names], "output_type's member")
    return pa.schema([*kept, *answers, *OUTCOME])


def require_unique(names: Sequence[str], what: str) -> None:
    """Raise `InvalidRequest` for a name that occurs twice."""
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequest(f"{what} {name!r} occurs twice, or has the name of another column. Rename it")


def value_schema(output: OutputType | None) -> pa.Schema:
    """Return the columns of the answers themselves; all of them may be null."""
    kind = pa.string() if output is None else output.arrow_type
    fields = [*kind] if pa.types.is_struct(kind) else [pa.field(ANSWER, kind)]
    return pa.schema([field.with_nullable(True) for field in fields])


def answer_schema(output: OutputType | None) -> pa.Schema:
    """Return the columns of the answers, and of how the requests ended."""
    return pa.schema([*value_schema(output), *OUTCOME])


def skipped_row(output: OutputType | None) -> pa.RecordBatch:
    """Return the answer of a row without a request."""
    schema = answer_schema(output)
    columns = [pa.nulls(1, field.type) if field.name != STATUS else pa.array([SKIPPED]) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def answer_columns(results: pa.RecordBatch, output: OutputType | None) -> pa.RecordBatch:
    """Make the columns of answers.

    :param results: the columns of result lines, as `landing.columns` makes them.
    :param output: the type of the answers; None: text.
    """
    values, reasons = _values(results, output)
    status, error = results["type"], _errors(results)
    if reasons is not None:
        invalid = reasons.is_valid()
        status = pc.if_else(invalid, INVALID_OUTPUT, status)
        error = pc.if_else(invalid, reasons, error)
    outcome = [status, error, results["stop_reason"], results["model"], *(results[name] for name in TOKENS.values())]
    return pa.RecordBatch.from_arrays([*values, *outcome], schema=answer_schema(output))


def _values(results: pa.RecordBatch, output: OutputType | None) -> tuple[list[pa.Array], pa.StringArray | None]:
    """Return the columns of the answers, and why they are not of their type (None: all are)."""
    if output is None:
        return [results["text"]], None
    answered = pc.equal(results["type"], SUCCEEDED)
    texts = pc.if_else(answered, results["text"], None).to_pylist()
    found, columns = output.read(texts, results["stop_reason"].to_pylist())
    reasons = pa.array(found, pa.string())
    values = columns.flatten() if pa.types.is_struct(columns.type) else [columns]
    return values, pc.if_else(answered, reasons, None)


def _errors(results: pa.RecordBatch) -> pa.StringArray:
    kind, message = results["error_type"], results["error_message"]
    # Not null_handling="skip": it drops the rows in which both are null.
    return pc.coalesce(pc.binary_join_element_wise(kind, message, ": "), kind, message)
