"""The API's JSON except for result lines, with keys in wire order (recorded live).

A poller requests pages of a thousand batches, most of them unchanged. So each object is encoded once and cached by
everything that it depends on.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from airflow_batches.emulator.clock import timestamp
from airflow_batches.emulator.lifecycle import LineCounts, Status, StoredBatch, counts_before_end
from airflow_batches.emulator.paging import Page, page_json
from airflow_batches.emulator.store import Store


def batch_object(batch: StoredBatch, store: Store, now: int, base: str) -> bytes:
    """Return the batch object at `now`; `base` is that of its results_url."""
    status = batch.status(now)
    if status == "ended":
        counts = batch.final
    elif batch.incremental:
        counts = counts_before_end(batch, store.lines(batch), now)
    else:
        counts = LineCounts(processing=batch.total)
    return _encoded(
        batch.id,
        status,
        counts,
        batch.ends_at if status == "ended" else None,
        batch.created_at,
        batch.expires_at,
        batch.archive_at if batch.archived(now) else None,
        batch.cancel_at,
        f"{base}/v1/messages/batches/{batch.id}/results" if status == "ended" else None,
    )


def page_object(page: Page[StoredBatch], store: Store, now: int, base: str) -> bytes:
    batches = [batch_object(batch, store, now, base) for batch in page.items]
    return page_json(batches, [batch.id for batch in page.items], has_more=page.has_more)


def deletion_object(batch_id: str) -> bytes:
    return msgspec.json.encode({"id": batch_id, "type": "message_batch_deleted"})


@lru_cache(maxsize=16_384)  # chosen: sixteen pages of the largest size
def _encoded(
    batch_id: str,
    status: Status,
    counts: LineCounts,
    ended_at: int | None,
    created_at: int,
    expires_at: int,
    archived_at: int | None,
    cancel_initiated_at: int | None,
    results_url: str | None,
) -> bytes:
    return msgspec.json.encode(
        {
            "id": batch_id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts._asdict(),
            "ended_at": _time(ended_at),
            "created_at": _time(created_at),
            "expires_at": _time(expires_at),
            "archived_at": _time(archived_at),
            "cancel_initiated_at": _time(cancel_initiated_at),
            "results_url": results_url,
        }
    )


def _time(at: int | None) -> str | None:
    return None if at is None else timestamp(at)
