"""Send a shard, and find out what came of a create without an answer. The ledger knows of a create before its batch can
exist.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from airflow_batches.api.errors import BatchesError
from airflow_batches.jobs.decision import BatchState, JobView, OnUnsettled
from airflow_batches.jobs.effects import CreateUnanswered, JobApi, JobClock, QueueFull
from airflow_batches.jobs.errors import JobOvertaken, JobStopped
from airflow_batches.jobs.events import submitted
from airflow_batches.jobs.lease import HeldLedger
from airflow_batches.jobs.ledger import JobBatch, PendingCreate
from airflow_batches.jobs.progress import describe_queue
from airflow_batches.jobs.warming import cache_doubt
from airflow_batches.submission.record import Intent
from airflow_batches.submission.settlement import Adopt, NotSent, Undecided

logger = logging.getLogger(__name__)

QUEUE_RETRY_S: Final = 60.0
"""Seconds until a create is tried again after a full queue, if the API does not say. Chosen: the API's limits are
counted per minute (docs, "Rate limits")."""
SETTLE_EVERY_S: Final = 5.0
"""Seconds between two searches for the batch of a create. Chosen: as in a submission; the list lags by seconds."""


class ShardSender:
    """Creates the batches of a job, one after the other.

    :param held: the job's ledger.
    :param api: the API.
    :param clock: the runner's clock.
    :param runner: the runner's name.
    :param on_unsettled: what to do when no search can tell whether a create made a batch.
    """

    def __init__(
        self, held: HeldLedger, api: JobApi, clock: JobClock, *, runner: str, on_unsettled: OnUnsettled
    ) -> None:
        self._held = held
        self._api = api
        self._clock = clock
        self._runner = runner
        self._on_unsettled = on_unsettled

    def submit(self, number: int, view: JobView) -> JobView:
        """Send a shard.

        :param number: the shard's.
        :param view: what is known of the batches.
        :return: what is known afterwards.
        :raises JobOvertaken: another runner has written the ledger; nothing was sent.
        :raises BatchesError: certainly no batch was created.
        """
        ledger = self._held.ledger
        shard = ledger.shards[number]
        if doubt := cache_doubt(ledger, shard, self._clock.now()):
            logger.warning(doubt)

        def intend(intent: Intent) -> None:
            self._held.write(pending=PendingCreate(shard=number, runner=self._runner, intent=intent))

        try:
            batch = self._api.create(shard, intend, model=ledger.plan.settings.get("model"))
        except JobOvertaken:
            raise
        except QueueFull as full:
            self._forget_pending()
            return self._wait_for_queue(full, view)
        except CreateUnanswered as unanswered:
            self._held.write(pending=PendingCreate(shard=number, runner=self._runner, intent=unanswered.intent))
            logger.warning("Shard %d may have been accepted: %s. Searching for its batch", number, unanswered)
            return view
        except BatchesError:
            self._forget_pending()
            raise
        else:
            self._held.save(self._held.ledger.with_batch(batch))
            logger.info(submitted(shard, batch))
            return replace(view, batches={**view.batches, batch.id: BatchState.RUNNING})

    def _forget_pending(self) -> None:
        if self._held.ledger.pending:
            self._held.write(pending=None)

    def _wait_for_queue(self, full: QueueFull, view: JobView) -> JobView:
        pause = full.retry_after or QUEUE_RETRY_S
        logger.info("%s (%s). Next try in %.0f s", describe_queue(self._held.ledger), full, pause)
        return replace(view, queue_full_until=self._clock.now() + timedelta(seconds=pause))

    def settle(self, view: JobView) -> JobView:
        """Find out whether the pending create made a batch.

        :param view: what is known of the batches.
        :return: the same, with the time of the next search.
        :raises JobStopped: a person must decide.
        """
        ledger = self._held.ledger
        if ledger.pending is None:
            return view
        match self._api.settle(ledger.pending, {batch.id for batch in ledger.batches}):
            case Adopt(found):
                self._adopt(found.id, found.created_at)
            case Undecided(_, (batch_id,)) if ledger.plan.generated:
                self._adopt(batch_id, None)  # no other job has these custom_ids, whenever the batch was created
            case NotSent():
                logger.warning("The create of shard %d was not accepted; none is billed", ledger.pending.shard)
                self._held.write(pending=None)
            case Undecided(reason, _) if self._on_unsettled == "fail":
                raise JobStopped("uncertain", reason)
            case Undecided(reason, _):
                logger.warning("Sent again, as on_unsettled='resubmit' asks, and perhaps billed twice: %s", reason)
                self._held.write(pending=None)
            case _:
                return replace(view, settle_at=self._clock.now() + timedelta(seconds=SETTLE_EVERY_S))
        return view

    def _adopt(self, batch_id: str, created_at: datetime | None) -> None:
        pending = self._held.ledger.pending
        if pending is None:
            return
        sha256 = pending.intent.sent.sha256
        logger.warning("Adopted batch %s: its custom_ids are those of shard %d", batch_id, pending.shard)
        batch = JobBatch(id=batch_id, shard=pending.shard, created_at=created_at, sha256=sha256, adopted=True)
        self._held.save(self._held.ledger.with_batch(batch))
