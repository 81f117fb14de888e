"""Requests to a batch id, once.

The two decisions, and the reasons for them, are the tables of `decision`; this file asks, sends and remembers:

    scan the source ──► read the record ──► next_step ──┬──► Attach: done
                              ▲                         ├──► Send: POST, and the id is stored: done
                              │                         └──► Look: list, compare ids
                              └── the batch is ours, or none came of it ──┘
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, get_args

from airflow_batches.api.errors import ApiError, BatchesError, InvalidRequest
from airflow_batches.api.limits import FRESH_404
from airflow_batches.submission import decision
from airflow_batches.submission.decision import OnUncertain, Situation, next_step, settle
from airflow_batches.submission.errors import SubmitKilled, UncertainSubmit, Unsettled
from airflow_batches.submission.outbox import LATEST, Outbox
from airflow_batches.submission.preflight import STRICT_SINCE, Preflight
from airflow_batches.submission.receipt import (
    Begun,
    Intent,
    Memory,
    Receipt,
    Record,
    StateStore,
    Submitted,
    fingerprint_of,
)
from airflow_batches.submission.reconcile import EPOCH, Candidates, api_now, listed
from airflow_batches.submission.scan import Scan, refuse_over_limits, scan, warn_or_refuse

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, MessageBatch
    from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

LOOK_EVERY: Final = 5.0
"""Seconds between two looks for a batch that may still come into being."""
SPEECHLESS: Final = timedelta(seconds=30)
"""How long a position of a mapped task may take from the start of its try, with which what it had published goes, until
it has published what it remembers."""


def submit(
    client: BatchesClient,
    source: Source,
    *,
    store: StateStore | None = None,
    model: str | None = None,
    preflight: Preflight = "error",
    anthropic_version: str = STRICT_SINCE,
    on_uncertain: OnUncertain = "reconcile",
    since: datetime | None = None,
    mapped: bool = False,
    others: Callable[[str], Collection[str]] = lambda fingerprint: (),
    elsewhere: Callable[[str], Record | None] | None = None,
    killed: Callable[[], bool] = lambda: False,
    on_created: Callable[[str], None] = lambda batch_id: None,
    settle_for: timedelta = LATEST,
) -> Receipt:
    """Submit a source as one batch, or take up the batch that an earlier try of the same task made of it.

    `store` outlives the try; None: nothing does. `model` is the default for requests that name none. `since`: the
    time from which an earlier try may have sent something; give it only where the store may have lost what it knew.
    `mapped`: the store's record may be another item's. `others` gives the ids of batches that are not ours, whatever
    they look like, and `elsewhere` what other positions of a mapped task remember of our requests, None where the item
    cannot have moved; both are told our fingerprint. `killed` is asked before each block that is sent; a batch that
    exists is told to `on_created` at once, and is the caller's to call off. `settle_for`: how long, at most, a batch is
    looked for that may still come into being.

    Raises `PreflightError`, `SourceError`, `SourceChanged`, `Superseded`, `Unsettled`, `UncertainSubmit`,
    `SubmitKilled`, and what the client raises.
    """
    require_known(preflight, Preflight, "preflight")
    require_known(on_uncertain, OnUncertain, "on_uncertain")
    memory = Memory(store)
    record = memory.read() if since is not None else begin(memory)
    weighed = _weighed(source, record, model=model, preflight=preflight, version=anthropic_version)
    if elsewhere is not None and fingerprint_of(record) != weighed.fingerprint:
        moved = _remembered(elsewhere, weighed.fingerprint, killed, min(settle_for, SPEECHLESS))
        if moved is not None:
            memory.write(record := moved)
    outbox = Outbox(
        client, source, weighed, memory,
        model=model, killed=killed, on_created=on_created, on_uncertain=on_uncertain,
    )  # fmt: skip
    search = _Search(client, weighed, others=others, killed=killed, settle_for=settle_for)
    while True:
        batch = _fetch(client, record.receipt, killed) if isinstance(record, Submitted) else None
        situation = Situation(now=api_now(client), on_uncertain=on_uncertain, since=since, mapped=mapped)
        match next_step(record, batch, weighed, situation):
            case decision.Attach(receipt):
                logger.info("Batch %s of an earlier try is taken up again", receipt.batch_id)
                return receipt
            case decision.Fail(reason, batch_ids):
                raise UncertainSubmit(reason, batch_ids)
            case decision.Look(intent, besides):
                memory.write(intent)
                record = search.outcome(intent, source.name, besides)
            case decision.Send() as step:
                record = outbox.send(step)
                if isinstance(record, Submitted):
                    return record.receipt
        memory.write(record)


def begin(memory: Memory) -> Record:
    """What is remembered; for the first try, that it has begun. To be called before anything of the source is read."""
    record = memory.read()
    if record is None:
        memory.write(record := Begun())
    return record


def require_known(value: str, choices: Any, name: str) -> None:
    """Raise `InvalidRequest` for a value that is none of the choices: taken for another, it may cost money."""
    if value not in get_args(choices):
        raise InvalidRequest(f"{name} must be one of {', '.join(get_args(choices))}, not {value!r}")


def _weighed(source: Source, record: Record | None, *, model: str | None, preflight: Preflight, version: str) -> Scan:
    """What a source holds, if it can be sent as one batch. Raises `PreflightError` and `SourceError`."""
    try:
        weighed = scan(source, model=model, preflight=preflight, version=version)
        warn_or_refuse(source, weighed.findings, preflight)
        refuse_over_limits(source, weighed)
        source.check(weighed.requests, weighed.ids_digest)
    except BatchesError:
        if isinstance(record, Submitted):
            logger.warning("Batch %s of an earlier try is there, and can be landed", record.receipt.batch_id)
        raise
    return weighed


def _remembered(
    elsewhere: Callable[[str], Record | None], fingerprint: str, killed: Callable[[], bool], patience: timedelta
) -> Record | None:
    """What another position remembers of these requests, once all of them have had the time to say it."""
    deadline = time.monotonic() + patience.total_seconds()
    while (found := elsewhere(fingerprint)) is None and time.monotonic() < deadline:
        if killed():
            raise SubmitKilled("nothing was sent")
        time.sleep(min(LOOK_EVERY, patience.total_seconds() / 10))
    return found


class _Search:
    """The search for a batch that may have come of an intent."""

    def __init__(
        self,
        client: BatchesClient,
        weighed: Scan,
        *,
        others: Callable[[str], Collection[str]],
        killed: Callable[[], bool],
        settle_for: timedelta,
    ) -> None:
        self._client = client
        self._candidates = Candidates(client)
        self._scan = weighed
        self._others = others
        self._killed = killed
        self._settle_for = settle_for

    def outcome(self, intent: Intent, source: str, besides: Collection[str]) -> Submitted | Begun:
        """What came of it, once that can be known. Raises `Unsettled` when a batch has to be waited for."""
        until = api_now(self._client) + self._settle_for
        told = False
        while True:
            if self._killed():
                raise SubmitKilled("whether a batch came of it is not known, and none is canceled on suspicion")
            known = {*besides, *self._others(self._scan.fingerprint)}
            match settle(intent, self._candidates.of(intent, known=known), now=api_now(self._client), until=until):
                case decision.Adopt(batch):
                    logger.warning("Batch %s is taken for ours by its time, size and custom_ids", batch.id)
                    return Submitted(receipt=Receipt.of(self._scan, batch, source=source))
                case decision.NotSent():
                    logger.info("No batch has come of the earlier try")
                    return Begun()
                case decision.WaitFor(batch_id):
                    raise Unsettled(batch_id)
                case decision.Fail(reason, batch_ids):
                    raise UncertainSubmit(reason, batch_ids)
                case decision.LookAgain():
                    if not told:
                        logger.info("A batch may still come of a POST, until %s", min(intent.until, until))
                        told = True
                    time.sleep(min(LOOK_EVERY, self._settle_for.total_seconds() / 10))


def _fetch(client: BatchesClient, receipt: Receipt, killed: Callable[[], bool]) -> MessageBatch | None:
    """The batch as it is now, None when there is none: neither by itself nor in the list, nor is it too fresh to be."""
    created = receipt.created_at or EPOCH
    while True:
        try:
            return client.get(receipt.batch_id)
        except ApiError as error:
            if error.status != 404:
                raise
        if (batch := listed(client, receipt.batch_id, created)) or api_now(client) - created > FRESH_404:
            return batch
        if killed():
            raise SubmitKilled(f"batch {receipt.batch_id} of an earlier try is left as it is")
        time.sleep(LOOK_EVERY)
