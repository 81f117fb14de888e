"""Decide what to do with requests, from the task's record.

Pure: record, batch and time are arguments. The goal is exactly one batch for each task and input, wherever a process
died. First `settlement` decides about a create without an answer; then:

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
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.submission.errors import RequestsChanged
from airflow_batches.submission.receipt import Receipt, Sent
from airflow_batches.submission.record import Record

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
class Search:
    """Search for a batch first: an earlier try without a record may have sent these requests.

    `started_at` is the earliest time of that, by Airflow's clock.
    """

    started_at: datetime


def next_step(record: Record, batch: MessageBatch | None, sent: Sent, attempt: Attempt) -> Send | Receipt | Search:
    """Apply the table.

    :param record: the task's record, without an intent.
    :param batch: the record's batch as it is now; None when it no longer exists.
    :param sent: the requests to send.
    :param attempt: the settings of this try.
    :return: the receipt of the batch to attach to, or another step.
    :raises RequestsChanged: a retry has other requests; nothing is sent.
    """
    if record.receipt is None:
        return Send() if attempt.started_at is None else Search(attempt.started_at)
    if batch is None:
        return Send(warning=_GONE.format(record.receipt.batch_id))
    if is_useless(batch):
        return Send(warning=f"Batch {batch.id} of an earlier try has no answers to land; another one is sent")
    asked_for = record.generation != attempt.generation
    if is_canceled(batch) and asked_for:
        return Send(warning=f"Batch {batch.id} of an earlier try was canceled; another one is sent, and billed")
    if record.receipt.fingerprint == sent.fingerprint:
        return _replace(batch, attempt, "resubmit=True") if attempt.resubmit and asked_for else record.receipt
    differs = _difference(record.receipt, sent)
    if attempt.on_changed == "fail" and not asked_for:
        raise RequestsChanged(_refusal(batch, differs), batch.id)
    return _replace(batch, attempt, differs)


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


def _difference(before: Sent, now: Sent) -> str:
    """Describe how the requests of a try differ from those of an earlier one."""
    if before.requests != now.requests:
        return f"{now.requests:,} requests instead of {before.requests:,}"
    if before.ids_digest != now.ids_digest:
        return "other custom_ids (they must be the same in every try, so no uuid4 and no time of day)"
    if before.models != now.models:
        return f"model {', '.join(now.models) or 'none'} instead of {', '.join(before.models) or 'none'}"
    return "the same custom_ids with other params (rows in another order, or an edited prompt)"
