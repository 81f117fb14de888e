"""Which batches may have come of a create whose answer was lost: what is listed, and whose ids the results carry."""

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
from airflow_batches.api.retry import KNOWN
from airflow_batches.submission.decision import Candidate, is_canceled, is_certain, is_useless
from airflow_batches.submission.record import Intent

READ_BYTES: Final = 1 << 20
"""Bytes of results read at once: larger reads were not faster."""
CLOCK_SPREAD: Final = timedelta(seconds=5)
"""How far two times that the API gives may be from their order. `Date` has whole seconds, some servers round
`created_at` to seconds, and hosts that keep time by NTP differ by less than one."""
FENCE_PAGE: Final = 100
"""Batches listed at once before a create: more than a workspace creates in `CLOCK_SPREAD`, and a small answer."""
EPOCH: Final = datetime.fromtimestamp(0, UTC)


def list_fence(client: BatchesClient) -> tuple[str, ...]:
    """Return the ids of the batches that exist now and are so young that their times alone do not tell it."""
    return tuple(batch.id for batch in _since(client, api_now(client) - CLOCK_SPREAD, limit=FENCE_PAGE))


class Candidates:
    """Lists candidates as often as asked. Results that have been read are not read again."""

    def __init__(self, client: BatchesClient, known: Callable[[], Collection[str]]) -> None:
        self._client = client
        self._known = known
        self._digests: dict[str, str] = {}

    def of(self, intent: Intent) -> list[Candidate]:
        """Return the batches that may be the intent's: those that run, then those that have ended, each newest first.

        Results are read only where a decision can follow from them: while a batch created right after the create runs,
        only those that run are returned; while another one runs, those that have ended and were created at another
        time are left out.
        Raises what the client raises: a list that could not be read is not an empty one.
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
            # A batch of no use would be replaced if it were ours, so it need not be told whose it is.
            useless = is_useless(batch) or is_canceled(batch)
            if batch.id not in intent.before and _may_have(batch, intent.sent.requests) and not useless:
                yield batch

    def _digest(self, batch: MessageBatch) -> str:
        if batch.id not in self._digests:
            self._digests[batch.id] = result_ids_digest(self._client, batch)
        return self._digests[batch.id]


def find_listed(client: BatchesClient, batch_id: str, created_at: datetime) -> MessageBatch | None:
    """Return the batch as the list shows it, if it does."""
    return next((batch for batch in _since(client, created_at - CLOCK_SPREAD) if batch.id == batch_id), None)


def api_now(client: BatchesClient) -> datetime:
    """Return the time by the API's clock, which dates the batches. Asks the API if it has not answered yet.

    :raises DecodeError: when no answer carries a time.
    """
    if client.api_time() is None:
        try:
            client.check()
        except ApiError:
            # A refusal is dated as well.
            if client.api_time() is None:
                raise
    if (now := client.api_time()) is None:
        raise DecodeError(f"{client.base_url} sends no Date header, so it is unknown when a batch was created")
    return now


def result_ids_digest(client: BatchesClient, batch: MessageBatch) -> str:
    """Return the digest of the ids that a batch's results carry.

    :raises StreamInterrupted: unless all of them came.
    """
    decoder = msgspec.json.Decoder(_Result)
    digest = IdsDigest()
    lines = 0
    try:
        with client.open_results(batch.id, retry=KNOWN) as response:
            for line in split_lines(response.iter_content(READ_BYTES)):
                digest.update((decoder.decode(line).custom_id,))
                lines += 1
    # Not UTF-8 in a name is a UnicodeDecodeError, brackets by the thousand a RecursionError.
    except (requests.RequestException, msgspec.MsgspecError, ValueError, RecursionError) as exc:
        kind = type(exc).__name__
        raise StreamInterrupted(f"the results of {batch.id} broke off ({kind})", lines_read=lines) from exc
    if batch.request_counts.known and batch.request_counts.total not in {lines, 0}:
        raise StreamInterrupted(f"the results of {batch.id} are not complete", lines_read=lines)
    return digest.hexdigest()


class _Result(msgspec.Struct):
    custom_id: str


def _since(client: BatchesClient, since: datetime, *, limit: int = MAX_PAGE) -> Iterator[MessageBatch]:
    """Yield batches created then or later, newest first. One without a time may be of any.

    :raises DecodeError: when a batch cannot be read, for it may be the one that is looked for, or when no batch of a
        page has a time, for then the list has no end.
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
    """Whether a batch may hold so many requests. Counts that are unknown, or all 0, say nothing."""
    counts = batch.request_counts
    return not counts.known or counts.total in {requests, 0}
