"""Choose the fewest calls that show the wanted batches. Pure.

Calls come out, answers go in.

| wanted       | calls                                                                              |
|--------------|------------------------------------------------------------------------------------|
| `FEW` or less| a get for each                                                                     |
| more         | pages of the list, newest first, then gets, `FEW` at most, for what no page showed |

Rules of this file:
- A page is only a shortcut. That it fails or does not show a batch proves nothing about the batch; only a get does.
- No further page is read when everything wanted is shown; when the list ends; when the pages have passed the batch's
  place, or all batches that can still run; or when more pages were useless than gets can be saved.
- Batches appear, end and are deleted between two pages. The cursor is the last id of the page before, so no batch that
  was there all the time is skipped. If the cursor's batch was deleted, the pages end; that is not a failure.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from airflow_batches.api.errors import ApiError, BatchesError
from airflow_batches.api.limits import LIFETIME
from airflow_batches.api.models import BatchPage, MessageBatch

FEW: Final = 5
"""Gets in one cycle, at most. Chosen: at a fifth of a second each they take a second, the poller's `min_gap_s`."""

RUNS_AT_MOST: Final = LIFETIME.total_seconds() + 3600.0
"""Seconds from a batch's creation to its end: the API's 24 hours, and an hour for clocks that differ."""


@dataclass(frozen=True, slots=True)
class GetCall:
    """The call that fetches one batch."""

    batch_id: str


@dataclass(frozen=True, slots=True)
class ListCall:
    """The call that fetches a page of the list, from the newest batch or after a given one."""

    after_id: str | None = None


Call = GetCall | ListCall
CallAnswer = MessageBatch | BatchPage | BatchesError


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch to fetch. `created_at` is in seconds since the epoch, None while it is unknown."""

    batch_id: str
    created_at: float | None = None
    listed: bool = True
    """Whether pages may be read for it; otherwise it is only fetched by a get."""


@dataclass(slots=True)
class ListResult:
    """What a cycle learned about the list itself."""

    shown: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    """Batches for which no page is worth a call for a while: missing at their place in the list, or too far down."""
    failure: BatchesError | None = None
    """Why a page could not be read."""


def created_at(batch: MessageBatch) -> float | None:
    """Return when a batch was created, in seconds since the epoch."""
    return None if batch.created_at is None else batch.created_at.timestamp()


def choose_calls(wanted: Sequence[Wanted], *, oldest_running: float) -> Generator[Call, CallAnswer, ListResult]:
    """Give the calls of one cycle; each answer is sent back in.

    :param wanted: the batches to fetch, the most urgent first.
    :param oldest_running: seconds since the epoch; batches created before it ended long ago, so no page is read for
        them.
    :return: what the pages showed.
    """
    result = ListResult()
    missing = {each.batch_id: each.created_at for each in wanted if each.listed}
    if len(missing) > FEW:
        yield from _pages(missing, result, oldest_running)
    for each in [each for each in wanted if each.batch_id not in result.shown][:FEW]:
        yield GetCall(each.batch_id)
    return result


def _pages(
    missing: dict[str, float | None], result: ListResult, oldest_running: float
) -> Generator[Call, CallAnswer, None]:
    cursor, useless = None, 0
    while missing:
        page = yield ListCall(cursor)
        if not isinstance(page, BatchPage):
            cursor_gone = cursor is not None and isinstance(page, ApiError) and page.status in {400, 404}
            result.failure = page if isinstance(page, BatchesError) and not cursor_gone else None
            return
        if cursor is not None and (not page.data or page.next_after == cursor):
            return
        shown = missing.keys() & {batch.id for batch in page.data}
        result.shown |= shown
        _remove(missing, shown)
        useless += not shown
        cursor, reached = page.next_after, oldest_of(page)
        finished = cursor is None or reached < oldest_running or useless >= len(missing)
        passed = set(missing) if finished else {batch_id for batch_id, at in missing.items() if at and at > reached}
        result.unlisted |= passed
        _remove(missing, passed)


def _remove(missing: dict[str, float | None], batch_ids: Set[str]) -> None:
    for batch_id in batch_ids:
        del missing[batch_id]


def oldest_of(page: BatchPage) -> float:
    """Return when the oldest batch of a page was created, infinite for an empty page.

    A later batch that the page does not show is not in the list.
    """
    return min((at for batch in page.data if (at := created_at(batch)) is not None), default=math.inf)
