"""Submit requests as one batch, exactly once.

The tables of `decision` hold the two decisions and their reasons. This file calls the API and keeps the record:

    read the record ──► an intent? search for its batch ──► scan the source ──► next_step ──┬──► Attach
            ▲                                                                               ├──► Search
            └────────────── no answer: the intent stays in the record ◄────────── Send ◄────┘
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, get_args

from airflow_batches.api.cancellation import is_missing
from airflow_batches.api.defaults import NEWEST
from airflow_batches.api.errors import ApiError, BatchesError, InvalidRequest, TransportError
from airflow_batches.api.limits import FRESH_404
from airflow_batches.submission import decision
from airflow_batches.submission.decision import (
    LIST_LAG,
    Attempt,
    OnChanged,
    OnUncertain,
    next_step,
    settle,
    unrecorded_intent,
)
from airflow_batches.submission.errors import (
    LookFailed,
    ReconcilePending,
    RequestsChanged,
    SubmitKilled,
    UncertainSubmit,
)
from airflow_batches.submission.preflight import Preflight
from airflow_batches.submission.receipt import Receipt, Sent
from airflow_batches.submission.reconcile import EPOCH, Candidates, api_now, find_listed
from airflow_batches.submission.record import Intent, Record, RecordStore
from airflow_batches.submission.scan import Scan, refuse_over_limits, scan, warn_or_refuse
from airflow_batches.submission.sender import SETTLE_FOR, Sender, cancel_replaced

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, MessageBatch
    from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 5.0
"""Seconds between two searches for a batch. Chosen: the list was reported to lag by seconds."""
FIRST_RETRY: Final = 30.0
"""Seconds until a deferred search continues, at first. Each later pause is as long as the search so far. Chosen: a
deferral and its return to a worker take seconds, so shorter pauses would save nothing."""
MAX_UNANSWERED: Final = 3
"""Creates without an answer in one try, one after the other. Each follows a search that found the previous one was not
accepted. Chosen: after three, the task's retries continue, with their own delays."""


def submit(
    client: BatchesClient,
    source: Source,
    *,
    records: RecordStore | None = None,
    attempt: Attempt = Attempt(),  # noqa: B008  # immutable
    model: str | None = None,
    preflight: Preflight = "error",
    anthropic_version: str = NEWEST,
    known_batches: Callable[[], Collection[str]] = lambda: (),
    killed: Callable[[], bool] = lambda: False,
    on_created: Callable[[str], None] = lambda batch_id: None,
    settle_for: timedelta = SETTLE_FOR,
    look_for: timedelta = timedelta.max,
    look_every: float = LOOK_EVERY,
    missing_after: timedelta = FRESH_404,
    resumed: bool = False,
) -> Receipt:
    """Submit a source as one batch, or attach to an earlier try's batch of it.

    :param client: the API.
    :param source: the requests.
    :param records: the task's record, in a store that outlives the try. None: there is no such store.
    :param attempt: the settings of this try.
    :param model: the default for requests that name none.
    :param preflight: what to do with requests that the API would refuse.
    :param anthropic_version: the API version that the requests are checked against.
    :param known_batches: returns the ids of batches that records of other tasks name.
    :param killed: is called before each block of the body and before each search; True stops the submission.
    :param on_created: is called with a batch's id as soon as the batch exists. From then on, canceling it is up to the
        caller.
    :param settle_for: how long, at most, a batch may still be created after a create without an answer.
    :param look_for: how long this call may search for such a batch before it raises `ReconcilePending`; no limit by
        default.
    :param look_every: seconds between two searches.
    :param missing_after: how long a batch must be missing from both the API's get and its list to count as deleted.
    :param resumed: this call continues a search of the same try.
    :return: the receipt, with the batch's id.
    :raises PreflightError: when the requests cannot be sent.
    :raises SourceError: when the requests cannot be read.
    :raises RequestsChanged: when a retry has other requests, and `attempt.on_changed` is "fail".
    :raises ReconcilePending: when it is not known yet whether a create was accepted.
    :raises UncertainSubmit: when a person must decide.
    :raises Superseded: when another try of the task has written the record.
    :raises SubmitKilled: when `killed` returned True.
    :raises LookFailed: when the API refused to return the batch of an earlier try.
    :raises BatchesError: what the client raises.

    Example::

        with BatchesClient(key) as client, open_source("/data/requests.jsonl") as source:
            receipt = submit(client, source)
    """
    _check(preflight, Preflight, "preflight")
    _check(attempt.on_uncertain, OnUncertain, "on_uncertain")
    _check(attempt.on_changed, OnChanged, "on_changed")
    records = records or RecordStore(None)
    search = _Search(client, Candidates(client, known_batches), records, killed, look_for, look_every)
    record = records.read()
    record = _settled(search, record if resumed else record.but(unanswered=0), attempt)
    record = cancel_replaced(client, records, record)
    scanned = _scan(source, record, model=model, preflight=preflight, version=anthropic_version)
    sent = scanned.sent(source.name)
    sender = Sender(
        client, source, scanned, records,
        model=model, generation=attempt.generation, on_uncertain=attempt.on_uncertain,
        settle_for=settle_for, killed=killed, on_created=on_created,
    )  # fmt: skip
    most = 1 if attempt.on_uncertain == "resubmit" else MAX_UNANSWERED  # a second create could bill twice
    while True:
        batch = _fetch(client, record.receipt, killed, look_every, missing_after) if record.receipt else None
        match next_step(record, batch, sent, attempt):
            case decision.Attach(receipt):
                logger.info("Re-attached to batch %s of an earlier try", receipt.batch_id)
                if record.generation != attempt.generation:
                    records.write(record.but(generation=attempt.generation))
                return receipt
            case decision.Refuse(reason, batch_id):
                raise RequestsChanged(reason, batch_id)
            case decision.Search():
                record = records.write(record.but(intent=_unrecorded(client, sent, attempt)))
                record = _settled(search, record, attempt)
                attempt = replace(attempt, started_at=None)
            case decision.Send() if record.unanswered >= most:
                raise _unanswered(record.unanswered)
            case decision.Send() as step:
                record, error = sender.send(record, step)
                if error is None and record.receipt is not None:
                    cancel_replaced(client, records, record)
                    return record.receipt
                record = _settled(search, record, attempt)
                if error is not None and record.unanswered >= most:
                    raise error


def _unanswered(count: int) -> TransportError:
    return TransportError(
        f"{count} creates in a row were not answered, and none was accepted. Nothing is billed; a retry sends again",
        maybe_sent=False,
    )


def _unrecorded(client: BatchesClient, sent: Sent, attempt: Attempt) -> Intent:
    now = api_now(client)
    return unrecorded_intent(sent, attempt, now=now, clock_ahead=now - datetime.now(UTC))


def _check(value: str, choices: Any, name: str) -> None:
    """Raise `InvalidRequest` for a value that is not one of the choices. A wrong default could cost money."""
    if value not in get_args(choices):
        raise InvalidRequest(f"{name} must be one of {', '.join(get_args(choices))}, not {value!r}")


def _scan(source: Source, record: Record, *, model: str | None, preflight: Preflight, version: str) -> Scan:
    """Scan a source and check that it can be sent as one batch. Raises `PreflightError` and `SourceError`."""
    try:
        scanned = scan(source, model=model, preflight=preflight, version=version)
        warn_or_refuse(source, scanned.findings, preflight)
        refuse_over_limits(source, scanned)
        source.check(scanned.requests, scanned.ids_digest)
    except BatchesError:
        if record.receipt is not None:
            logger.warning("Batch %s of an earlier try exists, and can be landed", record.receipt.batch_id)
        raise
    return scanned


def _settled(search: _Search, record: Record, attempt: Attempt) -> Record:
    """Return the record without an intent, after its batch was found or the create was not accepted."""
    if record.intent is None:
        return record
    if attempt.on_uncertain == "fail":
        raise UncertainSubmit(
            f"It is not known whether a create of {record.intent.sent.requests:,} requests, sent by an earlier try or "
            "this one, was accepted; a batch may exist. Look for it in the Console, then set "
            "on_uncertain='reconcile' (safe) or 'resubmit' (may bill twice)"
        )
    if attempt.on_uncertain == "resubmit":
        logger.warning("An unanswered create is ignored, as on_uncertain='resubmit' asks; its batch may be billed")
        return record.but(intent=None)
    return search.settled(record, record.intent)


class _Search:
    """The search for the batch of an intent."""

    def __init__(
        self,
        client: BatchesClient,
        candidates: Candidates,
        records: RecordStore,
        killed: Callable[[], bool],
        look_for: timedelta,
        look_every: float,
    ) -> None:
        self._client = client
        self._candidates = candidates
        self._records = records
        self._killed = killed
        self._look_until = time.monotonic() + look_for.total_seconds()
        self._look_every = look_every

    def settled(self, record: Record, intent: Intent) -> Record:
        """Search until it is known whether the create was accepted; return the record."""
        told = False
        while True:
            if self._killed():
                raise SubmitKilled("whether a batch was created is not known, and none is canceled on suspicion")
            # The time first, then the search, so that the search covers everything created up to that time.
            now = api_now(self._client)
            match settle(intent, self._candidates.of(intent), now=now):
                case decision.Adopt(batch):
                    logger.warning("Adopted batch %s: creation time, size and custom_ids match", batch.id)
                    return self._records.write(record.with_batch(intent, batch))
                case decision.NotSent():
                    logger.warning("The unanswered create was not accepted: no batch came of it, and none is billed")
                    return self._records.write(record.but(intent=None))
                case decision.WaitFor(batch_id):
                    raise ReconcilePending(
                        f"Batch {batch_id} may be the one of an unanswered create; its custom_ids can be compared once "
                        "it has ended",
                        batch_id=batch_id,
                    )
                case decision.Undecided(reason, batch_ids):
                    raise UncertainSubmit(reason, batch_ids)
                case decision.KeepLooking():
                    if not told:
                        logger.info("A batch of an unanswered create may appear until %s", f"{intent.until:%F %T %Z}")
                        told = True
                    self._pause(intent, now)

    def _pause(self, intent: Intent, now: datetime) -> None:
        left = max(0.0, (intent.until - now).total_seconds())
        # Do not defer for the last pause: it is shorter than a deferral.
        if left > self._look_every and time.monotonic() + self._look_every > self._look_until:
            looked = (now - intent.sent_at).total_seconds()
            raise ReconcilePending(
                f"No batch of the create sent at {intent.sent_at:%F %T %Z} is listed yet; one may appear until "
                f"{intent.until:%F %T %Z}",
                retry_in=min(left, max(FIRST_RETRY, looked)),
            )
        time.sleep(min(self._look_every, left))


def _fetch(
    client: BatchesClient, receipt: Receipt, killed: Callable[[], bool], look_every: float, missing_after: timedelta
) -> MessageBatch | None:
    """Return the batch as it is now; None when both the API's get and its list have not shown it for `missing_after`.

    :raises LookFailed: when the API refuses to return it.
    """
    created = receipt.created_at or EPOCH
    missing_since = time.monotonic()
    while True:
        try:
            return client.get(receipt.batch_id)
        except ApiError as error:
            if not is_missing(error):
                raise LookFailed(receipt.batch_id, error) from error
        if (batch := find_listed(client, receipt.batch_id, created)) is not None:
            return batch
        missing_for = timedelta(seconds=time.monotonic() - missing_since)
        if missing_for >= missing_after and api_now(client) - created > LIST_LAG:
            return None
        if killed():
            raise SubmitKilled(f"batch {receipt.batch_id} of an earlier try is left as it is")
        time.sleep(look_every)
