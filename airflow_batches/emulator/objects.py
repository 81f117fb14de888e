"""The API's JSON except for result lines, with keys in wire order (recorded live).

A poller requests pages of a thousand batches, most of them unchanged. So each object is encoded once and cached by
everything that it depends on.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from airflow_batches.emulator.clock import timestamp
from airflow_batches.emulator.lifecycle import Counts, Record, Status, counts_before_end
from airflow_batches.emulator.paging import Page, page_json
from airflow_batches.emulator.store import Store


def batch_object(record: Record, store: Store, now: int, base: str) -> bytes:
    """Return the batch object at `now`; `base` is that of its results_url."""
    status = record.status(now)
    if status == "ended":
        counts = record.final
    elif record.incremental:
        counts = counts_before_end(record, store.lines(record), now)
    else:
        counts = Counts(processing=record.total)
    return _encoded(
        record.id,
        status,
        counts,
        record.ends_at if status == "ended" else None,
        record.created_at,
        record.expires_at,
        record.archive_at if record.archived(now) else None,
        record.cancel_at,
        f"{base}/v1/messages/batches/{record.id}/results" if status == "ended" else None,
    )


def page_object(page: Page[Record], store: Store, now: int, base: str) -> bytes:
    batches = [batch_object(record, store, now, base) for record in page.items]
    return page_json(batches, [record.id for record in page.items], has_more=page.has_more)


def deletion_object(batch_id: str) -> bytes:
    return msgspec.json.encode({"id": batch_id, "type": "message_batch_deleted"})


@lru_cache(maxsize=16_384)  # chosen: sixteen pages of the largest size
def _encoded(
    batch_id: str,
    status: Status,
    counts: Counts,
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
