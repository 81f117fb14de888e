"""`limit`, `after_id` and `before_id` of a list call. Values out of range are refused in the API's style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from airflow_batches.emulator.errors import ApiError

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 1_000


class PageQuery(NamedTuple):
    """`after`: only what is older than this id; `before`: only what is newer."""

    limit: int
    after: str | None
    before: str | None


def page_query(query: Mapping[str, str]) -> PageQuery:
    """Raises ApiError (400)."""
    after, before = query.get("after_id") or None, query.get("before_id") or None
    if after is not None and before is not None:
        raise ApiError(400, "Only one of after_id and before_id may be given.")
    return PageQuery(_limit(query.get("limit", str(DEFAULT_LIMIT))), after, before)


def _limit(value: str) -> int:
    try:
        limit = int(value)
    except ValueError:
        raise ApiError(400, "limit: Input should be a valid integer, unable to parse string as an integer") from None
    if limit < 1:
        raise ApiError(400, "limit: Input should be greater than or equal to 1")
    if limit > MAX_LIMIT:
        raise ApiError(400, f"limit: Input should be less than or equal to {MAX_LIMIT}")
    return limit
