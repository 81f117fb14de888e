"""Create the batch of one source, and keep the record complete at each step.

| before                             | the record stores          | if the process dies then                       |
|------------------------------------|----------------------------|------------------------------------------------|
| the body is sent                   | a claim, against a try     | nothing was sent                               |
|                                    | that overlaps              |                                                |
| the last piece of the body is sent | the intent                 | a batch may be created, until `settle_for` has |
|                                    |                            | passed                                         |
| the batch is used                  | the receipt                | the batch is known                             |
| the replaced batch is removed      | that its cancel was seen   | both batches are known                         |

`nothing_accepted` judges a failed create. If certainly no batch was created, the record is restored and the error is
raised. Otherwise the intent stays in the record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec

from airflow_batches.api.cancellation import cancel_if_running
from airflow_batches.api.errors import ApiError, BatchesError, DecodeError, TransportError
from airflow_batches.api.retry import NOTHING_ACCEPTED
from airflow_batches.submission.body import RequestsBody
from airflow_batches.submission.decision import Attempt, Send
from airflow_batches.submission.errors import SubmitKilled, Superseded
from airflow_batches.submission.listing import CLOCK_SPREAD, FENCE_SPAN, api_now, list_fence
from airflow_batches.submission.record import Intent, Record, RecordStore
from airflow_batches.submission.settlement import LIST_LAG

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, MessageBatch
    from airflow_batches.submission.scan import Scan
    from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

SETTLE_FOR: Final = timedelta(minutes=15)
"""How long after a create without an answer a batch may still appear. Chosen: the read timeout (10 minutes) and half as
much. A process that is suspended between the intent and the last piece of the body sends that piece when it continues.
That is safe only if the server has closed the idle connection by then."""
ACCEPTED_WITHIN: Final = timedelta(minutes=2)
"""How long after the last piece of its body a batch is usually created at the latest. Chosen: recorded creates took
less than a second. A later batch with the same custom_ids more likely belongs to the next run, so a person decides."""
UNCLEAR_STATUSES: Final = frozenset({408, 409, 425})
"""Statuses below 500 after which a create may have taken effect. Chosen: none of them excludes it."""


def nothing_accepted(error: BatchesError) -> bool:
    """Whether a failed create certainly made no batch.

    | failure                                                             | certain |
    |---------------------------------------------------------------------|---------|
    | no answer, and the socket had not taken the whole body              | yes     |
    | no answer after that                                                | no      |
    | the API's own 429, 529, and 4xx other than `UNCLEAR_STATUSES`       | yes     |
    | the API's own `UNCLEAR_STATUSES`, and 5xx other than 529            | no      |
    | another server's 3xx, or 413 for the size                           | yes     |
    | any other answer of another server: it may hide the API's           | no      |
    | 200 with a body that is not a batch                                 | no      |
    | the source failed or changed, or the task was killed, mid-body      | yes     |
    """
    if isinstance(error, TransportError):
        return not error.maybe_sent
    if isinstance(error, ApiError):
        if not error.from_api:
            return 300 <= error.status < 400 or error.status == 413
        return error.status in NOTHING_ACCEPTED or (error.status < 500 and error.status not in UNCLEAR_STATUSES)
    return not isinstance(error, DecodeError)


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Creates the batch of one source and updates the task's record at each step.

    The fields are parameters of `submit.submit`.
    """

    client: BatchesClient
    source: Source
    scan: Scan
    records: RecordStore
    model: str | None
    attempt: Attempt
    settle_for: timedelta
    killed: Callable[[], bool]
    on_created: Callable[[str], None]

    def send(self, record: Record, step: Send) -> tuple[Record, BatchesError | None]:
        """Create the batch.

        :param record: the task's record.
        :param step: the decision to send.
        :return: the record afterwards; and the error, when it is unknown whether a batch was created.
        :raises BatchesError: when certainly none was created.
        """
        if step.warning:
            logger.warning(step.warning)
        claimed = self.records.write(record.replace(claim=uuid4().hex))
        intents: list[Intent] = []  # one for each attempt of the client
        body = RequestsBody(
            self.source, self.scan, model=self.model, each_block=self._stop_if_killed,
            before_last=lambda: intents.append(self._intend(claimed, step.replaces)),
        )  # fmt: skip
        try:
            batch = self.client.create_streamed(body)
        except BatchesError as error:
            if not intents or nothing_accepted(error):
                self.records.write(claimed)
                raise
            return self._unanswered(claimed, intents[-1], error), error
        self.on_created(batch.id)
        sent = self.scan.sent
        logger.info("Submitted %s requests, %s bytes: %s", f"{sent.requests:,}", f"{sent.bytes:,}", batch.id)
        return self._store_receipt(claimed, intents[-1], batch), None

    def _intend(self, claimed: Record, replaces: str | None) -> Intent:
        # Only a search needs the batches that existed before. Other settings work with a key that may not list.
        listed = list_fence(self.client) if self.attempt.on_uncertain == "reconcile" else ()
        own = (*claimed.replaced, *([claimed.receipt.batch_id] if claimed.receipt else []))
        now = api_now(self.client)
        intent = Intent(
            sent=self.scan.sent,
            sent_at=now,
            since=now - FENCE_SPAN,
            certain_from=now - CLOCK_SPREAD,
            certain_until=now + ACCEPTED_WITHIN,
            before=(*listed, *own),
            until=now + self.settle_for,
            generation=self.attempt.generation,
            replaces=replaces,
        )
        self.records.write(claimed.replace(intent=intent))
        return intent

    def _unanswered(self, claimed: Record, intent: Intent, error: BatchesError) -> Record:
        logger.warning(
            "It is not known whether the create of %s requests was accepted: %s", f"{self.scan.sent.requests:,}", error
        )
        if isinstance(error, ApiError) and error.from_api:
            # The API answered, so the create is no longer in progress.
            until = min(intent.until, api_now(self.client) + LIST_LAG)
            intent = msgspec.structs.replace(intent, until=until)
        try:
            return self.records.write(claimed.replace(intent=intent, unanswered=claimed.unanswered + 1))
        except Superseded:
            # Not chained: the message of the first error is that nothing was sent.
            raise Superseded(
                "whether a batch came of this try's create is unknown, and the other try searches for it"
            ) from None

    def _store_receipt(self, claimed: Record, intent: Intent, batch: MessageBatch) -> Record:
        try:
            return self.records.write(claimed.with_batch(intent, batch))
        except Superseded:
            raise Superseded(
                f"batch {batch.id}, which this try created, is left as it is. If the other try has another batch, "
                "cancel this one: it is billed"
            ) from None

    def _stop_if_killed(self) -> None:
        if self.killed():
            raise SubmitKilled("nothing was sent")


def cancel_replaced(client: BatchesClient, records: RecordStore, record: Record) -> Record:
    """Cancel the batches that the record's batch has replaced.

    A batch that cannot be canceled now stays in the record for the next try, and is logged as an error.

    :return: the record without the batches that are canceled or have ended.
    :raises Superseded: when another try has written the record.
    """
    left = []
    for batch_id in record.replaced:
        if not records.is_current():
            raise Superseded(f"batch {batch_id} is left to it")
        try:
            cancel_if_running(client, batch_id, reason="another batch has replaced it")
        except BatchesError as error:
            logger.error("Batch %s was replaced, may still run, and is billed: %s", batch_id, error)
            left.append(batch_id)
    return record if len(left) == len(record.replaced) else records.write(record.replace(replaced=tuple(left)))
