"""Find the batches that a create without an answer may have made.

They are in the API's list, and their results hold the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import requests

from airflow_batches.api import ApiError, BatchesClient, DecodeError, MessageBatch, ProcessingStatus, StreamInterrupted
from airflow_batches.api.digest import IdsDigest
from airflow_batches.api.jsonl import split_lines
from airflow_batches.api.limits import MAX_PAGE
from airflow_batches.api.retry import RETRY_404
from airflow_batches.submission.decision import Candidate, is_canceled, is_certain, is_useless
from airflow_batches.submission.record import Intent

READ_BYTES: Final = 1 << 20
"""Bytes of results read at once. Measured: larger reads were not faster."""
CLOCK_SPREAD: Final = timedelta(seconds=5)
"""How much two times from the API may contradict the order of events. Chosen: `Date` has whole seconds, some servers
round `created_at` to seconds, and hosts with NTP differ by less than a second."""
FENCE_SPAN: Final = timedelta(seconds=60)
"""How far the API's `Date` may be ahead of `created_at` before a batch of ours would be missed. Chosen: twelve times
`CLOCK_SPREAD`. A batch that is older than `CLOCK_SPREAD` by its time and was not listed before goes to a person."""
FENCE_PAGE: Final = 100
"""Batches on one page of the list before a create. Chosen: more than most workspaces create within `FENCE_SPAN`, and a
small answer."""
EPOCH: Final = datetime.fromtimestamp(0, UTC)


def list_fence(client: BatchesClient) -> tuple[str, ...]:
    """Return the ids of existing batches that are too new to be excluded by their time."""
    return tuple(batch.id for batch in _since(client, api_now(client) - FENCE_SPAN, limit=FENCE_PAGE))


class Candidates:
    """Lists the candidates for an intent. The results of a batch are read only once.

    :param client: the API.
    :param known: returns the ids of batches that records of other tasks name.
    """

    def __init__(self, client: BatchesClient, known: Callable[[], Collection[str]]) -> None:
        self._client = client
        self._known = known
        self._digests: dict[str, str] = {}

    def of(self, intent: Intent) -> list[Candidate]:
        """Return the batches that may be the intent's: running, then ended; each newest first.

        Results are read only if the decision depends on them. While a batch created right after the create runs, only
        running batches are returned. While another candidate runs, batches that ended and were created at another time
        are left out.

        :raises BatchesError: what the client raises: a list that could not be read is not an empty one.
        """
        found = [*self._listed(intent)]
        known = {*self._known()} if found else set()
        found = [batch for batch in found if batch.id not in known]
        running = [batch for batch in found if batch.processing_status is not ProcessingStatus.ENDED]
        if any(is_certain(intent, batch) for batch in running):
            return [Candidate(batch) for batch in running]
        ended = [batch for batch in found if batch not in running and (not running or is_certain(intent, batch))]
        return [*map(Candidate, running), *(Candidate(batch, self._digest(batch)) for batch in ended)]

    def _listed(self, intent: Intent) -> Iterator[MessageBatch]:
        for batch in _since(self._client, intent.since):
            if batch.created_at is not None and batch.created_at > intent.until + CLOCK_SPREAD:
                continue
            # A useless or canceled batch would be replaced even if it were ours, so its owner does not matter.
            useless = is_useless(batch) or is_canceled(batch)
            if batch.id not in intent.before and _may_have(batch, intent.sent.requests) and not useless:
                yield batch

    def _digest(self, batch: MessageBatch) -> str:
        if batch.id not in self._digests:
            self._digests[batch.id] = result_ids_digest(self._client, batch)
        return self._digests[batch.id]


def find_listed(client: BatchesClient, batch_id: str, created_at: datetime) -> MessageBatch | None:
    """Return a batch as it is in the list; None if it is not there."""
    return next((batch for batch in _since(client, created_at - CLOCK_SPREAD) if batch.id == batch_id), None)


def api_now(client: BatchesClient) -> datetime:
    """Return the time by the API's clock, which dates the batches.

    Calls the API if there is no answer yet.

    :raises DecodeError: when its answer has no time.
    """
    if client.api_time() is None:
        try:
            client.check()
        except ApiError:
            # An error of the API has a time too.
            if client.api_time() is None:
                raise
    if (now := client.api_time()) is None:
        raise DecodeError(f"{client.base_url} sends no Date header, so it is unknown when a batch was created")
    return now


def result_ids_digest(client: BatchesClient, batch: MessageBatch) -> str:
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


def _since(client: BatchesClient, since: datetime, *, limit: int = MAX_PAGE) -> Iterator[MessageBatch]:
    """Yield the batches created at or after a time, newest first, and those without a time.

    :raises DecodeError: when a batch cannot be read, because it may be the one in question. Also when no batch of a
        page has a time, because then the whole list would be read.
    """
    cursor: str | None = None
    while True:
        page = client.list(limit=limit, after_id=cursor)
        cursor = page.next_after
        if page.unreadable:
            raise DecodeError(f"{page.unreadable:,} batches of the list cannot be read")
        if cursor is not None and not any(batch.created_at for batch in page.data):
            raise DecodeError(f"no batch of the list has a created_at that can be read, from {page.data[0].id} on")
        for batch in page.data:
            if batch.created_at is not None and batch.created_at < since:
                return
            yield batch
        if cursor is None or not page.data:
            return


def _may_have(batch: MessageBatch, requests: int) -> bool:
    """Whether a batch may hold this number of requests. Counts that are unknown, or all 0, exclude nothing."""
    counts = batch.request_counts
    return not counts.known or counts.total in {requests, 0}
