"""What to do about a submission, from what the task remembers of it. Pure: record, batch and clock come in.

Exactly one batch for each task and input, wherever a process died. A create whose answer is not known is settled
first (`settle`); then:

| remembered batch         | requests | asked for by   | next                                                       |
|--------------------------|----------|----------------|------------------------------------------------------------|
| none                     | -        | -              | send; search first if there is no store and an earlier try |
|                          |          |                | may have sent                                              |
| of no use (`is_useless`) | any      | -              | send                                                       |
| canceled                 | any      | a clear        | send                                                       |
| any other, or canceled   | same     | a retry        | attach                                                     |
| any other                | same     | a clear        | attach                                                     |
| any other                | same     | `resubmit`     | send; then cancel the old one if it runs                   |
| any other, or canceled   | other    | a retry        | as `on_changed` says: fail; or send, then cancel the old   |
|                          |          |                | one if it runs; or send and keep the old one               |
| any other                | other    | a clear        | the same, but "fail" means send, then cancel               |

A retry has the generation of the record, a run of the task that a person asked for has another one. `resubmit` counts
once for each generation: a retry does not pay again. Nor does a retry pay for a batch that a person has canceled.

`settle` decides what became of a create. Candidates are batches of as many requests that were created after it and
are of some use. One created at another time than right after the create counts only where no other is ours:

| candidates                                                | next                                             |
|-----------------------------------------------------------|--------------------------------------------------|
| several created right after the create have our ids       | fail: a person must say which                    |
| some created right after the create still run             | wait for one of them to end, then look again     |
| one created right after the create has our ids            | it is ours                                       |
| some created at another time still run                    | wait for one of them to end, then look again     |
| some created at another time have our ids                 | fail: a person must say whether one is ours      |
| none, and one may still be created                        | look again                                       |
| none                                                      | nothing was accepted: send                       |

What existed before the create is never a candidate: its ids were listed, and stored with the intent. The custom_ids can
be compared only when a batch has ended, for they come with its results, and the API keeps nothing else of ours in a
batch. So a batch that another task made in the same two minutes, from as many requests with the same ids, and that no
record names, cannot be told from ours. Ids that differ from run to run make the proof complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.submission.receipt import Receipt, Sent, difference
from airflow_batches.submission.record import Intent, Record

CLOCK_SKEW: Final = timedelta(minutes=10)
"""How far Airflow's clock, which dates a run, may be from the API's. Hosts without NTP were seen 5 minutes off."""
LIST_LAG: Final = timedelta(seconds=120)
"""How long a batch that exists may be missing from the list: twice the longest that was reported."""

OnUncertain = Literal["reconcile", "resubmit", "fail"]
"""The outcome of a create is unknown: look for its batch; send again, and perhaps pay twice; leave it to a person."""
OnChanged = Literal["fail", "cancel", "keep"]
"""A retry has other requests: send nothing; send them and cancel the old batch; send them and keep the old batch."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How and why a task submits now.

    `generation`: differs between runs of the task that a person asked for, and is the same for retries.
    `started_at`: give it only where no store outlives a try and an earlier try may have sent something: when, by
    Airflow's clock, the earliest of them may have done so.
    """

    on_uncertain: OnUncertain = "reconcile"
    on_changed: OnChanged = "fail"
    resubmit: bool = False
    generation: int = 0
    started_at: datetime | None = None


@dataclass(frozen=True)
class Send:
    """Create a batch; store its id; then cancel `replaces`, if any. `warning` says what happens to an older batch."""

    replaces: str | None = None
    warning: str = ""


@dataclass(frozen=True)
class Attach:
    """The batch of an earlier try is this one's."""

    receipt: Receipt


@dataclass(frozen=True)
class Search:
    """An earlier try without a record may have sent these requests."""


@dataclass(frozen=True)
class Refuse:
    """A retry has other requests; nothing is sent. `batch_id` is the batch of the earlier try."""

    reason: str
    batch_id: str


@dataclass(frozen=True)
class Adopt:
    """This batch is ours."""

    batch: MessageBatch


@dataclass(frozen=True)
class WaitFor:
    """This batch may be ours, and still runs."""

    batch_id: str


@dataclass(frozen=True)
class KeepLooking:
    """A batch may still be created."""


@dataclass(frozen=True)
class NotSent:
    """The create was not accepted."""


@dataclass(frozen=True)
class Undecided:
    """A person must decide; `batch_ids` are those in question."""

    reason: str
    batch_ids: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A batch that may be ours. `ids_digest` is None as long as it runs."""

    batch: MessageBatch
    ids_digest: str | None = None


def next_step(
    record: Record, batch: MessageBatch | None, sent: Sent, attempt: Attempt
) -> Send | Attach | Search | Refuse:
    """Apply the first table.

    :param record: what is remembered, without an unsettled intent.
    :param batch: the remembered batch as it is now; None when it no longer exists.
    :param sent: what would be sent.
    """
    if record.receipt is None:
        return Send() if attempt.started_at is None else Search()
    if batch is None:
        return Send(warning=_GONE.format(record.receipt.batch_id))
    if is_useless(batch):
        return Send(warning=f"Batch {batch.id} of an earlier try has no answers to land; another one is sent")
    asked_for = record.generation != attempt.generation
    if is_canceled(batch) and asked_for:
        return Send(warning=f"Batch {batch.id} of an earlier try was canceled; another one is sent, and billed")
    if record.receipt.fingerprint == sent.fingerprint:
        return _replace(batch, attempt, "resubmit=True") if attempt.resubmit and asked_for else Attach(record.receipt)
    differs = difference(record.receipt, sent)
    if attempt.on_changed == "fail" and not asked_for:
        return Refuse(_refusal(batch, differs), batch.id)
    return _replace(batch, attempt, differs)


def settle(
    intent: Intent, candidates: Sequence[Candidate], *, now: datetime
) -> Adopt | WaitFor | KeepLooking | NotSent | Undecided:
    """Apply the second table. `now` is the API's time."""
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
    """Whether a candidate with our ids would be ours, because it was created right after the create.

    A batch without a time counts as such.
    """
    return batch.created_at is None or intent.certain_from <= batch.created_at <= intent.certain_until


def is_useless(batch: MessageBatch) -> bool:
    """Whether nothing can be had of a batch, and nothing was paid for it: archived, or ended without one billed answer.

    An ended batch whose counts are missing or not final yet is of use: a later look may tell.
    """
    counts = batch.request_counts
    unbilled = counts.known and counts.total > 0 and not counts.processing and not counts.succeeded
    ended = batch.processing_status is ProcessingStatus.ENDED
    return batch.archived_at is not None or (ended and unbilled and not is_canceled(batch))


def is_canceled(batch: MessageBatch) -> bool:
    """Whether a batch was canceled. What it had answered by then is billed."""
    return batch.cancel_initiated_at is not None or batch.processing_status is ProcessingStatus.CANCELING


def unrecorded_intent(sent: Sent, attempt: Attempt, *, now: datetime, clock_ahead: timedelta) -> Intent:
    """Return the intent of an earlier try that left no record.

    :param now: the API's time.
    :param clock_ahead: how far the API's clock is ahead of this worker's. Whether Airflow's agrees with the one or the
        other is unknown, so the later start counts: a batch created before it may be an earlier run's, and is a
        person's to decide.
    """
    started_at = attempt.started_at or now
    started_by_api = started_at + clock_ahead
    return Intent(
        sent=sent,
        sent_at=now,
        since=min(started_at, started_by_api) - CLOCK_SKEW,
        certain_from=max(started_at, started_by_api),
        certain_until=now + LIST_LAG,
        until=now + LIST_LAG,
    )


_GONE: Final = (
    "Batch {} of an earlier try does not exist for this key any more; another one is sent. If the key belongs to "
    "another workspace than before, that batch may still run and be billed"
)


def _replace(batch: MessageBatch, attempt: Attempt, why: str) -> Send:
    if batch.processing_status is ProcessingStatus.ENDED or is_canceled(batch):
        return Send(warning=f"Batch {batch.id} of an earlier try is over; another one is sent, and billed: {why}")
    if attempt.on_changed == "keep":
        return Send(
            warning=f"Batch {batch.id} of an earlier try still runs and is billed, as on_changed='keep' asks; "
            f"another one is sent: {why}"
        )
    return Send(
        replaces=batch.id,
        warning=f"Another batch is sent, then a cancel of batch {batch.id} of an earlier try is requested; what that "
        f"one has answered by then is billed: {why}",
    )


def _refusal(batch: MessageBatch, differs: str) -> str:
    return (
        f"This retry has other requests than the try before it: {differs}. Nothing was sent. Batch {batch.id} of that "
        f"try is {batch.status_text}, and its answers can be landed. Give each try the same requests, and let "
        "custom_ids come from the rows. To send the new ones: clear the task once it has ended (that replaces the "
        "batch), or set on_changed to 'cancel' or 'keep'"
    )


def _ambiguity(intent: Intent, batches: Sequence[MessageBatch]) -> str:
    return (
        f"{_unanswered(intent)}, and {len(batches)} batches with the same custom_ids were created since: "
        f"{', '.join(batch.id for batch in batches)}. {_CURE}"
    )


def _doubt(intent: Intent, batches: Sequence[MessageBatch]) -> str:
    them = ", ".join(f"{batch.id} (created at {batch.created_at:%F %T %Z})" for batch in batches)
    return (
        f"{_unanswered(intent)}; it was sent at {intent.sent_at:%F %T %Z}. Each of these batches has the same "
        f"custom_ids, but may be that of another run: {them}. {_CURE}"
    )


def _unanswered(intent: Intent) -> str:
    return f"It is not known whether a create of {intent.sent.requests:,} requests was accepted"


_CURE: Final = (
    "Nothing was sent or canceled. Look at the batches in the Console: land the one that is this task's by its id, or "
    "set on_uncertain='resubmit' and clear the task to send (and pay for) another one. custom_ids that differ from run "
    "to run prevent this"
)
