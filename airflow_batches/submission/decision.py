"""Decide how to submit, from the task's record.

Pure: record, batch and time are arguments. The goal is exactly one batch for each task and input, wherever a process
died. First `settle` decides about a create without an answer; then:

| batch in the record      | requests | reason to run  | next                                                       |
|--------------------------|----------|----------------|------------------------------------------------------------|
| none                     | -        | -              | send; search first if there is no store and an earlier try |
|                          |          |                | may have sent                                              |
| useless (`is_useless`)   | any      | -              | send                                                       |
| canceled                 | any      | a clear        | send                                                       |
| any other, or canceled   | same     | a retry        | attach                                                     |
| any other                | same     | a clear        | attach                                                     |
| any other                | same     | `resubmit`     | send; then cancel the old one if it runs                   |
| any other, or canceled   | other    | a retry        | as `on_changed` says: fail; or send, then cancel the old   |
|                          |          |                | one if it runs; or send and keep the old one               |
| any other                | other    | a clear        | the same, but "fail" means send, then cancel               |

A retry has the generation of the record; a run that a person started has another one. `resubmit` applies once for each
generation: a retry does not pay again. A retry does not replace a batch that a person canceled either.

`settle` decides whether a create was accepted. Candidates are batches with the same number of requests that were
created after it and are not useless. Those that were not created right after it count only if no other batch is ours:

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
from typing import Final, Literal

from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.submission.receipt import Receipt, Sent, difference
from airflow_batches.submission.record import Intent, Record

CLOCK_SKEW: Final = timedelta(minutes=10)
"""How far Airflow's clock, which dates a run, may be from the API's. Chosen: twice the 5 minutes by which hosts without
NTP were seen to be off."""
LIST_LAG: Final = timedelta(seconds=120)
"""How long a new batch may be missing from the list. Chosen: twice the longest lag that was reported."""

OnUncertain = Literal["reconcile", "resubmit", "fail"]
"""When the outcome of a create is unknown: search for its batch; send again, which may bill twice; or fail."""
OnChanged = Literal["fail", "cancel", "keep"]
"""When a retry has other requests: send nothing; send and cancel the old batch; send and keep the old batch."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The settings of one try, and why it runs.

    :param on_uncertain: what to do when the outcome of a create is unknown.
    :param on_changed: what to do when a retry has other requests.
    :param resubmit: send another batch even if the requests are the same; once for each generation.
    :param generation: a number that is the same for all retries, and another one when a person runs the task again.
    :param started_at: only without a store that outlives a try, and if an earlier try may have sent requests: the
        earliest time, by Airflow's clock, at which it may have.

    Example::

        receipt = submit(client, source, records=RecordStore(store), attempt=Attempt(on_changed="cancel"))
    """

    on_uncertain: OnUncertain = "reconcile"
    on_changed: OnChanged = "fail"
    resubmit: bool = False
    generation: int = 0
    started_at: datetime | None = None


@dataclass(frozen=True)
class Send:
    """Create a batch, store its id, then cancel `replaces` if it is set.

    `warning` tells about an older batch.
    """

    replaces: str | None = None
    warning: str = ""


@dataclass(frozen=True)
class Attach:
    """Use the batch of an earlier try."""

    receipt: Receipt


@dataclass(frozen=True)
class Search:
    """Search for a batch first: an earlier try without a record may have sent these requests."""


@dataclass(frozen=True)
class Refuse:
    """Send nothing: a retry has other requests. `batch_id` is the batch of the earlier try."""

    reason: str
    batch_id: str


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


@dataclass(frozen=True)
class Candidate:
    """A batch that may be ours. `ids_digest` is None while it runs."""

    batch: MessageBatch
    ids_digest: str | None = None


def next_step(
    record: Record, batch: MessageBatch | None, sent: Sent, attempt: Attempt
) -> Send | Attach | Search | Refuse:
    """Apply the first table.

    :param record: the task's record, without an intent.
    :param batch: the record's batch as it is now; None when it no longer exists.
    :param sent: the requests to send.
    :param attempt: the settings of this try.
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
    """Apply the second table.

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


def is_useless(batch: MessageBatch) -> bool:
    """Whether a batch has no results to land: archived, or ended without one billed answer.

    An ended batch whose counts are missing or not final is not useless: they may follow.
    """
    counts = batch.request_counts
    unbilled = counts.known and counts.total > 0 and not counts.processing and not counts.succeeded
    ended = batch.processing_status is ProcessingStatus.ENDED
    return batch.archived_at is not None or (ended and unbilled and not is_canceled(batch))


def is_canceled(batch: MessageBatch) -> bool:
    """Whether a batch was canceled. Its answers up to then are billed."""
    return batch.cancel_initiated_at is not None or batch.processing_status is ProcessingStatus.CANCELING


def unrecorded_intent(sent: Sent, attempt: Attempt, *, now: datetime, clock_ahead: timedelta) -> Intent:
    """Make the intent of an earlier try that left no record.

    :param sent: the requests that it may have sent.
    :param attempt: the settings of this try.
    :param now: the API's time.
    :param clock_ahead: how far the API's clock is ahead of this worker's. Airflow's clock may agree with either of
        them, so the later start counts: a batch created before it may belong to an earlier run, and a person decides.
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
