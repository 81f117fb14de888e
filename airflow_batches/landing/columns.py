"""Result lines as Arrow columns (needs `pyarrow`, extra `parquet`).

| column                                                                          | holds                           |
|---------------------------------------------------------------------------------|---------------------------------|
| custom_id, type                                                                 | the request, how it ended       |
| text, stop_reason, model                                                        | the answer, text blocks joined  |
| input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens | its usage                     |
| error_type, error_message                                                       | why it failed                   |

Rules: one row for each line, in order. A value that a line lacks, or that has another type, is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.landing.answer_lines import USAGE, AnswerLine, AnswerMessage, AnswerUsage, decode_answers

COLUMNS: Final = pa.schema(
    [
        pa.field("custom_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("text", "stop_reason", "model")),
        *(pa.field(name, pa.int64()) for name in USAGE),
        *(pa.field(name, pa.string()) for name in ("error_type", "error_message")),
    ]
)
_NO_MESSAGE: Final = AnswerMessage()
_NO_USAGE: Final = AnswerUsage()


def result_columns(lines: Sequence[bytes]) -> pa.RecordBatch:
    """Decode result lines into columns.

    :param lines: each holds one result, with or without a newline at its end.
    :return: a record batch of `COLUMNS` with one row for each line, in order.
    :raises DecodeError: a line is not exactly one result.
    """
    return columns_of(decode_answers(lines))


def columns_of(lines: Sequence[AnswerLine]) -> pa.RecordBatch:
    """Return decoded lines as columns."""
    results = [line.result for line in lines]
    messages = [result.message or _NO_MESSAGE for result in results]
    usages = [message.usage or _NO_USAGE for message in messages]
    errors = [result.reason for result in results]
    columns: list[list[str | None] | list[str] | list[int | None]] = [
        [line.custom_id for line in lines],
        [result.type for result in results],
        [message.text for message in messages],
        [message.stop_reason for message in messages],
        [message.model for message in messages],
        [usage.input_tokens for usage in usages],
        [usage.output_tokens for usage in usages],
        [usage.cache_creation_input_tokens for usage in usages],
        [usage.cache_read_input_tokens for usage in usages],
        [kind for kind, _ in errors],
        [message for _, message in errors],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, COLUMNS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=COLUMNS)
