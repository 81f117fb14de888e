"""Read the API's clock and its list of batches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow_batches.api import ApiError, BatchesClient, DecodeError, MessageBatch
from airflow_batches.api.limits import MAX_PAGE

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


def batches_since(client: BatchesClient, since: datetime, *, limit: int = MAX_PAGE) -> Iterator[MessageBatch]:
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


def list_fence(client: BatchesClient) -> tuple[str, ...]:
    """Return the ids of existing batches that are too new to be excluded by their time."""
    return tuple(batch.id for batch in batches_since(client, api_now(client) - FENCE_SPAN, limit=FENCE_PAGE))


def find_listed(client: BatchesClient, batch_id: str, created_at: datetime) -> MessageBatch | None:
    """Return a batch as it is in the list; None if it is not there."""
    return next((batch for batch in batches_since(client, created_at - CLOCK_SPREAD) if batch.id == batch_id), None)
