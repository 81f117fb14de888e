"""Which batches of a workspace have ended since the last look: each is news once, other tools' batches too.

Rules of this file:
- What was told is kept as a moment (`floor`: all that ended until then is old) and the ids told since. That is
  little, JSON, and enough to go on with after a restart.
- The floor follows at a distance of `OVERLAP`, because a list may show a batch's end later than another's that ended
  after it. It moves only when a list was read to its end: a batch ends at most `RUNS_AT_MOST` after its creation.
- The first look of all finds no news, and sets the floor to the newest end it sees: the server's clock, not ours.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgspec

from airflow_batches.api.errors import BatchesError, DecodeError
from airflow_batches.api.limits import LIFETIME
from airflow_batches.api.models import BatchPage, MessageBatch, ProcessingStatus
from airflow_batches.waiting.line import Line
from airflow_batches.waiting.paging import RUNS_AT_MOST, Page, oldest_of

logger = logging.getLogger(__name__)

OVERLAP: Final = 900.0
"""Seconds."""
SKEW: Final = 3600.0
"""Seconds that our clock may be ahead of the server's; only matters while nothing ends."""
MOST_IDS: Final = 800
"""Ids to remember, at most: some 40 kB. With more ends than that in `OVERLAP` the floor follows more closely."""


@dataclass(slots=True)
class Told:
    """What was told. Times are seconds since the epoch; `ids` are those that ended after `floor`, and when."""

    floor: float | None = None
    ids: dict[str, float] = field(default_factory=dict)
    newest: float = 0.0

    def sift(self, batches: Iterable[MessageBatch]) -> list[MessageBatch]:
        """The news among some batches, in the order of their ends; from now on they are told."""
        ended = sorted((at, batch.id, batch) for batch in batches if (at := ended_by(batch)) is not None)
        news = []
        for at, batch_id, batch in ended:
            self.newest = max(self.newest, at if batch.ended_at else 0.0)
            if self.floor is None and not batch.ended_at:
                self.ids[batch_id] = at  # it would be above any floor that the first look can set
            if self.floor is not None and not self.knows(batch):
                self.ids[batch_id] = at
                news.append(batch)
        return news

    def knows(self, batch: MessageBatch) -> bool:
        """Whether the batch's end was told."""
        at = ended_by(batch)
        old = self.floor is not None and at is not None and at <= self.floor
        return old or batch.id in self.ids

    def settle(self, now: float) -> None:
        """After a list that was read to its end: move the floor, and forget the ids below it."""
        if self.floor is None:
            self.floor = self.newest or now - SKEW
        self.floor = max(self.floor, self.newest - OVERLAP, now - SKEW - OVERLAP)
        if len(self.ids) > MOST_IDS:
            self.floor = max(self.floor, sorted(self.ids.values())[-MOST_IDS - 1])
        self.ids = {batch_id: at for batch_id, at in self.ids.items() if at > self.floor}

    def merge(self, other: Told) -> None:
        """What the other knows was told is told here as well."""
        floors = [floor for floor in (self.floor, other.floor) if floor is not None]
        self.floor = max(floors, default=None)
        self.newest = max(self.newest, other.newest)
        self.ids = {
            batch_id: at for batch_id, at in (self.ids | other.ids).items() if self.floor is None or at > self.floor
        }

    def to_state(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: object) -> Told:
        """What `to_state` of this or another version gave. Raises ValueError when it is not that."""
        return msgspec.convert(state, cls)


def ended_by(batch: MessageBatch) -> float | None:
    """When a batch ended, in seconds since the epoch; None while it runs.

    Where the API's `ended_at` cannot be read, the latest moment at which it can have ended.
    """
    if batch.ended_at is not None:
        return batch.ended_at.timestamp()
    if batch.processing_status is not ProcessingStatus.ENDED:
        return None
    if batch.expires_at is not None:
        return batch.expires_at.timestamp()
    return None if batch.created_at is None else (batch.created_at + LIFETIME).timestamp()


async def look(line: Line, told: Told, *, now: float) -> tuple[list[MessageBatch], BatchesError | None]:
    """One look through the list, back to what may have ended since; the news, and the error that ended it if any."""
    oldest = (now if told.floor is None else told.floor) - RUNS_AT_MOST
    news: list[MessageBatch] = []
    cursor: str | None = None
    while True:
        answer = (await line.ask(Page(cursor))).answer
        if not isinstance(answer, BatchPage):
            return news, answer if isinstance(answer, BatchesError) else None
        if cursor is not None and (not answer.data or answer.next_after == cursor):
            return news, DecodeError(f"the list ended after {cursor}, where it had promised more")
        if answer.unreadable:
            logger.warning("%d batches of the list cannot be read; their ends are not told", answer.unreadable)
        news += told.sift(answer.data)
        cursor = answer.next_after
        if cursor is None or oldest_of(answer) < oldest:
            told.settle(now)
            return news, None
