"""Result lines as Arrow columns (needs `pyarrow`, extra `parquet`).

| column                                                                          | holds                           |
|---------------------------------------------------------------------------------|---------------------------------|
| custom_id, type                                                                 | the request, how it ended       |
| text, stop_reason, model                                                        | the answer, text blocks joined  |
| input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens | its usage                     |
| error_type, error_message                                                       | why it failed                   |

Rules:
- One row for each line, in order. A value that a line lacks, or that has another type, is null.
- msgspec decodes all lines at once. If it refuses one, or a line may hold more or less than one result, each line is
  decoded alone, and those that msgspec refuses by Python's `json`. Both give the same columns.
- Half a surrogate pair, which JSON allows, becomes `?`; bytes that are not UTF-8 become U+FFFD. Integers beyond 64 bits
  are null.
- A line that Python's `json` refuses too has its id and its type, if `lines.decode` finds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from airflow_batches.api.errors import DecodeError
from airflow_batches.landing.lines import decode

USAGE: Final = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
COLUMNS: Final = pa.schema(
    [
        pa.field("custom_id", pa.string(), nullable=False),
        pa.field("type", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("text", "stop_reason", "model")),
        *(pa.field(name, pa.int64()) for name in USAGE),
        *(pa.field(name, pa.string()) for name in ("error_type", "error_message")),
    ]
)
TEXT_BLOCK: Final = "text"
_MAX_INTEGER: Final = 2**63 - 1
_Integer = Annotated[int, msgspec.Meta(ge=-_MAX_INTEGER, le=_MAX_INTEGER)]


class AnswerUsage(msgspec.Struct, gc=False):
    """Tokens of one answer, as far as there are columns for them."""

    input_tokens: _Integer | None = None
    output_tokens: _Integer | None = None
    cache_creation_input_tokens: _Integer | None = None
    cache_read_input_tokens: _Integer | None = None


class AnswerBlock(msgspec.Struct, gc=False):
    """One block of an answer's content."""

    type: str | None = None
    text: str | None = None


class AnswerMessage(msgspec.Struct, gc=False):
    """An answer with its text."""

    content: list[AnswerBlock] | None = None
    stop_reason: str | None = None
    model: str | None = None
    usage: AnswerUsage | None = None

    @property
    def text(self) -> str | None:
        """The text blocks, joined; None if there is no content."""
        if self.content is None:
            return None
        return "".join([block.text for block in self.content if block.type == TEXT_BLOCK and block.text])


class AnswerResult(msgspec.Struct, gc=False):
    """How a request ended, with its answer."""

    type: str
    message: AnswerMessage | None = None
    error: dict[str, Any] | None = None


class AnswerLine(msgspec.Struct, gc=False):
    """One line of the results, with its answer.

    `lines.ResultLine` leaves the text out, and decodes what a count needs.
    """

    custom_id: str
    result: AnswerResult


_decoder: Final = msgspec.json.Decoder(AnswerLine)
# A text that is not UTF-8 raises UnicodeDecodeError, which is a ValueError.
_REFUSALS: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_NO_MESSAGE: Final = AnswerMessage()
_NO_USAGE: Final = AnswerUsage()
_NO_ERROR: Final = (None, None)


def result_columns(lines: Sequence[bytes]) -> pa.RecordBatch:
    """Decode result lines into columns.

    :param lines: each holds one result, with or without a newline at its end.
    :return: a record batch of `COLUMNS` with one row for each line, in order.
    :raises DecodeError: a line is not exactly one result.
    """
    return _columns(_decode_together(lines) or [_decode_alone(line) for line in lines])


def _decode_together(lines: Sequence[bytes]) -> list[AnswerLine] | None:
    """Decode all lines at once; None if one of them must be decoded alone.

    Between `}` and `{` a newline separates two results, because JSON has a comma there, and no newline in a text. So
    as many results as lines are one result for each line.
    """
    if not all(line[:1] == b"{" and line[-1:] == b"}" for line in lines):
        return None
    try:
        decoded = _decoder.decode_lines(b"\n".join(lines))
    except _REFUSALS:
        return None
    return decoded if len(decoded) == len(lines) else None


def _decode_alone(line: bytes) -> AnswerLine:
    try:
        return _decoder.decode(line)
    except _REFUSALS:
        return _decode_leniently(line)


def _decode_leniently(line: bytes) -> AnswerLine:
    """Decode what msgspec refuses; only id and type if Python cannot read the rest.

    :raises DecodeError: the line is not a result.
    """
    try:
        value = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError) as exc:
        return _bare(line, exc)
    result = _object(_object(value).get("result"))
    custom_id, kind = _string(_object(value).get("custom_id")), _string(result.get("type"))
    if custom_id is None or kind is None:
        raise DecodeError("a line has no custom_id or no result type, so it is not a result")
    error = _object(result.get("error"))
    return AnswerLine(custom_id, AnswerResult(kind, _message(_object(result.get("message"))), dict(error)))


def _bare(line: bytes, cause: Exception) -> AnswerLine:
    result = decode(line)
    if result is None:
        raise DecodeError(f"a result line cannot be read: {cause}") from cause
    return AnswerLine(result.custom_id, AnswerResult(result.result.type))


def _message(message: Mapping[str, Any]) -> AnswerMessage:
    content = message.get("content")
    usage = _object(message.get("usage"))
    return AnswerMessage(
        content=[_block(_object(block)) for block in content] if isinstance(content, list) else None,
        stop_reason=_string(message.get("stop_reason")),
        model=_string(message.get("model")),
        usage=AnswerUsage(*[_integer(usage.get(name)) for name in USAGE]),
    )


def _block(block: Mapping[str, Any]) -> AnswerBlock:
    return AnswerBlock(_string(block.get("type")), _string(block.get("text")))


def _columns(lines: Sequence[AnswerLine]) -> pa.RecordBatch:
    results = [line.result for line in lines]
    messages = [result.message or _NO_MESSAGE for result in results]
    usages = [message.usage or _NO_USAGE for message in messages]
    errors = [_NO_ERROR if result.error is None else _error_columns(result.error) for result in results]
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


def _error_columns(body: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return an error's type and message, from a nested body (as recorded live) or a flat one."""
    error = _object(body.get("error")) or body
    return _string(error.get("type")), _string(error.get("message"))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str | None:
    """Return a text that UTF-8 can hold."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_INTEGER
    return value if fits else None
