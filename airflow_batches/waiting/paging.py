"""Which calls show the batches that are wanted, with as few of them as can be. Pure: calls come out, answers go in.

| wanted       | calls                                                                              |
|--------------|------------------------------------------------------------------------------------|
| `FEW` or less| a get for each                                                                     |
| more         | pages of the list, newest first, then gets, `FEW` at most, for what no page showed |

Rules of this file:
- A page is a shortcut. That it does not show a batch, or that it fails, says nothing of any batch: only a get does.
- Pages end where another is not worth its call: all is shown; the list ends; they are past where the batch would
  stand, or past what can still run; or more of them were in vain than gets are saved.
- Batches appear, end and vanish between two pages. The cursor is the last id of the page before, so nothing that
  was there all along is skipped; a cursor that has vanished itself ends the pages, proves nothing, and is no failure.
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
"""Up to this many gets follow each other in one cycle; at a fifth of a second each that is a second."""

RUNS_AT_MOST: Final = LIFETIME.total_seconds() + 3600.0
"""Seconds from a batch's creation to its end; the hour is for clocks that differ."""


@dataclass(frozen=True, slots=True)
class Get:
    """Ask for one batch."""

    batch_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Ask for a page of the list, from the newest, or of what is older than a batch."""

    after_id: str | None = None


Call = Get | Page
Answer = MessageBatch | BatchPage | BatchesError


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch to be shown. `created_at` in seconds since the epoch, None when not known yet."""

    batch_id: str
    created_at: float | None = None
    listed: bool = True
    """Whether pages may be read for it; if not, it is only asked for by itself."""


@dataclass(slots=True)
class Findings:
    """What a cycle learned of the list itself."""

    shown: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    """Not worth pages for a while: the list did not show them where they should stand, or they stand too deep."""
    failure: BatchesError | None = None
    """Why a page could not be had."""


def created(batch: MessageBatch) -> float | None:
    """When a batch was created, in seconds since the epoch."""
    return None if batch.created_at is None else batch.created_at.timestamp()


def cycle(wanted: Sequence[Wanted], *, oldest_running: float) -> Generator[Call, Answer, Findings]:
    """The calls of one cycle; `wanted` comes with the most urgent first.

    What was created before `oldest_running` (seconds since the epoch) has ended long ago, so that no page is worth it.
    """
    findings = Findings()
    missing = {each.batch_id: each.created_at for each in wanted if each.listed}
    if len(missing) > FEW:
        yield from _pages(missing, findings, oldest_running)
    for each in [each for each in wanted if each.batch_id not in findings.shown][:FEW]:
        yield Get(each.batch_id)
    return findings


def _pages(
    missing: dict[str, float | None], findings: Findings, oldest_running: float
) -> Generator[Call, Answer, None]:
    cursor, in_vain = None, 0
    while missing:
        page = yield Page(cursor)
        if not isinstance(page, BatchPage):
            vanished = cursor is not None and isinstance(page, ApiError) and page.status in {400, 404}
            findings.failure = page if isinstance(page, BatchesError) and not vanished else None
            return
        if cursor is not None and (not page.data or page.next_after == cursor):
            return
        shown = missing.keys() & {batch.id for batch in page.data}
        findings.shown |= shown
        _strike(missing, shown)
        in_vain += not shown
        cursor, reached = page.next_after, oldest_of(page)
        pointless = cursor is None or reached < oldest_running or in_vain >= len(missing)
        passed = set(missing) if pointless else {batch_id for batch_id, at in missing.items() if at and at > reached}
        findings.unlisted |= passed
        _strike(missing, passed)


def _strike(missing: dict[str, float | None], batch_ids: Set[str]) -> None:
    for batch_id in batch_ids:
        del missing[batch_id]


def oldest_of(page: BatchPage) -> float:
    """When the oldest batch of a page was created; what would stand above it is not in the list. Else infinite."""
    return min((at for batch in page.data if (at := created(batch)) is not None), default=math.inf)
