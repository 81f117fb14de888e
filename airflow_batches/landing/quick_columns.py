"""Decode a block of result lines into columns with Arrow's JSON reader, which uses all cores and no Python objects.

Rule: a block gives the columns of `columns.result_columns`. What the reader refuses, or reads in another way, is left
to that function: unknown shapes, repeated members, broken UTF-8, half a surrogate pair, integers beyond 64 bits, two
results on one line, a result on two lines, a blank line, and a line that is not a result.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.json as pa_json  # type: ignore[import-untyped]

from airflow_batches.landing.answer_lines import TEXT_BLOCK, USAGE
from airflow_batches.landing.blocks import count_results
from airflow_batches.landing.columns import COLUMNS, result_columns

CHUNK_BYTES: Final = 3 * 2**19
"""Bytes that one core parses at once. Chosen: a landing's block (`blocks.BLOCK_BYTES` and a quarter) is one chunk, so
that its columns need not be joined."""
MOST_CHUNKS: Final = 4
"""Chunks of a block. Chosen: blocks are longer only if their lines are, and a line of many chunks is not read."""
_TEXT: Final = pa.string()
_ERROR: Final = pa.struct([("type", _TEXT), ("message", _TEXT)])
_MESSAGE: Final = pa.struct(
    [
        ("content", pa.list_(pa.struct([("type", _TEXT), ("text", _TEXT)]))),
        ("stop_reason", _TEXT),
        ("model", _TEXT),
        ("usage", pa.struct([(name, pa.int64()) for name in USAGE])),
    ]
)
_RESULT: Final = pa.struct([("type", _TEXT), ("message", _MESSAGE), ("error", pa.struct([*_ERROR, ("error", _ERROR)]))])
_PARSE: Final = pa_json.ParseOptions(
    explicit_schema=pa.schema([("custom_id", _TEXT), ("result", _RESULT)]), unexpected_field_behavior="ignore"
)


def block_columns(block: bytes) -> pa.RecordBatch:
    """Decode whole lines into columns; blank lines are skipped.

    :param block: the lines, each with a newline at its end.
    :return: a record batch of `COLUMNS` with one row for each line, in order.
    :raises DecodeError: a line is not exactly one result.
    """
    return _read(block) or result_columns(lines_of(block))


def lines_of(block: bytes) -> list[bytes]:
    """Return the lines that are not blank, without newlines."""
    return [line for line in block.split(b"\n") if line and not line.isspace()]


def _read(block: bytes) -> pa.RecordBatch | None:
    """Decode with Arrow's reader; None if the block must be decoded line by line."""
    chunks = min(MOST_CHUNKS, -(-len(block) // CHUNK_BYTES))
    options = pa_json.ReadOptions(block_size=len(block) // max(1, chunks) + 1)
    try:
        table = pa_json.read_json(pa.BufferReader(block), options, _PARSE).combine_chunks()
        if table.num_rows != count_results(block):
            return None
        (batch,) = table.to_batches()
        columns = _columns(batch["custom_id"], batch["result"])
        if columns is not None:
            columns.validate(full=True)  # the reader does not look whether a text is UTF-8
    except pa.ArrowInvalid:
        return None
    return columns


def _columns(custom_ids: pa.StringArray, results: pa.StructArray) -> pa.RecordBatch | None:
    """Return the columns; None if `result_columns` might make others."""
    kinds, message, error = (pc.struct_field(results, name) for name in ("type", "message", "error"))
    usage = pc.struct_field(message, "usage")
    tokens = [pc.struct_field(usage, name) for name in USAGE]
    errors = _errors(error, pc.struct_field(error, "error"))
    if errors is None or custom_ids.null_count or kinds.null_count or any(map(_has_negative, tokens)):
        return None
    text = _texts(pc.struct_field(message, "content"))
    stop_reason, model = (pc.struct_field(message, name) for name in ("stop_reason", "model"))
    return pa.RecordBatch.from_arrays([custom_ids, kinds, text, stop_reason, model, *tokens, *errors], schema=COLUMNS)


def _errors(flat: pa.StructArray, nested: pa.StructArray) -> list[pa.StringArray] | None:
    """Return an error's type and message, from a nested body (as recorded live) or a flat one; None: from which one?"""
    there, texts = nested.is_valid(), [pc.struct_field(nested, name) for name in ("type", "message")]
    empty = pc.and_(there, pc.and_(texts[0].is_null(), texts[1].is_null()))
    if pc.any(empty).as_py():
        return None
    return [
        pc.if_else(there, text, pc.struct_field(flat, name))
        for text, name in zip(texts, ("type", "message"), strict=True)
    ]


def _has_negative(tokens: pa.Int64Array) -> bool:
    return bool(pc.any(pc.less(tokens, 0)).as_py())


def _texts(contents: pa.ListArray) -> pa.StringArray:
    """Join the text blocks of each content; null without a content.

    The texts of one content are neighbours in their buffer, so that new offsets join them and nothing is copied.
    """
    blocks = contents.values
    texts = pc.struct_field(blocks, "text")
    is_text = pc.fill_null(pc.equal(pc.struct_field(blocks, "type"), TEXT_BLOCK), False)
    if pc.any(pc.and_not(texts.is_valid(), is_text)).as_py():  # a block that is no text block has a text
        texts = pc.if_else(is_text, texts, "")
    _, offsets, data = pc.fill_null(texts, "").buffers()
    joined = pa.Array.from_buffers(pa.int32(), len(texts) + 1, [None, offsets]).take(contents.offsets)
    return pa.Array.from_buffers(_TEXT, len(contents), [contents.buffers()[0], joined.buffers()[1], data])
