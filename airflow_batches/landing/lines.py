"""Decode a result line only as far as needed (msgspec): its id, how it ended, its usage.

Rules: a line with an id and a result type is a result. If the rest has an unknown shape (the API adds fields
and types without a new version), the line counts and its usage is unknown.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec


class CacheWrites(msgspec.Struct, gc=False):
    """Tokens written to the cache, by time to live."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class LineUsage(msgspec.Struct, gc=False):
    """Tokens of one answer; `input_tokens` excludes those written to or read from the cache."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheWrites | None = None
    server_tool_use: dict[str, int | None] | None = None
    inference_geo: str | None = None

    @property
    def other_cache_writes(self) -> int:
        """Tokens written to the cache with a time to live that this version does not know."""
        if self.cache_creation is None or self.cache_creation_input_tokens is None:
            return 0
        writes = self.cache_creation
        minutes, hour = writes.ephemeral_5m_input_tokens or 0, writes.ephemeral_1h_input_tokens or 0
        return self.cache_creation_input_tokens - minutes - hour

    @property
    def prompt_tokens(self) -> int:
        """All tokens that the model read, from the cache or not."""
        cached = (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)
        return (self.input_tokens or 0) + cached


class StopDetails(msgspec.Struct, gc=False):
    """Why an answer was refused."""

    category: str | None = None


class LineMessage(msgspec.Struct, gc=False):
    """The answer, without its text."""

    model: str | None = None
    usage: LineUsage | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class LineError(msgspec.Struct, gc=False):
    """The API's error body: nested (as recorded live) or flat (as described earlier)."""

    type: str | None = None
    error: LineError | None = None
    message: Any = None


class LineResult(msgspec.Struct, gc=False):
    """How the request ended."""

    type: str
    message: LineMessage | None = None
    error: LineError | None = None

    @property
    def error_type(self) -> str:
        """The error's type, such as `invalid_request_error`."""
        nested = self.error.error if self.error else None
        return (nested and nested.type) or (self.error and self.error.type) or "unknown_error"

    @property
    def error_message(self) -> str | None:
        """The API's message about the error, None if there is none."""
        nested = self.error.error if self.error else None
        message = (nested and nested.message) or (self.error and self.error.message)
        return message if isinstance(message, str) and message else None


class ResultLine(msgspec.Struct, gc=False):
    """One line of the results."""

    custom_id: str
    result: LineResult


_decoder: Final = msgspec.json.Decoder(ResultLine)
_json: Final = json.JSONDecoder()
_BLANKS: Final = re.compile(r"\s+")
# A name that is not UTF-8 raises UnicodeDecodeError, thousands of nested brackets raise RecursionError.
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def decode_block(data: bytes) -> list[ResultLine] | None:
    """Decode whole lines at once, about 1 µs for a line of 2 KB.

    It returns None if one of them must be decoded by itself.

    Newlines are not checked: two results on one line give two results.
    """
    try:
        return _decoder.decode_lines(data)
    except _UNREADABLE:
        return None


def results_in(line: bytes) -> list[tuple[bytes, ResultLine | None]]:
    """Return a line with its result, or its parts with theirs if they share the line.

    A blank line gives nothing.
    """
    result = decode(line)
    return [(part, decode(part)) for part in _apart(line)] if result is None else [(line, result)]


def _apart(line: bytes) -> list[bytes]:
    text = line.decode(errors="surrogateescape")
    parts, start = [], _after_blanks(text, 0)
    try:
        while start < len(text):
            end = _json.raw_decode(text, start)[1]
            parts.append(text[start:end].encode(errors="surrogateescape"))
            start = _after_blanks(text, end)
    except (ValueError, RecursionError):
        return [line]
    return parts


def _after_blanks(text: str, start: int) -> int:
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def decode(line: bytes) -> ResultLine | None:
    """Decode one line; None if it is not a result.

    A torn line never is one, because its object does not end.
    """
    try:
        return _decoder.decode(line)
    except _UNREADABLE:
        return _decode_leniently(line)


def _decode_leniently(line: bytes) -> ResultLine | None:
    """Decode only the id and the result type.

    The rest may have an unknown shape, or be what msgspec refuses, such as half a surrogate pair or `NaN`.
    """
    try:
        value = json.loads(line)
        custom_id, kind = value["custom_id"], value["result"]["type"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    if not isinstance(custom_id, str) or not isinstance(kind, str):
        return None
    return ResultLine(_utf8(custom_id), LineResult(_utf8(kind)))


def _utf8(text: str) -> str:
    return text.encode(errors="replace").decode()
