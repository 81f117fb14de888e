"""Requests to a batch id, once.

The two decisions, and the reasons for them, are the tables of `decision`; this file asks, sends and remembers:

    scan the source ──► read the record ──► next_step ──┬──► Attach: done
                              ▲                         ├──► Send: POST, and the id is stored: done
                              │                         └──► Look: list, compare ids
                              └── the batch is ours, or none came of it ──┘

What a POST that failed means is `nothing_accepted`: where that is certain, the record says "begun" again and the
error leaves; where it is not, the batch is looked for at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, get_args
from uuid import uuid4

from airflow_batches.api.calloff import call_off
from airflow_batches.api.errors import ApiError, BatchesError, DecodeError, InvalidRequest, TransportError
from airflow_batches.api.limits import FRESH_404
from airflow_batches.api.retry import NOTHING_ACCEPTED
from airflow_batches.submission import decision
from airflow_batches.submission.body import RequestsBody
from airflow_batches.submission.decision import SETTLE, OnUncertain, Situation, next_step, settle
from airflow_batches.submission.errors import SubmitKilled, UncertainSubmit, Unsettled
from airflow_batches.submission.preflight import STRICT_SINCE, Preflight
from airflow_batches.submission.receipt import Begun, Intent, Memory, Receipt, Record, StateStore, Submitted
from airflow_batches.submission.reconcile import EPOCH, Candidates, newest
from airflow_batches.submission.scan import Scan, refuse_over_limits, scan, warn_or_refuse

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, MessageBatch
    from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

LATEST: Final = timedelta(minutes=15)
"""How long after the intent its batch may still come into being: the client's read timeout, and some."""
POSTS: Final = 3
"""How often one call sends at most: again only after a search has found that nothing came of the one before."""
LOOK_EVERY: Final = 5.0
"""Seconds between two looks for a batch that may still come into being."""
UNCLEAR_STATUSES: Final = frozenset({408, 409, 425})
"""Statuses below 500 that do not say whether a create took effect."""


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
    others: Callable[[], Iterable[Receipt]] = tuple,
    killed: Callable[[], bool] = lambda: False,
    settle_for: timedelta = SETTLE,
) -> Receipt:
    """Submit a source as one batch, or take up the batch that an earlier try of the same task made of it.

    `store` outlives the try; None: nothing does. `model` is the default for requests that name none. `since`: the
    time from which an earlier try may have sent something; give it only where the store may have lost what it knew.
    `mapped`: the store's record may be another item's. `others` gives the receipts of other tasks. `killed` is asked
    before each block that is sent, and after the answer. `settle_for`: how long a batch is looked for that may
    still come into being.

    Raises `PreflightError`, `SourceError`, `SourceChanged`, `Unsettled`, `UncertainSubmit`, `SubmitKilled`, and what
    the client raises.
    """
    require_known(preflight, Preflight, "preflight")
    require_known(on_uncertain, OnUncertain, "on_uncertain")
    memory = Memory(store)
    record = memory.read() if since is not None else begin(memory)
    weighed = scan(source, model=model, preflight=preflight, version=anthropic_version)
    warn_or_refuse(source, weighed.findings, preflight)
    refuse_over_limits(source, weighed)
    source.check(weighed.requests, weighed.ids_digest)
    outbox = _Outbox(client, source, weighed, memory, model=model, killed=killed)
    search = _Search(client, weighed, others=others, killed=killed, settle_for=settle_for)
    situation = Situation(now=_now(), on_uncertain=on_uncertain, since=since, mapped=mapped)
    while True:
        batch = _fetch(client, record.receipt) if isinstance(record, Submitted) else None
        match next_step(record, batch, weighed, situation):
            case decision.Attach(receipt):
                logger.info("Batch %s of an earlier try is taken up again", receipt.batch_id)
                return receipt
            case decision.Fail(reason, batch_ids):
                raise UncertainSubmit(reason, batch_ids)
            case decision.Look(intent):
                memory.write(intent)
                record = search.outcome(intent, source.name)
            case decision.Send(cancel_first):
                if outbox.gives_up(on_uncertain):
                    raise outbox.failure
                if cancel_first is not None:
                    call_off(client, cancel_first, "its requests have changed")
                record = outbox.send()
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


def nothing_accepted(error: BatchesError) -> bool:
    """Whether a failed create certainly made no batch.

    | failure                                                        | certain |
    |----------------------------------------------------------------|---------|
    | no answer, and the body had not been handed over whole         | yes     |
    | no answer after that                                           | no      |
    | 429, 529, 3xx, and 4xx but for `UNCLEAR_STATUSES`              | yes     |
    | those, and 5xx                                                 | no      |
    | 200 that is no batch                                           | no      |
    | the source failed or changed, or the task was killed, mid-body | yes     |
    """
    if isinstance(error, TransportError):
        return not error.maybe_sent
    if isinstance(error, ApiError):
        return error.status in NOTHING_ACCEPTED or (error.status < 500 and error.status not in UNCLEAR_STATUSES)
    return not isinstance(error, DecodeError)


class _Outbox:
    """The POST of one source."""

    def __init__(
        self,
        client: BatchesClient,
        source: Source,
        weighed: Scan,
        memory: Memory,
        *,
        model: str | None,
        killed: Callable[[], bool],
    ) -> None:
        self._client = client
        self._source = source
        self._scan = weighed
        self._memory = memory
        self._model = model
        self._killed = killed
        self._fence = EPOCH
        self._intent: Intent | None = None
        self._posts = 0
        self.failure: BatchesError = UncertainSubmit("nothing was sent")

    def gives_up(self, on_uncertain: OnUncertain) -> bool:
        """Whether the next POST is left to the task's next try: `resubmit` never pays twice within one."""
        return self._posts >= (1 if on_uncertain == "resubmit" else POSTS)

    def send(self) -> Submitted | Intent:
        """What is known after the POST: the batch, or only that there may be one. Raises where there is none."""
        self._posts += 1
        self._intent = None
        self._fence = newest(self._client)
        self._memory.write(Begun(claim=uuid4().hex))
        try:
            batch = self._client.create_streamed(self._body())
        except BatchesError as error:
            if self._intent is not None and not nothing_accepted(error):
                logger.warning("Nobody knows whether the batch was accepted: %s", error)
                self.failure = error
                return self._intent
            self._memory.write(Begun())
            raise
        logger.info("Submitted %s requests, %s bytes: %s", f"{self._scan.requests:,}", f"{self._scan.size:,}", batch.id)
        return self._submitted(batch)

    def _submitted(self, batch: MessageBatch) -> Submitted:
        record = Submitted(receipt=_receipt(self._scan, batch, self._source.name))
        self._memory.write(record)
        if self._killed():
            call_off(self._client, batch.id, "the task was killed")
            raise SubmitKilled(f"batch {batch.id} was canceled", batch.id)
        return record

    def _body(self) -> RequestsBody:
        return RequestsBody(
            self._source, self._scan, model=self._model, each_block=self._stop_if_killed, before_last=self._intend
        )

    def _intend(self) -> None:
        until = max(self._fence, _now()) + LATEST
        self._intent = Intent.of(self._scan, since=self._fence, until=until)
        self._memory.write(self._intent)

    def _stop_if_killed(self) -> None:
        if self._killed():
            raise SubmitKilled("nothing was sent")


class _Search:
    """The search for a batch that may have come of an intent."""

    def __init__(
        self,
        client: BatchesClient,
        weighed: Scan,
        *,
        others: Callable[[], Iterable[Receipt]],
        killed: Callable[[], bool],
        settle_for: timedelta,
    ) -> None:
        self._candidates = Candidates(client)
        self._scan = weighed
        self._others = others
        self._killed = killed
        self._settle_for = settle_for

    def outcome(self, intent: Intent, source: str) -> Submitted | Begun:
        """What came of it, once that can be known. Raises `Unsettled` when a batch has to be waited for."""
        until = _now() + self._settle_for
        while True:
            if self._killed():
                raise SubmitKilled("whether a batch came of it is not known, and none is canceled on suspicion")
            match settle(intent, self._candidates.of(intent, known=self._known()), now=_now(), until=until):
                case decision.Adopt(batch):
                    logger.warning("Batch %s is taken for ours by its time, size and custom_ids", batch.id)
                    return Submitted(receipt=_receipt(self._scan, batch, source))
                case decision.NotSent():
                    logger.info("No batch has come of the earlier try")
                    return Begun()
                case decision.WaitFor(batch_id):
                    raise Unsettled(batch_id)
                case decision.Fail(reason, batch_ids):
                    raise UncertainSubmit(reason, batch_ids)
                case decision.LookAgain():
                    time.sleep(min(LOOK_EVERY, self._settle_for.total_seconds() / 10))

    def _known(self) -> set[str]:
        return {receipt.batch_id for receipt in self._others() if receipt.fingerprint != self._scan.fingerprint}


def _fetch(client: BatchesClient, receipt: Receipt) -> MessageBatch | None:
    """The batch as it is now, None when there is none; a 404 soon after the creation is not believed yet."""
    while True:
        try:
            return client.get(receipt.batch_id)
        except ApiError as error:
            if error.status != 404:
                raise
            if receipt.created_at is None or _now() - receipt.created_at > FRESH_404:
                return None
        time.sleep(LOOK_EVERY)


def _receipt(weighed: Scan, batch: MessageBatch, source: str) -> Receipt:
    return Receipt.of(weighed, batch_id=batch.id, created_at=batch.created_at, source=source)


def _now() -> datetime:
    return datetime.now(UTC)
