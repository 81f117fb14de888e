"""The POST of one source, and what is known after it.

| before the POST                         | record        | a death there                                        |
|-----------------------------------------|---------------|------------------------------------------------------|
| a claim, against a try that overlaps    | `Begun`       | nothing was sent                                     |
| all of the body has been sent but its   | `Intent`      | a batch may come of it until `LATEST` has passed     |
| last piece                              |               |                                                      |
| the answer                              | `Submitted`   | the batch is known                                   |

What a POST that failed means is `nothing_accepted`: where that is certain, the record says "begun" again and the error
leaves; where it is not, the intent stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import msgspec

from airflow_batches.api.cancellation import cancel_if_running
from airflow_batches.api.errors import ApiError, BatchesError, DecodeError, TransportError
from airflow_batches.api.retry import NOTHING_ACCEPTED
from airflow_batches.submission.body import RequestsBody
from airflow_batches.submission.decision import CLOCK_SKEW, SETTLE, OnUncertain, Send
from airflow_batches.submission.errors import SubmitKilled, Superseded, UncertainSubmit
from airflow_batches.submission.receipt import Begun, Intent, Memory, Receipt, Submitted
from airflow_batches.submission.reconcile import EPOCH, api_now, newest

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient, MessageBatch
    from airflow_batches.submission.scan import Scan
    from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

LATEST: Final = timedelta(minutes=15)
"""How long after an intent that nobody answered its batch may still come into being: the read timeout, and some."""
POSTS: Final = 3
"""How often one call sends at most: again only after a search has found that nothing came of the one before."""
UNCLEAR_STATUSES: Final = frozenset({408, 409, 425})
"""Statuses below 500 that do not say whether a create took effect."""


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


class Outbox:
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
        on_created: Callable[[str], None],
        on_uncertain: OnUncertain,
    ) -> None:
        self._client = client
        self._source = source
        self._scan = weighed
        self._memory = memory
        self._model = model
        self._killed = killed
        self._on_created = on_created
        self._fenced = on_uncertain == "reconcile"
        self._posts_left = 1 if on_uncertain == "resubmit" else POSTS
        self._fence = EPOCH
        self._intent: Intent | None = None
        self._failure: BatchesError = UncertainSubmit("nothing was sent")

    def send(self, step: Send) -> Submitted | Intent:
        """What is known after the POST: the batch, or only that there may be one. Raises where there is none.

        A POST too many is left to the task's next try: `resubmit` never pays twice within one.
        """
        if not self._posts_left:
            raise self._failure
        self._posts_left -= 1
        if step.warning:
            logger.warning(step.warning)
        if step.cancel_first is not None:
            cancel_if_running(self._client, step.cancel_first, reason="its requests have changed")
        return self._post()

    def _post(self) -> Submitted | Intent:
        self._intent = None
        # Whoever never looks for a batch need not be allowed to list them.
        self._fence = newest(self._client) if self._fenced else api_now(self._client) - CLOCK_SKEW
        self._memory.write(Begun(claim=uuid4().hex))
        try:
            batch = self._client.create_streamed(self._body())
        except BatchesError as error:
            if self._intent is not None and not nothing_accepted(error):
                return self._uncertain(self._intent, error)
            self._memory.write(Begun())
            raise
        self._on_created(batch.id)
        logger.info("Submitted %s requests, %s bytes: %s", f"{self._scan.requests:,}", f"{self._scan.size:,}", batch.id)
        return self._remembered(batch)

    def _uncertain(self, intent: Intent, error: BatchesError) -> Intent:
        logger.warning("Nobody knows whether the batch was accepted: %s", error)
        self._failure = error
        if isinstance(error, TransportError):
            return intent
        # It was answered, so that nothing is under way any more.
        return msgspec.structs.replace(intent, until=min(intent.until, api_now(self._client) + SETTLE))

    def _remembered(self, batch: MessageBatch) -> Submitted:
        record = Submitted(receipt=Receipt.of(self._scan, batch, source=self._source.name))
        try:
            self._memory.write(record)
        except Superseded as error:
            if isinstance(self._memory.read(), Intent):
                raise Superseded(f"it looks for batch {batch.id} of this one") from error
            cancel_if_running(self._client, batch.id, reason="another try has submitted the same since")
            raise Superseded(f"batch {batch.id} of this one was canceled") from error
        return record

    def _body(self) -> RequestsBody:
        return RequestsBody(
            self._source, self._scan, model=self._model, each_block=self._stop_if_killed, before_last=self._intend
        )

    def _intend(self) -> None:
        until = max(self._fence, api_now(self._client)) + LATEST
        self._intent = Intent.of(self._scan, since=self._fence, until=until)
        self._memory.write(self._intent)

    def _stop_if_killed(self) -> None:
        if self._killed():
            raise SubmitKilled("nothing was sent")
