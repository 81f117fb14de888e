"""The API as a job needs it: create one shard's batch, look at batches, search for a lost one, cancel.

It adapts `submission`: the same body, the same rules about what a failed create means, the same search.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from airflow_batches.api.cancellation import cancel_if_running, is_missing
from airflow_batches.api.errors import ApiError, BatchesError
from airflow_batches.api.limits import FRESH_404
from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.api.retry import ONCE
from airflow_batches.jobs.decision import BatchState
from airflow_batches.jobs.effects import CreateUnanswered, Intend, QueueFull, Settled
from airflow_batches.jobs.ledger import JobBatch, PendingCreate, PlannedShard
from airflow_batches.submission.body import RequestsBody
from airflow_batches.submission.errors import SourceChanged
from airflow_batches.submission.listing import CLOCK_SPREAD, FENCE_SPAN, api_now, list_fence
from airflow_batches.submission.reconcile import Reconciler
from airflow_batches.submission.record import Intent, RecordStore
from airflow_batches.submission.scan import Scan, scan
from airflow_batches.submission.sender import ACCEPTED_WITHIN, SETTLE_FOR, nothing_accepted
from airflow_batches.submission.settlement import LIST_LAG, settle

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient
    from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

SINGLE_GETS: Final = 10
"""Batches up to which each is fetched alone. Chosen: a page of the list costs about as much as ten batches."""

OpenShard = Callable[[PlannedShard], AbstractContextManager["Source"]]


class BatchesApi:
    """The API for one job.

    :param client: the API.
    :param open_shard: opens the requests of a shard.
    :param settle_for: how long a batch may still be created after a create without an answer.
    :param missing_after: how long the API must answer 404 until a batch counts as missing.
    :param monotonic: returns seconds that only grow.
    """

    def __init__(
        self,
        client: BatchesClient,
        open_shard: OpenShard,
        *,
        settle_for: timedelta = SETTLE_FOR,
        missing_after: timedelta = FRESH_404,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._open_shard = open_shard
        self._settle_for = settle_for
        self._missing_after = missing_after.total_seconds()
        self._monotonic = monotonic
        self._missing_since: dict[str, float] = {}

    def create(self, shard: PlannedShard, intend: Intend, *, model: str | None) -> JobBatch:
        """Send a shard; see `JobApi`."""
        with self._open_shard(shard) as source:
            scanned = self._scan(source, shard, model)
            intents: list[Intent] = []

            def before_last() -> None:
                intent = self._intent(scanned)
                intend(intent)
                intents.append(intent)

            body = RequestsBody(source, scanned, model=model, before_last=before_last)
            try:
                batch = self._client.create_streamed(body, retry=ONCE)  # the engine waits, and tells so
            except BatchesError as error:
                if isinstance(error, ApiError) and error.from_api and error.status == 429:
                    raise QueueFull(str(error), retry_after=error.retry_after) from error
                if not intents or nothing_accepted(error):
                    raise
                raise CreateUnanswered(error, self._unanswered(intents[-1], error)) from error
        return JobBatch(id=batch.id, shard=shard.number, created_at=batch.created_at, sha256=scanned.sent.sha256)

    def _scan(self, source: Source, shard: PlannedShard, model: str | None) -> Scan:
        scanned = scan(source, model=model, preflight="off", version=self._client.anthropic_version)
        if scanned.sent.fingerprint != shard.fingerprint or scanned.sent.requests != shard.requests:
            raise SourceChanged(
                f"{source.name} holds other requests than when the job was planned (fingerprint "
                f"{scanned.sent.fingerprint} instead of {shard.fingerprint}); shard {shard.number} was not sent. "
                "Restore the object, or use another folder for the new requests"
            )
        return scanned

    def _intent(self, scanned: Scan) -> Intent:
        before = list_fence(self._client)
        now = api_now(self._client)
        return Intent(
            sent=scanned.sent, sent_at=now, since=now - FENCE_SPAN, certain_from=now - CLOCK_SPREAD,
            certain_until=now + ACCEPTED_WITHIN, before=before, until=now + self._settle_for,
        )  # fmt: skip

    def _unanswered(self, intent: Intent, error: BatchesError) -> Intent:
        if isinstance(error, ApiError) and error.from_api:
            # The API answered, so the create is no longer in progress.
            until = min(intent.until, api_now(self._client) + LIST_LAG)
            return msgspec.structs.replace(intent, until=until)
        return intent

    def look(self, batches: Sequence[JobBatch]) -> Mapping[str, BatchState]:
        """Return the state of each batch; see `JobApi`."""
        listed = {} if len(batches) <= SINGLE_GETS else {batch.id: batch for batch in self._listed(batches)}
        return {
            batch.id: state_of(listed[batch.id]) if batch.id in listed else self._state(batch.id) for batch in batches
        }

    def _listed(self, batches: Sequence[JobBatch]) -> Iterator[MessageBatch]:
        """Yield batches from the list, back to the oldest of these."""
        oldest = min((batch.created_at for batch in batches if batch.created_at), default=None)
        for batch in self._client.list_all():
            if oldest is None or (batch.created_at and batch.created_at < oldest - CLOCK_SPREAD):
                return
            yield batch

    def _state(self, batch_id: str) -> BatchState:
        try:
            batch = self._client.get(batch_id)
        except ApiError as error:
            if not is_missing(error):
                raise
            since = self._missing_since.setdefault(batch_id, self._monotonic())
            stood = self._monotonic() - since >= self._missing_after
            return BatchState.MISSING if stood else BatchState.RUNNING
        self._missing_since.pop(batch_id, None)
        return state_of(batch)

    def settle(self, pending: PendingCreate, known: Collection[str]) -> Settled:
        """Search for the batch of a create; see `JobApi`."""
        # The time first, then the search, so that the search covers everything created up to that time.
        now = api_now(self._client)
        search = Reconciler(client=self._client, records=RecordStore(None), known_batches=lambda: known)
        return settle(pending.intent, search.candidates(pending.intent), now=now)

    def cancel(self, batch: JobBatch) -> BatchState:
        """Cancel a batch; see `JobApi`."""
        found = cancel_if_running(self._client, batch.id, reason="the job is canceled")
        return BatchState.MISSING if found is None else state_of(found)


def state_of(batch: MessageBatch) -> BatchState:
    """Return a batch's state. An unknown status counts as running."""
    if batch.archived_at is not None:
        return BatchState.ARCHIVED
    known = {ProcessingStatus.ENDED: BatchState.ENDED, ProcessingStatus.CANCELING: BatchState.CANCELING}
    return known.get(batch.processing_status, BatchState.RUNNING)
