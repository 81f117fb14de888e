"""A results response as typed items, one line in memory at a time.

| what comes                                    | the reader gets                                    |
|-----------------------------------------------|----------------------------------------------------|
| the connection breaks                         | `StreamInterrupted`, after the whole lines before  |
| a last line that is no result: torn           | `StreamInterrupted`                                |
| a line that is no result, and more after it   | `DecodeError`, with the line's number              |
| a read after the response has been closed     | `InvalidRequest`: it would look like the end       |

Nothing is fetched again in here: a reader would lose or double lines unseen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Self

from pydantic import ValidationError
from urllib3.exceptions import HTTPError

from airflow_batches.api.errors import (
    DecodeError,
    InvalidRequest,
    StreamInterrupted,
    TransportError,
    error_from_exception,
)
from airflow_batches.api.jsonl import split_lines
from airflow_batches.api.models import ResultItem

if TYPE_CHECKING:
    from collections.abc import Generator

    import requests

ARRIVAL: Final = 65_536
"""Bytes asked of the socket at once; it gives what has arrived, so that no line waits for the next."""


class ResultStream:
    """Iterates over the items of a results response, once. `hide` takes out of a line what no error may quote."""

    def __init__(self, response: requests.Response, hide: Callable[[bytes], bytes] = bytes) -> None:
        self._items = _items(_blocks(response), hide)
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ResultItem:
        if self._closed:
            raise InvalidRequest("the results were read after their `with` block had been left")
        return next(self._items)

    def close(self) -> None:
        """From here on, a read is an error."""
        self._closed = True
        self._items.close()


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """The body as it arrives, decompressed where the server compressed it."""
    try:
        while arrived := response.raw.read1(ARRIVAL, decode_content=True):
            yield arrived
    except (HTTPError, OSError) as exc:
        failure = error_from_exception(exc, body_was_sent=True)
    else:
        return
    # Not where it was caught: the chain would quote the answer as it came.
    raise failure


def _items(blocks: Iterable[bytes], hide: Callable[[bytes], bytes]) -> Generator[ResultItem, None, None]:
    lines = split_lines(blocks)
    lines_read = 0
    try:
        for line in lines:
            yield _item(line, lines_read + 1, hide)
            lines_read += 1
    except (TransportError, _NoResult) as exc:
        if isinstance(exc, TransportError) or _is_last(lines):
            raise StreamInterrupted(f"the results broke off ({exc})", lines_read=lines_read) from exc
        raise DecodeError(str(exc)) from exc


class _NoResult(Exception):
    """A line that is no result; whether it was torn depends on what follows."""


def _item(line: bytes, number: int, hide: Callable[[bytes], bytes]) -> ResultItem:
    try:
        return _parsed(line)
    except (ValueError, RecursionError):
        start = hide(line)[:200].decode("utf-8", "replace")
    # Not where it was caught: the chain would quote the line as it came.
    raise _NoResult(f"results line {number:,} is not a result: {start!r}")


def _parsed(line: bytes) -> ResultItem:
    try:
        return ResultItem.model_validate_json(line)
    except ValidationError:
        # Slower, and reads what pydantic's parser refuses: one half of a surrogate pair, brackets by the hundred.
        return ResultItem.model_validate(json.loads(line))


def _is_last(lines: Iterator[bytes]) -> bool:
    try:
        return next(lines, None) is None
    except TransportError:
        return True
