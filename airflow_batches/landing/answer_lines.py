"""Decode result lines with their answers (msgspec). Pure.

Rules:
- msgspec decodes all lines at once. If it refuses one, or a line may hold more or less than one result, each line is
  decoded alone, and those that msgspec refuses by Python's `json`. Both give the same values.
- A value of another type than expected is None. Half a surrogate pair, which JSON allows, becomes `?`; bytes that are
  not UTF-8 become U+FFFD. Integers beyond 64 bits are None.
- A line that Python's `json` refuses too has its id and its type, if `lines.decode` finds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from airflow_batches.api.errors import DecodeError
from airflow_batches.landing.lines import decode

USAGE: Final = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
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

    @property
    def reason(self) -> tuple[str | None, str | None]:
        """The type and message of an error, which is nested (as recorded live) or flat."""
        if self.error is None:
            return None, None
        body = _object(self.error.get("error")) or self.error
        return _string(body.get("type")), _string(body.get("message"))


class AnswerLine(msgspec.Struct, gc=False):
    """One line of the results, with its answer.

    `lines.ResultLine` leaves the text out, and decodes what a count needs.
    """

    custom_id: str
    result: AnswerResult


_decoder: Final = msgspec.json.Decoder(AnswerLine)
# A text that is not UTF-8 raises UnicodeDecodeError, which is a ValueError.
_REFUSALS: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def decode_answers(lines: Sequence[bytes]) -> list[AnswerLine]:
    """Decode result lines, one answer for each, in order.

    :param lines: each holds one result.
    :raises DecodeError: a line is not exactly one result.
    """
    apart = all(line[:1] == b"{" and line[-1:] == b"}" for line in lines)
    together = decode_together(b"\n".join(lines), len(lines)) if apart else None
    return [_decode_alone(line) for line in lines] if together is None else together


def decode_together(lines: bytes, count: int) -> list[AnswerLine] | None:
    """Decode all lines at once; None if one of them must be decoded alone.

    Between `}` and `{` a newline separates two results, because JSON has a comma there, and no newline in a text. So
    as many results as lines are one result for each line.

    :param lines: each but the last ends with `}` and a newline, and each but the first begins with `{`.
    :param count: how many lines there are.
    """
    try:
        decoded = _decoder.decode_lines(lines)
    except _REFUSALS:
        return None
    return decoded if len(decoded) == count else None


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


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str | None:
    """Return a text that UTF-8 can hold."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_INTEGER
    return value if fits else None
