"""The states of a batch, as a function of the stored batch and the time.

    create -> in_progress ---------------> ended -> archived (29 days after created_at)
                  +- cancel -> canceling -> ended

Rules: `ended` is the only final status; the counts distinguish success, cancel and expiry. All counts stay in
`processing` until the end (docs), unless the batch was created with incremental counts (reported from live polls by one
user, 2026-09). A batch that still runs 24 hours after create ends then (docs); lines run at an even pace, and those
that have not run by then expire.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from airflow_batches.emulator.clock import DAY
from airflow_batches.emulator.lines import Lines

ARCHIVED_AFTER: Final = 29 * DAY
"""From create until the results are removed (docs: "Batch processing")."""

Status = Literal["in_progress", "canceling", "ended"]


class LineCounts(NamedTuple):
    """`request_counts`, in wire order."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class StoredBatch(msgspec.Struct, kw_only=True, eq=False):
    """A batch as it is stored; times in microseconds since the epoch.

    The first `done` lines run, in the order submitted; the others end as `rest` says. `final` holds the last counts.
    """

    id: str
    workspace: str
    created_at: int
    run_time: int
    ends_at: int
    total: int
    done: int
    rest: Literal["canceled", "expired"]
    final: LineCounts
    incremental: bool
    answer_chars: int | None
    archive_at: int
    cancel_at: int | None = None
    order: int = 0

    @property
    def expires_at(self) -> int:
        return self.created_at + DAY

    def status(self, now: int) -> Status:
        if now >= self.ends_at:
            return "ended"
        return "in_progress" if self.cancel_at is None else "canceling"

    def archived(self, now: int) -> bool:
        return now >= self.archive_at


def new_batch(
    batch_id: str,
    workspace: str,
    lines: Lines,
    now: int,
    run_time: int,
    *,
    incremental: bool,
    answer_chars: int | None,
) -> StoredBatch:
    """Make a batch created now that takes `run_time` microseconds, or expires."""
    total = len(lines.outcomes)
    done = total if run_time <= DAY else total * DAY // run_time
    return StoredBatch(
        id=batch_id,
        workspace=workspace,
        created_at=now,
        run_time=run_time,
        ends_at=now + min(run_time, DAY),
        total=total,
        done=done,
        rest="expired",
        final=_final(lines, done, "expired"),
        incremental=incremental,
        answer_chars=answer_chars,
        archive_at=now + ARCHIVED_AFTER,
    )


def cancel(batch: StoredBatch, lines: Lines, now: int, cancel_time: int) -> None:
    """Change in_progress to canceling; lines that have run keep their result."""
    batch.done = _progress(batch, now) if batch.incremental else 0
    batch.rest = "canceled"
    batch.final = _final(lines, batch.done, "canceled")
    batch.cancel_at = now
    batch.ends_at = min(now + cancel_time, batch.expires_at)


def end(batch: StoredBatch, lines: Lines, now: int) -> None:
    """End the batch now; unless it is being canceled, all of its lines have run."""
    if batch.cancel_at is None:
        batch.done = batch.total
        batch.final = _final(lines, batch.done, "expired")
    batch.ends_at = now


def counts_before_end(batch: StoredBatch, lines: Lines, now: int) -> LineCounts:
    """Return the counts of a running batch that has incremental counts."""
    run = batch.done if batch.cancel_at is not None else _progress(batch, now)
    return LineCounts(batch.total - run, *lines.tally(run))


def _progress(batch: StoredBatch, now: int) -> int:
    return min(batch.total, batch.total * (now - batch.created_at) // max(batch.run_time, 1))


def _final(lines: Lines, done: int, rest: str) -> LineCounts:
    succeeded, errored, canceled, expired = lines.tally(done)
    left = len(lines.outcomes) - done
    if rest == "canceled":
        return LineCounts(0, succeeded, errored, canceled + left, expired)
    return LineCounts(0, succeeded, errored, canceled, expired + left)
