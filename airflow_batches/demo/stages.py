"""The stage that the run of the job is in, from what Airflow and the job's ledger report.

Pure.

    the task                       the ledger                              the stage
    -----------------------------  --------------------------------------  ---------------------
    not running yet                none                                    QUEUED
    runs                           none, or no batch in it                 PLANNED
    any                            the canary alone has been sent          CANARY
    any                            the first round                         OTHERS
    any                            a later round                           AGAIN
    any                            is being published, or is published     PUBLISHED
    failed                         any                                     FAILED
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_batches.jobs.ledger import OPEN, JobLedger
from airflow_batches.jobs.money import usd
from airflow_batches.jobs.progress import last_outcomes

QUEUED: Final = "The scheduler takes up the run"
PLANNED: Final = "The job is planned"
CANARY: Final = "The canary is sent alone"
OTHERS: Final = "The other batches are sent"
AGAIN: Final = "What failed is sent again"
PUBLISHED: Final = "The answers are published"
FAILED: Final = "The run has failed"

DEFERRED: Final = "deferred, no worker slot is held"


@dataclass(frozen=True)
class Observed:
    """What is known of the run: Airflow's state of the task (None before the first), and the job's ledger, if any."""

    task: str | None = None
    ledger: JobLedger | None = None


def stage(seen: Observed) -> str:
    """Return the title of the stage that the run is in."""
    if seen.task in ("failed", "upstream_failed"):
        return FAILED
    if seen.ledger is None:
        return PLANNED if seen.task == "running" else QUEUED
    return _stage_of_job(seen.ledger)


def detail(seen: Observed) -> str:
    """Return what is known of the stage."""
    if seen.ledger is None:
        return ""
    doing = {PLANNED: estimated, PUBLISHED: answered}.get(stage(seen), under_way)
    parts = [*([DEFERRED] if seen.task == "deferred" else []), doing(seen.ledger)]
    return ": ".join(part for part in parts if part)


def estimated(ledger: JobLedger) -> str:
    """Say what was planned, and what it may cost."""
    plan, batches = ledger.plan, sum(shard.round == 1 for shard in ledger.shards)
    return f"{plan.requests:,} requests, {batches:,} batches, estimate: at most {usd(plan.estimate.ceiling_usd)}"


def answered(ledger: JobLedger) -> str:
    """Say what was landed, and what it costs."""
    return f"{last_outcomes(ledger)['succeeded']:,} answers, {usd(ledger.spent_usd)}"


def under_way(ledger: JobLedger) -> str:
    """Say which requests are under way."""
    return ", ".join(f"{ledger.shards[batch.shard].requests:,} in {batch.id}" for batch in ledger.live)


def _stage_of_job(ledger: JobLedger) -> str:
    if ledger.state != OPEN:
        return PUBLISHED
    if not ledger.batches:
        return PLANNED
    if ledger.rounds > 1:
        return AGAIN
    return CANARY if ledger.shards[ledger.batches[-1].shard].canary else OTHERS
