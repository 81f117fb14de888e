"""Submit requests as one batch, exactly once.

The tables of `settlement` and `decision` hold the two decisions. This file calls the API and keeps the record:

    read the record ──► an intent? search for its batch ──► scan the source ──► next_step ──┬──► a receipt
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
from airflow_batches.submission.decision import Attempt, OnChanged, OnUncertain, Search, Send, next_step
from airflow_batches.submission.errors import LookupRefused, SubmitKilled
from airflow_batches.submission.listing import EPOCH, api_now, find_listed
from airflow_batches.submission.preflight import Preflight
from airflow_batches.submission.receipt import Receipt
from airflow_batches.submission.reconcile import SEARCH_EVERY_S, Reconciler
from airflow_batches.submission.record import Record, RecordStore
from airflow_batches.submission.scan import Scan, refuse_over_limits, scan
from airflow_batches.submission.sender import SETTLE_FOR, Sender, cancel_replaced
from airflow_batches.submission.settlement import LIST_LAG, unrecorded_intent

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, MessageBatch
    from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

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
    search_for: timedelta = timedelta.max,
    search_every_s: float = SEARCH_EVERY_S,
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
    :param search_for: how long this call may search for such a batch before it raises `ReconcilePending`; no limit by
        default.
    :param search_every_s: seconds between two searches.
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
    :raises LookupRefused: when the API refused to return the batch of an earlier try.
    :raises BatchesError: what the client raises.

    Example::

        with BatchesClient(key) as client, open_source("/data/requests.jsonl") as source:
            receipt = submit(client, source)
    """
    _check(preflight, Preflight, "preflight")
    _check(attempt.on_uncertain, OnUncertain, "on_uncertain")
    _check(attempt.on_changed, OnChanged, "on_changed")
    records = records or RecordStore(None)
    reconciler = Reconciler(
        client=client, records=records, on_uncertain=attempt.on_uncertain, known_batches=known_batches,
        killed=killed, search_for=search_for, search_every_s=search_every_s,
    )  # fmt: skip
    record = records.read()
    record = reconciler.settled(record if resumed else record.replace(unanswered=0))
    record = cancel_replaced(client, records, record)
    scanned = _scan(source, record, model=model, preflight=preflight, version=anthropic_version)
    sender = Sender(
        client=client, source=source, scan=scanned, records=records, model=model, attempt=attempt,
        settle_for=settle_for, killed=killed, on_created=on_created,
    )  # fmt: skip
    most = 1 if attempt.on_uncertain == "resubmit" else MAX_UNANSWERED  # a second create could bill twice
    while True:
        batch = _fetch(client, record.receipt, killed, search_every_s, missing_after) if record.receipt else None
        match next_step(record, batch, scanned.sent, attempt):
            case Receipt() as receipt:
                logger.info("Re-attached to batch %s of an earlier try", receipt.batch_id)
                if record.generation != attempt.generation:
                    records.write(record.replace(generation=attempt.generation))
                return receipt
            case Search(started_at):
                now = api_now(client)
                intent = unrecorded_intent(scanned.sent, started_at, now=now, clock_ahead=now - datetime.now(UTC))
                record = reconciler.settled(records.write(record.replace(intent=intent)))
                attempt = replace(attempt, started_at=None)
            case Send() if record.unanswered >= most:
                raise _unanswered(record.unanswered)
            case Send() as step:
                record, error = sender.send(record, step)
                if error is None and record.receipt is not None:
                    cancel_replaced(client, records, record)
                    return record.receipt
                record = reconciler.settled(record)
                if error is not None and record.unanswered >= most:
                    raise error


def _unanswered(count: int) -> TransportError:
    return TransportError(
        f"{count} creates in a row were not answered, and none was accepted. Nothing is billed; a retry sends again",
        maybe_sent=False,
    )


def _check(value: str, choices: Any, name: str) -> None:
    """Raise `InvalidRequest` for a value that is not one of the choices. A wrong default could cost money."""
    if value not in get_args(choices):
        raise InvalidRequest(f"{name} must be one of {', '.join(get_args(choices))}, not {value!r}")


def _scan(source: Source, record: Record, *, model: str | None, preflight: Preflight, version: str) -> Scan:
    """Scan a source and check that it can be sent as one batch. Raises `PreflightError` and `SourceError`."""
    try:
        scanned = scan(source, model=model, preflight=preflight, version=version)
        scanned.problems.refuse_or_warn(source, preflight)
        refuse_over_limits(scanned.sent)
        source.check(scanned.sent.requests, scanned.sent.ids_digest)
    except BatchesError:
        if record.receipt is not None:
            logger.warning("Batch %s of an earlier try exists, and can be landed", record.receipt.batch_id)
        raise
    return scanned


def _fetch(
    client: BatchesClient, receipt: Receipt, killed: Callable[[], bool], search_every_s: float, missing_after: timedelta
) -> MessageBatch | None:
    """Return the batch as it is now; None when both the API's get and its list have not shown it for `missing_after`.

    :raises LookupRefused: when the API refuses to return it.
    """
    created = receipt.created_at or EPOCH
    missing_since = time.monotonic()
    while True:
        try:
            return client.get(receipt.batch_id)
        except ApiError as error:
            if not is_missing(error):
                raise LookupRefused(receipt.batch_id, error) from error
        if (batch := find_listed(client, receipt.batch_id, created)) is not None:
            return batch
        missing_for = timedelta(seconds=time.monotonic() - missing_since)
        if missing_for >= missing_after and api_now(client) - created > LIST_LAG:
            return None
        if killed():
            raise SubmitKilled(f"batch {receipt.batch_id} of an earlier try is left as it is")
        time.sleep(search_every_s)
