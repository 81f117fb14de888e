"""Batches that may have come of an intent: what the API lists, and whose ids the results carry."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import requests

from airflow_batches.api import BatchesClient, MessageBatch, ProcessingStatus, StreamInterrupted
from airflow_batches.api.digest import IdsDigest
from airflow_batches.api.jsonl import split_lines
from airflow_batches.api.retry import KNOWN
from airflow_batches.submission.decision import Candidate, is_useless
from airflow_batches.submission.receipt import Intent

READ_BYTES: Final = 1 << 20
SLACK: Final = timedelta(seconds=2)
"""How far the times of two batches may deviate from their order; a server may round them to seconds."""
EPOCH: Final = datetime.fromtimestamp(0, UTC)


class _Result(msgspec.Struct):
    custom_id: str


class Candidates:
    """Looks, as often as asked; results that have been read are not read again."""

    def __init__(self, client: BatchesClient) -> None:
        self._client = client
        self._digests: dict[str, str] = {}

    def of(self, intent: Intent, *, known: Collection[str]) -> list[Candidate]:
        """Batches created in the intent's time with as many requests, newest first, that `known` does not name.

        While some go on, only those are given: they must be waited for before anything can be decided. Raises what
        the client raises: a list that could not be had is not an empty one.
        """
        found = [batch for batch in self._listed(intent) if batch.id not in known]
        running = [Candidate(batch) for batch in found if batch.processing_status is not ProcessingStatus.ENDED]
        return running or [Candidate(batch, self._digest(batch)) for batch in found]

    def _listed(self, intent: Intent) -> Iterator[MessageBatch]:
        for batch in _since(self._client, intent.since):
            if batch.created_at is None or batch.created_at > intent.until:
                continue
            # One that is of no use would be replaced if it were ours, so it need not be told whose it is.
            if batch.request_counts.total in {intent.requests, 0} and not is_useless(batch):
                yield batch

    def _digest(self, batch: MessageBatch) -> str:
        if batch.id not in self._digests:
            self._digests[batch.id] = result_ids_digest(self._client, batch)
        return self._digests[batch.id]


def listed(client: BatchesClient, batch_id: str, since: datetime) -> MessageBatch | None:
    """The batch as the list shows it, if it does; created at `since` or later."""
    return next((batch for batch in _since(client, since) if batch.id == batch_id), None)


def _since(client: BatchesClient, since: datetime) -> Iterator[MessageBatch]:
    """Batches created then or later, newest first."""
    for batch in client.list_all():
        if batch.created_at is not None and batch.created_at < since - SLACK:
            return
        yield batch


def api_now(client: BatchesClient) -> datetime:
    """The time by the API's clock, which dates the batches."""
    return datetime.now(UTC) + client.clock_ahead


def newest(client: BatchesClient) -> datetime:
    """When the newest batch was created, by the API's clock: what is created from now on is no older."""
    page = client.list(limit=1)
    return page.data[0].created_at or EPOCH if page.data else EPOCH


def result_ids_digest(client: BatchesClient, batch: MessageBatch) -> str:
    """The digest of the ids that a batch's results carry. Raises `StreamInterrupted` unless all of them came."""
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
    if batch.request_counts.total not in {lines, 0}:
        raise StreamInterrupted(f"the results of {batch.id} are not complete", lines_read=lines)
    return digest.hexdigest()
