"""Describe how a job stands, in a sentence. Pure."""

from __future__ import annotations

from typing import Any

from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.money import spending, usd


def describe(ledger: JobLedger) -> str:
    """Return the numbers of a job for the log.

    :param ledger: the job's ledger.
    """
    live = sum(ledger.shards[batch.shard].requests for batch in ledger.live)
    unsent = sum(shard.requests for shard in ledger.unsent)
    money = spending(ledger)
    parts = [
        f"round {ledger.rounds}",
        f"{len(ledger.landed):,} of {len(ledger.shards):,} batches landed",
        *(f"{count:,} {kind}" for kind, count in sorted(ledger.counts().items()) if count),
        f"{live:,} requests under way",
        *([f"{unsent:,} unsent"] if unsent else []),
        f"{usd(money.spent)} spent, {usd(money.projected)} projected",
    ]
    return ", ".join(parts)


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
    counts = ", ".join(f"{count:,} {kind}" for kind, count in ledger.counts().items())
    unsent = sum(shard.requests for shard in ledger.unsent)
    return f"The job was canceled: {counts or 'no request'} landed, {unsent:,} requests are unsent. Use another folder"
