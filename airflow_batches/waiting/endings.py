"""Find the batches of a workspace that have ended since the last poll, each once.

It finds batches of other tools too. Rules of this file:
- The cursor is a time (`floor`: everything that ended until then is old) and the ids reported since. It is small plain
  JSON, and enough to continue after a restart.
- The floor stays `OVERLAP` behind the newest end, because a list may show a batch's end later than the end of a batch
  that ended after it. It moves only after a list was read far enough back: a batch ends within `RUNS_AT_MOST` of its
  creation.
- The very first poll reports nothing, and sets the floor to the newest end it sees, so on the server's clock.
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
from airflow_batches.waiting.client import PollClient
from airflow_batches.waiting.paging import RUNS_AT_MOST, ListCall, oldest_of

logger = logging.getLogger(__name__)

OVERLAP: Final = 900.0
"""Seconds that an end may be missing from the list while a later one is shown. Chosen: many times the lag of seconds
that was reported for the list (`submission.decision.LIST_LAG` is 120 s); it costs only ids to remember."""
SKEW: Final = 3600.0
"""Seconds that the local clock may be ahead of the server's. Chosen: an hour is a time zone mistake; it matters only
while no batch ends."""
MAX_IDS: Final = 800
"""Ids to remember. Chosen: they take some 40 kB, and Airflow's state store keeps them in its database. If more batches
end within `OVERLAP`, the floor follows more closely."""


@dataclass(slots=True)
class EndedCursor:
    """The ends that were reported. Times are seconds since the epoch.

    `ids` maps those after `floor` to their end.
    """

    floor: float | None = None
    ids: dict[str, float] = field(default_factory=dict)
    newest: float = 0.0

    def new_ends(self, batches: Iterable[MessageBatch]) -> list[MessageBatch]:
        """Return the newly ended batches in the order of their ends, and note them as reported."""
        ended = sorted((at, batch.id, batch) for batch in batches if (at := ended_by(batch)) is not None)
        news = []
        for at, batch_id, batch in ended:
            self.newest = max(self.newest, at if batch.ended_at else 0.0)
            if self.floor is None and not batch.ended_at:
                self.ids[batch_id] = at  # it would be above any floor that the first poll can set
            if self.floor is not None and not self.contains(batch):
                self.ids[batch_id] = at
                news.append(batch)
        return news

    def contains(self, batch: MessageBatch) -> bool:
        """Whether the batch's end was reported."""
        at = ended_by(batch)
        old = self.floor is not None and at is not None and at <= self.floor
        return old or batch.id in self.ids

    def advance(self, now: float) -> None:
        """Move the floor after a list was read far enough back, and forget the ids below it."""
        if self.floor is None:
            self.floor = self.newest or now - SKEW
        self.floor = max(self.floor, self.newest - OVERLAP, now - SKEW - OVERLAP)
        if len(self.ids) > MAX_IDS:
            self.floor = max(self.floor, sorted(self.ids.values())[-MAX_IDS - 1])
        self.ids = {batch_id: at for batch_id, at in self.ids.items() if at > self.floor}

    def merge(self, other: EndedCursor) -> None:
        """Add the ends that another cursor has reported."""
        floors = [floor for floor in (self.floor, other.floor) if floor is not None]
        self.floor = max(floors, default=None)
        self.newest = max(self.newest, other.newest)
        self.ids = {
            batch_id: at for batch_id, at in (self.ids | other.ids).items() if self.floor is None or at > self.floor
        }

    def to_state(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: object) -> EndedCursor:
        """Read what `to_state` of this or another version returned.

        :raises ValueError: the state is something else.
        """
        return msgspec.convert(state, cls)


def ended_by(batch: MessageBatch) -> float | None:
    """Return when a batch ended, in seconds since the epoch; None while it runs.

    If the API's `ended_at` cannot be read, it is the latest time at which the batch can have ended.
    """
    if batch.ended_at is not None:
        return batch.ended_at.timestamp()
    if batch.processing_status is not ProcessingStatus.ENDED:
        return None
    if batch.expires_at is not None:
        return batch.expires_at.timestamp()
    return None if batch.created_at is None else (batch.created_at + LIFETIME).timestamp()


async def poll_ended(
    client: PollClient, cursor: EndedCursor, *, now: float
) -> tuple[list[MessageBatch], BatchesError | None]:
    """Read the list once, as far back as batches may have ended since the last poll.

    :param client: the connection to read with.
    :param cursor: the ends reported so far; it is updated.
    :param now: seconds since the epoch.
    :return: the newly ended batches, and the error that stopped the reading, None if there was none.
    """
    oldest = (now if cursor.floor is None else cursor.floor) - RUNS_AT_MOST
    news: list[MessageBatch] = []
    after_id: str | None = None
    while True:
        answer = (await client.call(ListCall(after_id))).answer
        if not isinstance(answer, BatchPage):
            return news, answer if isinstance(answer, BatchesError) else None
        if after_id is not None and (not answer.data or answer.next_after == after_id):
            return news, DecodeError(f"the list ended after {after_id}, although has_more was true")
        if answer.unreadable:
            logger.warning("%d batches of the list cannot be read; their ends are not reported", answer.unreadable)
        news += cursor.new_ends(answer.data)
        after_id = answer.next_after
        if after_id is None or oldest_of(answer) < oldest:
            cursor.advance(now)
            return news, None
