"""Read a results response as typed items, one line in memory at a time.

| event                                         | the reader gets                                    |
|-----------------------------------------------|----------------------------------------------------|
| the connection breaks                         | the complete lines, then `StreamInterrupted`       |
| the last line is not a result: it was cut     | `StreamInterrupted`                                |
| a line before the last one is not a result    | `DecodeError`, with the line's number              |
| a read after the response was closed          | `InvalidRequest`: an end would look like success   |

Nothing here fetches again: the reader could miss or repeat lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Self

from pydantic import ValidationError
from urllib3.exceptions import HTTPError

from airflow_batches.api.conversion import error_from_exception
from airflow_batches.api.errors import DecodeError, InvalidRequest, StreamInterrupted, TransportError
from airflow_batches.api.jsonl import split_lines
from airflow_batches.api.result_models import ResultItem

if TYPE_CHECKING:
    from collections.abc import Generator

    import requests

ARRIVAL: Final = 65_536
"""Bytes of one read from the socket at most. Chosen: a read returns what has arrived, so no line waits for the next."""


class ResultStream:
    """Iterates over the items of a results response, once.

    :param response: the response, body unread.
    :param hide: removes secrets from a line that an error quotes.

    Example::

        with client.open_results(batch_id) as response:
            for item in ResultStream(response):
                print(item.custom_id)
    """

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
        """Stop; later reads raise `InvalidRequest`."""
        self._closed = True
        self._items.close()


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives, decompressed if the server compressed it."""
    try:
        while arrived := response.raw.read1(ARRIVAL, decode_content=True):
            yield arrived
    except (HTTPError, OSError) as exc:
        failure = error_from_exception(exc, body_was_sent=True)
    else:
        return
    # Raised outside the except block: the exception chain would quote the raw answer.
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
    """Raised for a line that is not a result. If it is the last one, the stream was cut."""


def _item(line: bytes, number: int, hide: Callable[[bytes], bytes]) -> ResultItem:
    try:
        return _parsed(line)
    except (ValueError, RecursionError):
        start = hide(line)[:200].decode("utf-8", "replace")
    # Raised outside the except block: the exception chain would quote the raw line.
    raise _NoResult(f"results line {number:,} is not a result: {start!r}")


def _parsed(line: bytes) -> ResultItem:
    try:
        return ResultItem.model_validate_json(line)
    except ValidationError:
        # Slower, but reads what pydantic's parser refuses: half a surrogate pair, and deep nesting.
        return ResultItem.model_validate(json.loads(line))


def _is_last(lines: Iterator[bytes]) -> bool:
    try:
        return next(lines, None) is None
    except TransportError:
        return True
