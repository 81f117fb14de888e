"""Paging: `limit`, `after_id` and `before_id` of a call, and the page that they select.

Values out of range are refused in the API's style; those messages are not published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from airflow_batches.emulator.errors import ErrorAnswer

_Item = TypeVar("_Item")
DEFAULT_LIMIT: Final = 20
"""Items of a page when `limit` is missing (docs: API reference, list)."""
MAX_LIMIT: Final = 1_000
"""The largest `limit` (docs: API reference, list)."""


class PageQuery(NamedTuple):
    """The paging parameters: `after` selects items older than that id, `before` newer ones."""

    limit: int
    after: str | None
    before: str | None


class Page(NamedTuple, Generic[_Item]):
    """Items, newest first, and whether there are more in the requested direction."""

    items: Sequence[_Item]
    has_more: bool


def page_of(
    oldest_first: Sequence[_Item], limit: int, *, after: int | None = None, before: int | None = None
) -> Page[_Item]:
    """Return the items just older than `after`, just newer than `before`, or the newest."""
    if before is not None:
        start = before + 1
        return Page(oldest_first[start : start + limit][::-1], start + limit < len(oldest_first))
    end = len(oldest_first) if after is None else after
    start = max(0, end - limit)
    return Page(oldest_first[start:end][::-1], start > 0)


def page_json(objects: Sequence[bytes], ids: Sequence[str], *, has_more: bool) -> bytes:
    """Encode a page of JSON objects with these ids; keys in wire order (recorded live)."""
    return b'{"data":[%b],"has_more":%b,"first_id":%b,"last_id":%b}' % (
        b",".join(objects),
        b"true" if has_more else b"false",
        msgspec.json.encode(ids[0] if ids else None),
        msgspec.json.encode(ids[-1] if ids else None),
    )


def page_query(query: Mapping[str, str]) -> PageQuery:
    """Read the paging parameters. Raises ErrorAnswer (400)."""
    after, before = query.get("after_id") or None, query.get("before_id") or None
    if after is not None and before is not None:
        raise ErrorAnswer(400, "Only one of after_id and before_id may be given.")
    return PageQuery(_limit(query.get("limit", str(DEFAULT_LIMIT))), after, before)


def _limit(value: str) -> int:
    try:
        limit = int(value)
    except ValueError:
        raise ErrorAnswer(400, "limit: Input should be a valid integer, unable to parse string as an integer") from None
    if limit < 1:
        raise ErrorAnswer(400, "limit: Input should be greater than or equal to 1")
    if limit > MAX_LIMIT:
        raise ErrorAnswer(400, f"limit: Input should be less than or equal to {MAX_LIMIT}")
    return limit
