"""Read stored results in record batches of one schema.

| object  | holds                       | types of the columns                                                         |
|---------|-----------------------------|------------------------------------------------------------------------------|
| Parquet | a part, or landed lines     | as stored; of landed lines: `answer_columns`                                 |
| JSONL   | landed lines                | `answer_columns`                                                             |
| JSONL   | a part                      | what all rows have in common, for which it is read twice; the answer's: the  |
|         |                             | output type's                                                                |
| CSV     | a part                      | text; token counts are integers                                              |

Each batch has metadata that say which columns are the answer's (`answer.answer_names`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pa_csv  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.landing.blocks import whole_lines
from airflow_batches.landing.columns import COLUMNS, result_columns
from airflow_batches.landing.errors import store_errors
from airflow_batches.tables.answer import answer_names, with_answer_names
from airflow_batches.tables.answer_columns import (
    OUTCOME,
    STATUS,
    SUCCEEDED,
    answer_columns,
    answer_schema,
    value_schema,
)
from airflow_batches.tables.stored import StoredObject

if TYPE_CHECKING:
    from airflow_batches.tables.output_type import OutputType

BATCH_ROWS: Final = 2**14
"""Rows of one batch of a Parquet object. Chosen: some MB of rows of the usual size."""
BLOCK_BYTES: Final = 4 * 2**20
"""Bytes of JSONL in one batch. Chosen: some 7,000 lines of short answers."""
CUSTOM_ID: Final = pa.field("custom_id", pa.string(), nullable=False)


def stored_batches(objects: Sequence[StoredObject], output: OutputType | None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all objects; an empty batch if there are none.

    :param objects: the objects, all of the same kind.
    :param output: the type of the answers; None: text, or as stored.
    :raises InvalidRequest: the stored answers are of another type.
    :raises LandingError: the store failed.
    """
    empty = True
    for batch in _batches(objects, output):
        _require_type(batch.schema, output)
        empty = False
        yield batch
    if empty:
        yield pa.RecordBatch.from_pylist([], schema=_line_schema(output))


def _batches(objects: Sequence[StoredObject], output: OutputType | None) -> Iterator[pa.RecordBatch]:
    if objects and objects[0].format.startswith("jsonl") and not _holds_lines(objects[0]):
        yield from _json_batches(objects, output)
        return
    for each in objects:
        if each.format == "parquet":
            yield from _parquet_batches(each, output)
        elif each.format == "csv":
            yield from _csv_batches(each, output)
        else:
            yield from (_line_batch(result_columns(lines), output) for lines in _lines(each))


def _require_type(schema: pa.Schema, output: OutputType | None) -> None:
    if output is not None and answer_names(schema) != value_schema(output).names:
        raise InvalidRequest(
            f"output_type has the columns {', '.join(value_schema(output).names)}, and the stored answers have "
            f"{', '.join(answer_names(schema))}. Give the output_type of the job, or none"
        )


def _lines(stored: StoredObject) -> Iterator[list[bytes]]:
    for block in whole_lines(stored.blocks(), BLOCK_BYTES):
        if lines := [line for line in block.split(b"\n") if line and not line.isspace()]:
            yield lines


def _holds_lines(stored: StoredObject) -> bool:
    """Whether the first object of JSONL is a result line; nothing at all counts as result lines."""
    first = next(_lines(stored), [b'{"result":null}'])[0]
    return "result" in msgspec.json.decode(first, type=dict[str, msgspec.Raw])


def _line_schema(output: OutputType | None) -> pa.Schema:
    schema = pa.schema([CUSTOM_ID, *answer_schema(output)])
    return with_answer_names(schema, value_schema(output).names)


def _line_batch(results: pa.RecordBatch, output: OutputType | None) -> pa.RecordBatch:
    answers = answer_columns(results, output)
    return pa.RecordBatch.from_arrays([results["custom_id"], *answers.columns], schema=_line_schema(output))


def _parquet_batches(stored: StoredObject, output: OutputType | None) -> Iterator[pa.RecordBatch]:
    with stored.open() as file, store_errors("reading", stored.location.uri):
        parquet = pq.ParquetFile(file)
        are_lines = {*COLUMNS.names} <= {*parquet.schema_arrow.names}
        columns = COLUMNS.names if are_lines else None
        groups = range(parquet.num_row_groups)  # one by one: pyarrow would keep what it has read of the others
        for group in groups:
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns):
                yield _line_batch(batch, output) if are_lines else batch
        if not groups:
            batch = pa.RecordBatch.from_pylist([], schema=parquet.schema_arrow)
            yield _line_batch(batch.select(COLUMNS.names), output) if are_lines else batch


def _csv_batches(stored: StoredObject, output: OutputType | None) -> Iterator[pa.RecordBatch]:
    if output is not None:
        raise InvalidRequest(
            f"{stored.location.uri} is CSV, which holds texts only, so its answers cannot become objects of a type. "
            "Read it without output_type, or run the job with the format parquet or jsonl"
        )
    with stored.open() as head:
        names = pa_csv.open_csv(head).schema.names
    types = {name: OUTCOME.field(name).type if name in OUTCOME.names else pa.string() for name in names}
    convert = pa_csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    with stored.open() as file:
        for batch in pa_csv.open_csv(file, convert_options=convert, parse_options=parse):
            yield batch.replace_schema_metadata(_named(batch.schema, output).metadata)


def _json_batches(objects: Sequence[StoredObject], output: OutputType | None) -> Iterator[pa.RecordBatch]:
    inferred = pa.unify_schemas(
        [_json_table(lines).schema for each in objects for lines in _lines(each)], promote_options="permissive"
    )
    typed = {field.name: field for field in (OUTCOME if output is None else answer_schema(output))}
    schema = _named(pa.schema([typed.get(field.name, field) for field in inferred]), output)
    for each in objects:
        for lines in _lines(each):
            yield _json_batch(lines, schema, output)


def _json_table(lines: Sequence[bytes]) -> pa.Table:
    return pa.Table.from_pylist(msgspec.json.decode(b"[" + b",".join(lines) + b"]"))


def _json_batch(lines: Sequence[bytes], schema: pa.Schema, output: OutputType | None) -> pa.RecordBatch:
    rows: list[dict[str, Any]] = msgspec.json.decode(b"[" + b",".join(lines) + b"]")
    if output is None:
        return pa.RecordBatch.from_pylist(rows, schema=schema)
    names = value_schema(output).names
    texts = [_json_answer(row, names) if row[STATUS] == SUCCEEDED else None for row in rows]
    answers = output.columns(texts)
    typed = dict(zip(names, answers.flatten() if pa.types.is_struct(answers.type) else [answers], strict=True))
    columns = [
        typed[field.name] if field.name in typed else pa.array([row.get(field.name) for row in rows], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _json_answer(row: dict[str, Any], names: Sequence[str]) -> str:
    value = row[names[0]] if [*names] == ["answer"] else {name: row[name] for name in names}
    return msgspec.json.encode(value).decode()


def _named(schema: pa.Schema, output: OutputType | None) -> pa.Schema:
    return with_answer_names(schema, value_schema(output).names)
