"""Search for the batch of a create without an answer, until it is known whether the create was accepted.

Such a batch is in the API's list, and its results hold the same ids. The table in `settlement` decides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec
import requests

from airflow_batches.api import BatchesClient, MessageBatch, ProcessingStatus, StreamInterrupted
from airflow_batches.api.digest import IdsDigest
from airflow_batches.api.jsonl import split_lines
from airflow_batches.api.retry import RETRY_404
from airflow_batches.submission.decision import OnUncertain, is_canceled, is_useless
from airflow_batches.submission.errors import ReconcilePending, SubmitKilled, UncertainSubmit
from airflow_batches.submission.listing import CLOCK_SPREAD, api_now, batches_since
from airflow_batches.submission.record import Intent, Record, RecordStore
from airflow_batches.submission.settlement import (
    Adopt,
    Candidate,
    KeepLooking,
    NotSent,
    Undecided,
    WaitFor,
    is_certain,
    settle,
)

logger = logging.getLogger(__name__)

READ_BYTES: Final = 1 << 20
"""Bytes of results read at once. Measured: larger reads were not faster."""
SEARCH_EVERY_S: Final = 5.0
"""Seconds between two searches for a batch. Chosen: the list was reported to lag by seconds."""
FIRST_RETRY: Final = 30.0
"""Seconds until a deferred search continues, at first. Each later pause is as long as the search so far. Chosen: a
deferral and its return to a worker take seconds, so shorter pauses would save nothing."""


@dataclass(kw_only=True)
class Reconciler:
    """Searches for the batches that a create without an answer may have made.

    The fields are parameters of `submit.submit` and of its attempt.
    """

    client: BatchesClient
    records: RecordStore
    on_uncertain: OnUncertain = "reconcile"
    known_batches: Callable[[], Collection[str]] = lambda: ()
    killed: Callable[[], bool] = lambda: False
    search_for: timedelta = timedelta.max
    search_every_s: float = SEARCH_EVERY_S
    _began: float = field(default_factory=time.monotonic, init=False)
    _digests: dict[str, str] = field(default_factory=dict, init=False)

    def settled(self, record: Record) -> Record:
        """Return the record without an intent, after it is known whether the create was accepted.

        :raises ReconcilePending: when that is not known yet.
        :raises UncertainSubmit: when a person must decide.
        :raises SubmitKilled: when `killed` returned True.
        """
        if record.intent is None:
            return record
        if self.on_uncertain == "fail":
            raise UncertainSubmit(
                f"It is not known whether a create of {record.intent.sent.requests:,} requests, sent by an earlier try "
                "or this one, was accepted; a batch may exist. Look for it in the Console, then set "
                "on_uncertain='reconcile' (safe) or 'resubmit' (may bill twice)"
            )
        if self.on_uncertain == "resubmit":
            logger.warning("An unanswered create is ignored, as on_uncertain='resubmit' asks; its batch may be billed")
            return record.replace(intent=None)
        return self._search(record, record.intent)

    def _search(self, record: Record, intent: Intent) -> Record:
        logged = False
        while True:
            if self.killed():
                raise SubmitKilled("whether a batch was created is not known, and none is canceled on suspicion")
            # The time first, then the search, so that the search covers everything created up to that time.
            now = api_now(self.client)
            match settle(intent, self.candidates(intent), now=now):
                case Adopt(batch):
                    logger.warning("Adopted batch %s: creation time, size and custom_ids match", batch.id)
                    return self.records.write(record.with_batch(intent, batch))
                case NotSent():
                    logger.warning("The unanswered create was not accepted: it made no batch, and none is billed")
                    return self.records.write(record.replace(intent=None))
                case WaitFor(batch_id):
                    raise ReconcilePending(
                        f"Batch {batch_id} may be the one of an unanswered create; its custom_ids can be compared once "
                        "it has ended",
                        batch_id=batch_id,
                    )
                case Undecided(reason, batch_ids):
                    raise UncertainSubmit(reason, batch_ids)
                case KeepLooking():
                    if not logged:
                        logger.info("A batch of an unanswered create may appear until %s", f"{intent.until:%F %T %Z}")
                        logged = True
                    self._pause(intent, now)

    def _pause(self, intent: Intent, now: datetime) -> None:
        left = max(0.0, (intent.until - now).total_seconds())
        next_search = time.monotonic() - self._began + self.search_every_s
        # Do not defer for the last pause: it is shorter than a deferral.
        if left > self.search_every_s and next_search > self.search_for.total_seconds():
            searched = (now - intent.sent_at).total_seconds()
            raise ReconcilePending(
                f"No batch of the create sent at {intent.sent_at:%F %T %Z} is listed yet; one may appear until "
                f"{intent.until:%F %T %Z}",
                retry_in=min(left, max(FIRST_RETRY, searched)),
            )
        time.sleep(min(self.search_every_s, left))

    def candidates(self, intent: Intent) -> list[Candidate]:
        """Return the batches that may be the intent's: running, then ended; each newest first.

        Results are read only if the decision depends on them. While a batch created right after the create runs, only
        running batches are returned. While another candidate runs, batches that ended and were created at another time
        are left out.

        :raises BatchesError: what the client raises: a list that could not be read is not an empty one.
        """
        found = [*self._listed(intent)]
        known = {*self.known_batches()} if found else set()
        found = [batch for batch in found if batch.id not in known]
        running = [batch for batch in found if batch.processing_status is not ProcessingStatus.ENDED]
        if any(is_certain(intent, batch) for batch in running):
            return [Candidate(batch) for batch in running]
        ended = [batch for batch in found if batch not in running and (not running or is_certain(intent, batch))]
        return [*map(Candidate, running), *(Candidate(batch, self._digest(batch)) for batch in ended)]

    def _listed(self, intent: Intent) -> Iterator[MessageBatch]:
        for batch in batches_since(self.client, intent.since):
            if batch.created_at is not None and batch.created_at > intent.until + CLOCK_SPREAD:
                continue
            # A useless or canceled batch would be replaced even if it were ours, so its owner does not matter.
            useless = is_useless(batch) or is_canceled(batch)
            if batch.id not in intent.before and _may_have(batch, intent.sent.requests) and not useless:
                yield batch

    def _digest(self, batch: MessageBatch) -> str:
        if batch.id not in self._digests:
            self._digests[batch.id] = _result_ids_digest(self.client, batch)
        return self._digests[batch.id]


def _result_ids_digest(client: BatchesClient, batch: MessageBatch) -> str:
    """Return the digest of the ids in a batch's results.

    :raises StreamInterrupted: when the results are not complete.
    """
    decoder = msgspec.json.Decoder(_Result)
    digest = IdsDigest()
    lines = 0
    try:
        with client.open_results(batch.id, retry=RETRY_404) as response:
            for line in split_lines(response.iter_content(READ_BYTES)):
                digest.update((decoder.decode(line).custom_id,))
                lines += 1
    # Invalid UTF-8 in an id raises UnicodeDecodeError, deep nesting RecursionError.
    except (requests.RequestException, msgspec.MsgspecError, ValueError, RecursionError) as exc:
        kind = type(exc).__name__
        raise StreamInterrupted(f"the results of {batch.id} broke off ({kind})", lines_read=lines) from exc
    if batch.request_counts.known and batch.request_counts.total not in {lines, 0}:
        raise StreamInterrupted(f"the results of {batch.id} are not complete", lines_read=lines)
    return digest.hexdigest()


class _Result(msgspec.Struct):
    custom_id: str


def _may_have(batch: MessageBatch, requests: int) -> bool:
    """Whether a batch may hold this number of requests. Counts that are unknown, or all 0, exclude nothing."""
    counts = batch.request_counts
    return not counts.known or counts.total in {requests, 0}
