"""Describe how a job stands, in a sentence. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow_batches.api.limits import LIFETIME
from airflow_batches.jobs.events import counts_text, number_of
from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.money import spending, usd
from airflow_batches.waiting.progress import span


def describe(ledger: JobLedger, now: datetime | None = None) -> str:
    """Return the numbers of a job for the log.

    :param ledger: the job's ledger.
    :param now: the time, for the age of the batches under way; None leaves it out.
    """
    live = sum(ledger.shards[batch.shard].requests for batch in ledger.live)
    unsent = sum(shard.requests for shard in ledger.unsent)
    money = spending(ledger)
    parts = [
        f"Round {ledger.rounds}",
        f"{len(ledger.landed):,} of {number_of(len(ledger.shards), 'batch')} landed",
        *([counts_text(ledger.counts())] if ledger.landed else []),
        f"{number_of(live, 'request')} under way{_ages(ledger, now)}",
        *([f"{unsent:,} unsent"] if unsent else []),
        f"{usd(money.spent)} spent, {usd(money.projected)} projected",
    ]
    return ", ".join(parts)


def _ages(ledger: JobLedger, now: datetime | None) -> str:
    """Return the age of the oldest batch, and when it expires."""
    oldest = min((batch.created_at for batch in ledger.live if batch.created_at), default=None)
    if now is None or oldest is None:
        return ""
    return f" (the oldest for {span(now - oldest)}, it expires in {span(oldest + LIFETIME - now)})"


def progress_of(ledger: JobLedger) -> dict[str, Any]:
    """Return the same numbers as plain JSON values, for programs.

    `oldest_batch_at` is when the first batch under way was created: 24 hours later the API ends it.
    """
    money = spending(ledger)
    created = [batch.created_at for batch in ledger.live if batch.created_at is not None]
    return {
        "round": ledger.rounds,
        "batches": len(ledger.shards),
        "landed": len(ledger.landed),
        "counts": dict(ledger.counts()),
        "under_way": sum(ledger.shards[batch.shard].requests for batch in ledger.live),
        "unsent": sum(shard.requests for shard in ledger.unsent),
        "spent_usd": None if money.spent is None else str(money.spent),
        "projected_usd": None if money.projected is None else str(money.projected),
        "canary": any(ledger.shards[batch.shard].canary for batch in ledger.live),
        "oldest_batch_at": min(created).isoformat() if created else None,
    }


def describe_queue(ledger: JobLedger) -> str:
    """Return the numbers of a job that the API takes no more of."""
    queued = sum(ledger.shards[batch.shard].requests for batch in ledger.live)
    unsent = sum(shard.requests for shard in ledger.unsent)
    return f"The API's queue is full: {queued:,} requests of this job are in it, {unsent:,} are unsent"


def describe_canceled(ledger: JobLedger) -> str:
    """Return the numbers of a canceled job."""
    counts = counts_text(ledger.counts()) if ledger.landed else "no request"
    unsent = sum(shard.requests for shard in ledger.unsent)
    return (
        f"The job was canceled: {counts or 'no request'} landed, {unsent:,} requests are unsent. To go on, and send "
        "the canceled requests again: clear the task, or use `airflow-batches run`"
    )
