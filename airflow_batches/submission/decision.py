"""What to do about a submission, from what is remembered of it. Pure: record, batch and clock come in.

Exactly one batch for each task and input, whatever died when:

| remembered | input | its batch                                | next                                            |
|------------|-------|------------------------------------------|-------------------------------------------------|
| nothing    | -     | -                                        | send; `look` first if an earlier try may have   |
|            |       |                                          | sent and what it remembered is lost             |
| begun      | -     | none can exist                           | send                                            |
| intent     | same  | may exist                                | look; `on_uncertain` may say send, or fail      |
| intent     | other | may exist, and nobody wants it           | send; where the item moved: look                |
| submitted  | same  | goes on, or ended with something in it   | attach                                          |
| submitted  | same  | of no use (`is_useless`)                 | send                                            |
| submitted  | other | goes on                                  | cancel it (a mapped task: leave it) and send;   |
|            |       |                                          | where the item moved: look                      |
| submitted  | other | over                                     | send; where the item moved: look                |

An item moved where a mapped task remembers other custom_ids: Airflow keeps what a task remembers by its position in
the expansion, and after a change of the list another item's record lies there (apache/airflow #72725). That item's
batch is not ours to cancel. What other positions have published of our requests is taken as remembered here, before
any of this; where they have published nothing, our batch is looked for among all since the run began. Other requests
with the same custom_ids are then taken for changed ones: they are sent, and the remembered batch, which may be the
item's that lay here, is left to go on, with a warning.

Looking (`settle`) compares what came into being at that time with that many requests and is of some use:

| candidates                                      | next                                                           |
|-------------------------------------------------|----------------------------------------------------------------|
| one has our ids, all have ended                 | it is ours                                                     |
| several have our ids                            | fail: a person must say which                                  |
| some go on                                      | wait for one of them to end, then look again                   |
| none, and one may still come into being         | look again                                                     |
| none                                            | nothing was accepted: send                                     |

Ids can be compared only when a batch has ended, for they come with its results; and the API keeps nothing else of
ours in a batch. So a batch that another task made at that time, from as many requests with the same ids, and that
`others` does not name, cannot be told from ours: ids that differ from run to run make the proof complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.submission.receipt import Begun, Intent, Receipt, Record, Submitted
from airflow_batches.submission.scan import Scan

CLOCK_SKEW: Final = timedelta(minutes=10)
"""How far Airflow's clock, which dates a run, may be from the API's."""
SETTLE: Final = timedelta(seconds=120)
"""How long a batch that exists may be invisible in the list; it is twice what has been reported."""

OnUncertain = Literal["reconcile", "resubmit", "fail"]
"""A create's fate is unknown: look for its batch; send again, and perhaps pay twice; leave it to a person."""


@dataclass(frozen=True)
class Send:
    """Create a batch, after canceling `cancel_first` (an id, or None). `warning`: what is left behind, in words."""

    cancel_first: str | None = None
    warning: str = ""


@dataclass(frozen=True)
class Attach:
    """The batch of an earlier try is this one's."""

    receipt: Receipt


@dataclass(frozen=True)
class Look:
    """Find out whether a batch came of this intent; it is none of `besides`."""

    intent: Intent
    besides: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fail:
    """A person must decide; `batch_ids` are those in question."""

    reason: str
    batch_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adopt:
    """This batch is ours."""

    batch: MessageBatch


@dataclass(frozen=True)
class WaitFor:
    """This batch may be ours, and goes on."""

    batch_id: str


@dataclass(frozen=True)
class LookAgain:
    """It may still come into being."""


@dataclass(frozen=True)
class NotSent:
    """No batch came of it."""


@dataclass(frozen=True)
class Candidate:
    """A batch that may be ours. `ids_digest` is None as long as it goes on."""

    batch: MessageBatch
    ids_digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the task knows about its tries.

    `since`: the time from which an earlier try may have sent something without a record of it, None where there is
    none. `mapped`: the record may be another item's. `now`: the API's time.
    """

    now: datetime
    on_uncertain: OnUncertain = "reconcile"
    since: datetime | None = None
    mapped: bool = False


def next_step(
    record: Record | None, batch: MessageBatch | None, scan: Scan, situation: Situation
) -> Send | Attach | Look | Fail:
    """The first table. `batch` is the remembered one as it is now; None when there is none, or not any more."""
    match record:
        case Begun():
            return Send()
        case Intent() if record.fingerprint == scan.fingerprint:
            return _uncertain(record, situation)
        case Submitted(receipt=receipt) if receipt.fingerprint == scan.fingerprint:
            return Send() if batch is None or is_useless(batch) else Attach(receipt)
        case _:
            return _foreign(record, batch, scan, situation)


def settle(
    intent: Intent, candidates: Sequence[Candidate], *, now: datetime, until: datetime
) -> Adopt | WaitFor | LookAgain | NotSent | Fail:
    """The second table. `until` is when the looking is over."""
    running = [candidate.batch.id for candidate in candidates if candidate.ids_digest is None]
    ours = [candidate.batch for candidate in candidates if candidate.ids_digest == intent.ids_digest]
    if len(ours) > 1:
        ids = tuple(batch.id for batch in ours)
        return Fail(f"nobody knows which batch is ours, for their custom_ids are the same: {', '.join(ids)}", ids)
    if running:
        return WaitFor(running[-1])
    if ours:
        return Adopt(ours[0])
    return LookAgain() if now < min(intent.until, until) else NotSent()


def is_useless(batch: MessageBatch) -> bool:
    """Whether nothing more can be had of a batch: canceled, archived, or ended without one billed answer.

    An ended batch whose counts are missing or not final yet is none: a later look may know.
    """
    if batch.cancel_initiated_at is not None or batch.archived_at is not None:
        return True
    if batch.processing_status is ProcessingStatus.CANCELING:
        return True
    counts = batch.request_counts
    unbilled = counts.total > 0 and not counts.processing and not counts.succeeded
    return batch.processing_status is ProcessingStatus.ENDED and unbilled


def _uncertain(intent: Intent, situation: Situation, besides: frozenset[str] = frozenset()) -> Send | Look | Fail:
    if situation.on_uncertain == "resubmit":
        return Send()
    if situation.on_uncertain == "fail":
        return Fail(f"nobody knows what came of a create of {intent.requests:,} requests after {intent.since:%F %T %Z}")
    return Look(intent, besides)


def _foreign(record: Record | None, batch: MessageBatch | None, scan: Scan, situation: Situation) -> Send | Look | Fail:
    """Nothing is remembered of this input."""
    moved = situation.mapped and record is not None and _ids(record) != scan.ids_digest
    if situation.since is not None and (record is None or moved):
        window = {"since": situation.since - CLOCK_SKEW, "until": situation.now + SETTLE}
        besides = frozenset({record.receipt.batch_id} if isinstance(record, Submitted) else ())
        return _uncertain(Intent.of(scan, **window), situation, besides)
    return _afresh(record, batch, mapped=situation.mapped)


def _afresh(record: Record | None, batch: MessageBatch | None, *, mapped: bool) -> Send:
    if isinstance(record, Intent):
        return Send(
            warning=f"A batch of {record.requests:,} other requests may have come of an earlier try after "
            f"{record.since:%F %T %Z}; nobody waits for it"
        )
    if batch is None or batch.processing_status is not ProcessingStatus.IN_PROGRESS:
        return Send()
    if mapped:
        return Send(warning=f"Batch {batch.id} of other requests is left to go on: it may be another mapped item's")
    return Send(cancel_first=batch.id)


def _ids(record: Record) -> str | None:
    match record:
        case Intent(ids_digest=ids) | Submitted(receipt=Receipt(ids_digest=ids)):
            return ids
        case _:
            return None
