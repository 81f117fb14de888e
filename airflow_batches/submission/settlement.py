"""Decide whether a create without an answer was accepted.

Pure: intent, candidates and time are arguments. Candidates are batches with the same number of requests that were
created after the create was sent and are not useless. Those that were not created right after it count only if no other
batch is ours:

| candidates                                                | next                                             |
|-----------------------------------------------------------|--------------------------------------------------|
| several created right after the create have our ids       | fail: a person must say which                    |
| some created right after the create still run             | wait for one of them to end, then search again   |
| one created right after the create has our ids            | it is ours                                       |
| some created at another time still run                    | wait for one of them to end, then search again   |
| some created at another time have our ids                 | fail: a person must say whether one is ours      |
| none, and one may still be created                        | search again                                     |
| none                                                      | nothing was accepted: send                       |

A batch that existed before the create is never a candidate: the intent stores the ids that were listed before. The
custom_ids can be compared only after a batch has ended, because only its results hold them, and the batch object has no
field for our data. One case stays open: a batch that another task created in the same two minutes, with the same number
of requests and the same ids, and that no record names, looks like ours. Ids that differ from run to run exclude it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from airflow_batches.api.models import MessageBatch
from airflow_batches.submission.receipt import Sent
from airflow_batches.submission.record import Intent

CLOCK_SKEW: Final = timedelta(minutes=10)
"""How far Airflow's clock, which dates a run, may be from the API's. Chosen: twice the 5 minutes by which hosts without
NTP were seen to be off."""
LIST_LAG: Final = timedelta(seconds=120)
"""How long a new batch may be missing from the list. Chosen: twice the longest lag that was reported."""


@dataclass(frozen=True)
class Candidate:
    """A batch that may be ours. `ids_digest` is None while it runs."""

    batch: MessageBatch
    ids_digest: str | None = None


@dataclass(frozen=True)
class Adopt:
    """Use this batch: it was created by the create without an answer."""

    batch: MessageBatch


@dataclass(frozen=True)
class WaitFor:
    """Wait for this batch to end: it may be ours."""

    batch_id: str


@dataclass(frozen=True)
class KeepLooking:
    """Search again later: a batch may still be created."""


@dataclass(frozen=True)
class NotSent:
    """The create was not accepted."""


@dataclass(frozen=True)
class Undecided:
    """Fail: a person must decide between `batch_ids`."""

    reason: str
    batch_ids: tuple[str, ...]


Settlement = Adopt | WaitFor | KeepLooking | NotSent | Undecided
"""What is known of a create without an answer."""


def settle(intent: Intent, candidates: Sequence[Candidate], *, now: datetime) -> Settlement:
    """Apply the table.

    :param intent: the create without an answer.
    :param candidates: the batches that it may have created.
    :param now: the API's time.
    """
    ours = [candidate.batch for candidate in candidates if candidate.ids_digest == intent.sent.ids_digest]
    running = [candidate.batch for candidate in candidates if candidate.ids_digest is None]
    certain = [batch for batch in ours if is_certain(intent, batch)]
    if len(certain) > 1:
        return Undecided(_ambiguity(intent, certain), tuple(batch.id for batch in certain))
    if awaited := [batch for batch in running if is_certain(intent, batch)]:
        return WaitFor(awaited[-1].id)
    if certain:
        return Adopt(certain[0])
    if running:
        return WaitFor(running[-1].id)
    if ours:
        return Undecided(_doubt(intent, ours), tuple(batch.id for batch in ours))
    return KeepLooking() if now < intent.until else NotSent()


def is_certain(intent: Intent, batch: MessageBatch) -> bool:
    """Whether a candidate was created right after the create: then it is ours if its ids are.

    A batch without a time counts as such.
    """
    return batch.created_at is None or intent.certain_from <= batch.created_at <= intent.certain_until


def unrecorded_intent(sent: Sent, started_at: datetime, *, now: datetime, clock_ahead: timedelta) -> Intent:
    """Make the intent of an earlier try that left no record.

    :param sent: the requests that it may have sent.
    :param started_at: the earliest time, by Airflow's clock, at which it may have sent them.
    :param now: the API's time.
    :param clock_ahead: how far the API's clock is ahead of this worker's. Airflow's clock may agree with either of
        them, so the later start counts: a batch created before it may belong to an earlier run, and a person decides.
    """
    started_by_api = started_at + clock_ahead
    return Intent(
        sent=sent,
        sent_at=now,
        since=min(started_at, started_by_api) - CLOCK_SKEW,
        certain_from=max(started_at, started_by_api),
        certain_until=now + LIST_LAG,
        until=now + LIST_LAG,
    )


def _ambiguity(intent: Intent, batches: Sequence[MessageBatch]) -> str:
    return (
        f"{_unanswered(intent)}, and {len(batches)} batches with the same custom_ids were created since: "
        f"{', '.join(batch.id for batch in batches)}. {_WHAT_TO_DO}"
    )


def _doubt(intent: Intent, batches: Sequence[MessageBatch]) -> str:
    them = ", ".join(f"{batch.id} (created at {batch.created_at:%F %T %Z})" for batch in batches)
    return (
        f"{_unanswered(intent)}; it was sent at {intent.sent_at:%F %T %Z}. Each of these batches has the same "
        f"custom_ids, but may be that of another run: {them}. {_WHAT_TO_DO}"
    )


def _unanswered(intent: Intent) -> str:
    return f"It is not known whether a create of {intent.sent.requests:,} requests was accepted"


_WHAT_TO_DO: Final = (
    "Nothing was sent or canceled. Look at the batches in the Console: land the one that is this task's by its id, or "
    "set on_uncertain='resubmit' and clear the task to send (and pay for) another one. custom_ids that differ from run "
    "to run prevent this"
)
