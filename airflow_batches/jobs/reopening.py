"""Let a canceled job go on, because a person runs it again. Pure.

| a batch of the canceled job                    | its requests                                                        |
|------------------------------------------------|---------------------------------------------------------------------|
| landed in the last round, with answers         | the canceled ones are sent again in a further round                 |
| landed in an earlier round, with answers       | stay as they are: the job had gone on without those canceled there  |
| landed, all canceled                           | are sent again as they were, as the canary if it was that           |
| given up (`lost`), and perhaps billed          | are sent again only with `on_missing="resubmit"`; else the job stops|
| none: a shard that was not sent                | are sent                                                            |

Only a run that began after the cancel was done lets the job go on: one that waited meanwhile for the lease was not
meant to.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from airflow_batches.jobs.errors import JobStopped
from airflow_batches.jobs.ledger import JobBatch, JobLedger
from airflow_batches.jobs.rounds import CANCELED, after_landing

CANCELED_JOB: Final = "canceled"
"""The kind of the stop with which a canceled job ends."""


def is_canceled(ledger: JobLedger, before: datetime) -> bool:
    """Whether the job had ended as canceled by a time."""
    stopped = ledger.stopped
    return ledger.cancel_requested and stopped is not None and stopped.kind == CANCELED_JOB and stopped.at <= before


def reopened(ledger: JobLedger, *, resubmit: bool) -> Mapping[str, Any]:
    """Return the changes with which a canceled job goes on.

    :param ledger: its ledger.
    :param resubmit: send the requests of batches again that were given up, and may be billed.
    :raises JobStopped: there are such batches, and they are not to be sent again.
    """
    batches = tuple(_wanted(batch, last=ledger.round_of(batch) == ledger.rounds) for batch in ledger.batches)
    unsent = {shard.number for shard in ledger.unsent}
    given_up = [batch.id for batch in ledger.batches if batch.lost and not batch.free and batch.shard in unsent]
    if given_up and not resubmit:
        raise JobStopped(
            "missing",
            f"Batches {', '.join(given_up)} could not be landed when the job was canceled. Their answers are lost and "
            "may be billed; nothing was sent again. To send their requests again, and pay for them again: "
            "on_missing='resubmit'",
        )
    return {"batches": batches, "cancel_requested": False}


def _wanted(batch: JobBatch, *, last: bool) -> JobBatch:
    """Return a batch whose canceled requests are sent again; `last`: it is of the last round."""
    landed = batch.landed
    canceled = landed.counts.get(CANCELED, 0) if landed else 0
    if landed is None or not canceled or (canceled < landed.lines and not last):
        return batch
    again = msgspec.structs.replace(landed, again={**landed.again, CANCELED: canceled})
    return after_landing(msgspec.structs.replace(batch, landed=None, resend_canceled=True), again)
