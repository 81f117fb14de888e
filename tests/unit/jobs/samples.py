"""Ledgers and their parts for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from airflow_batches.jobs.ledger import JobBatch, JobLedger, JobPlan, LandedBatch, PendingCreate, PlannedShard
from airflow_batches.submission.receipt import Sent
from airflow_batches.submission.record import Intent

NOW: Final = datetime(2026, 11, 29, 12, tzinfo=UTC)


def shard(number: int, **values: Any) -> PlannedShard:
    """A planned shard of ten requests."""
    some: dict[str, Any] = {
        "object": "requests-j.jsonl", "start": number * 100, "end": number * 100 + 100, "requests": 10, "bytes": 100,
        "ids_digest": f"{number:032x}", "fingerprint": f"{number:032x}",
    }  # fmt: skip
    return PlannedShard(number=number, **{**some, **values})


def ledger(*shards: PlannedShard, **values: Any) -> JobLedger:
    """A ledger of these shards; two if there are none."""
    shards = shards or (shard(0), shard(1))
    plan = JobPlan(
        job_id="j", created_at=NOW, source="requests", fingerprint="f", requests=sum(each.requests for each in shards)
    )
    return JobLedger(**{"plan": plan, "shards": shards, **values})


def landed(**values: Any) -> LandedBatch:
    """A landed batch of ten answers."""
    some: dict[str, Any] = {
        "results": "landed/b.jsonl", "failed": "landed/b.failed.jsonl", "sha256": "", "lines": 10,
        "counts": {"succeeded": 10}, "cost_usd": Decimal(1), "landed_at": NOW,
    }  # fmt: skip
    return LandedBatch(**{**some, **values})


def batch(number: int, **values: Any) -> JobBatch:
    """The batch of a shard."""
    return JobBatch(**{"id": f"msgbatch_{number}", "shard": number, "created_at": NOW, **values})


def intent(**values: Any) -> Intent:
    """An intent whose batch may appear for a quarter of an hour."""
    sent = Sent(requests=10, bytes=100, sha256="", ids_digest="0" * 32, fingerprint="f")
    some: dict[str, Any] = {
        "sent": sent, "sent_at": NOW, "since": NOW - timedelta(minutes=1), "certain_from": NOW,
        "certain_until": NOW + timedelta(minutes=2), "until": NOW + timedelta(minutes=15),
    }  # fmt: skip
    return Intent(**{**some, **values})


def pending(number: int) -> PendingCreate:
    """A create of this shard without an answer."""
    return PendingCreate(shard=number, runner="r", intent=intent())
