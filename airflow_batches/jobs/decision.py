"""Decide what a job does next, from its ledger and what is known of its batches.

Pure: ledger, view, time and limits are arguments. The first line of the table that applies is the next step:

| state of the job                                                  | next                                            |
|-------------------------------------------------------------------|-------------------------------------------------|
| no ledger                                                         | plan: requests to shards, checked and counted   |
| published                                                         | finish                                          |
| publishing                                                        | publish                                         |
| a create has no answer, and it is time to search                  | settle it: adopt its batch, or learn that there |
|                                                                   | is none                                         |
| batches under way that were not looked at                         | look at them                                    |
| a batch has ended                                                 | land it                                         |
| a batch is missing or archived                                    | stop; or give it up, if the user says so        |
| a cancel is requested: a batch was seen running                   | cancel it, until the API confirms that          |
| a cancel is requested: batches under way, or a create unanswered  | wait                                            |
| a cancel is requested: all else                                   | end as canceled                                 |
| lines failed for lack of credit or permission                     | stop                                            |
| the canary has landed, and failed too often                       | stop                                            |
| a shard is unsent, no create unanswered, room in the queue, money | submit it; the canary, or what warms the cache, |
|                                                                   | alone first                                     |
| batches under way, or a create unanswered                         | wait                                            |
| a shard is unsent, and the API's queue is full                    | wait                                            |
| a shard is unsent, no money                                       | stop, with the numbers                          |
| failures that another round can help, rounds and money left       | plan the next round from them                   |
| all else                                                          | publish                                         |

A stop is not final: the next run decides again, with its own limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Final, Literal

from airflow_batches.api.error_messages import commonest
from airflow_batches.jobs.ledger import (
    INVALID_OUTPUT,
    PUBLISHED,
    PUBLISHING,
    JobBatch,
    JobLedger,
    LandedBatch,
    PlannedShard,
)
from airflow_batches.jobs.money import affordable, over_budget, spending
from airflow_batches.jobs.steps import (
    CancelBatch,
    EndCanceled,
    FinishJob,
    GiveUpBatch,
    JobStep,
    LandBatch,
    LookAtBatches,
    Pause,
    PlanJob,
    PlanRound,
    PublishJob,
    SettleCreate,
    StopJob,
    SubmitShard,
)

OnMissing = Literal["fail", "resubmit"]
"""When a batch no longer exists: stop; or give it up and send its requests again, which may bill twice."""
OnUnsettled = Literal["fail", "resubmit"]
"""When no search can tell whether a create made a batch: stop; or send again, which may bill twice."""


class BatchState(Enum):
    """How a batch under way was seen."""

    RUNNING = "running"
    CANCELING = "canceling"
    ENDED = "ended"
    ARCHIVED = "archived"
    """Its results were deleted, 29 days after its creation."""
    MISSING = "missing"
    """The API has answered for as long as `FRESH_404` that it does not exist."""


GONE: Final = frozenset({BatchState.ARCHIVED, BatchState.MISSING})


@dataclass(frozen=True, kw_only=True)
class JobLimits:
    """What a run of the job may do. A later run may have others.

    :param max_cost_usd: the cap for the whole job; None: no cap.
    :param max_queued: most requests under way; None: as many as the API takes.
    :param max_failure_rate: a canary with a higher share of failures stops the job; None: any may fail.
    :param rounds: how often a request is sent at most.
    :param on_missing: what to do when a batch no longer exists.
    :param on_unsettled: what to do when no search can tell whether a create made a batch.
    :param poll_interval: seconds between two looks at the batches.
    """

    max_cost_usd: Decimal | None = None
    max_queued: int | None = None
    max_failure_rate: float | None = 0.05
    rounds: int = 3
    on_missing: OnMissing = "fail"
    on_unsettled: OnUnsettled = "fail"
    poll_interval: float = 60.0


@dataclass(frozen=True, kw_only=True)
class JobView:
    """What is known beside the ledger.

    :param batches: batches under way, as they were last seen.
    :param queue_full_until: the API's queue was full; no create before this time.
    :param settle_at: the next search for an unanswered create; None: now.
    """

    batches: Mapping[str, BatchState] = field(default_factory=dict)
    queue_full_until: datetime | None = None
    settle_at: datetime | None = None


def decide(ledger: JobLedger | None, view: JobView, now: datetime, limits: JobLimits) -> JobStep:
    """Apply the table.

    :param ledger: the job's ledger; None: there is none yet.
    :param view: what is known beside it.
    :param now: the runner's time.
    :param limits: those of this run.
    """
    if ledger is None:
        return PlanJob()
    if ledger.state == PUBLISHED:
        return FinishJob()
    if ledger.state == PUBLISHING:
        return PublishJob()
    if ledger.pending and (view.settle_at is None or view.settle_at <= now):
        return SettleCreate()
    return (
        _batches(ledger, view, limits)
        or (_canceling(ledger, view, now, limits) if ledger.cancel_requested else None)
        or _trouble(ledger, limits)
        or _sending(ledger, view, now, limits)
        or (PlanRound() if _another_round(ledger, limits) else PublishJob())
    )


def _batches(ledger: JobLedger, view: JobView, limits: JobLimits) -> JobStep | None:
    """Decide for the batches under way."""
    if any(batch.id not in view.batches for batch in ledger.live):
        return LookAtBatches()
    for batch in ledger.live:
        if view.batches[batch.id] is BatchState.ENDED:
            return LandBatch(batch.id)
    for batch in ledger.live:
        if (state := view.batches[batch.id]) in GONE:
            return _gone(ledger, batch, state, limits)
    return None


def _gone(ledger: JobLedger, batch: JobBatch, state: BatchState, limits: JobLimits) -> JobStep:
    requests = ledger.shards[batch.shard].requests
    what = "was archived before it landed" if state is BatchState.ARCHIVED else "does not exist for this key any more"
    if limits.on_missing == "resubmit" or ledger.cancel_requested:
        return GiveUpBatch(batch.id, what)
    return StopJob(
        "missing",
        f"Batch {batch.id} ({requests:,} requests) {what}. Its answers are lost and may be billed; nothing was sent "
        "again. If the key belongs to another workspace than before, use the earlier key. To send its requests again, "
        "and pay for them again: on_missing='resubmit'",
    )


def _canceling(ledger: JobLedger, view: JobView, now: datetime, limits: JobLimits) -> JobStep:
    for batch in ledger.live:
        if view.batches[batch.id] is BatchState.RUNNING:
            return CancelBatch(batch.id)
    if ledger.live or ledger.pending:
        return _pause(ledger, view, now, limits, "canceled batches end")
    return EndCanceled()


def _trouble(ledger: JobLedger, limits: JobLimits) -> StopJob | None:
    """Decide whether what has landed stops the job."""
    lines = sum(landed.no_credit for _, landed in ledger.landed if not landed.forgiven)
    if lines:
        return StopJob(
            "credit",
            f"{lines:,} requests failed because the account has no credit or the key no permission. Nothing more is "
            f"sent; {len(ledger.live)} batches are under way. Add credit, then run the job again: it goes on where "
            "it stopped",
        )
    for batch, landed in ledger.landed:
        if ledger.shards[batch.shard].canary and ledger.round_of(batch) == 1 and ledger.unsent:
            return _canary(landed, limits)
    return None


def _canary(landed: LandedBatch, limits: JobLimits) -> StopJob | None:
    allowed = limits.max_failure_rate
    failures = landed.failures - (landed.no_credit if landed.forgiven else 0) - landed.again.get("canceled", 0)
    if allowed is None or failures <= allowed * landed.lines:
        return None
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in {**landed.counts, **landed.error_types}.items())
    errors = f"{commonest(landed.error_messages)}. " if landed.error_messages else ""
    lines = landed.results if INVALID_OUTPUT in landed.counts else landed.failed
    return StopJob(
        "canary",
        f"The canary failed: {landed.failures:,} of its {landed.lines:,} requests have no answer ({kinds}), and "
        f"max_failure_rate is {allowed:.0%}. {errors}The other requests were not sent. See the failures in _job/"
        f"{lines}; repair the requests and use another folder, or run again with a higher max_failure_rate",
    )


def _sending(ledger: JobLedger, view: JobView, now: datetime, limits: JobLimits) -> JobStep | None:
    shard = next(iter(ledger.unsent), None)
    full = view.queue_full_until is not None and view.queue_full_until > now
    money = affordable(ledger, shard, limits.max_cost_usd) if shard else "yes"
    if shard and not ledger.pending and not full and money == "yes" and _has_room(ledger, shard, limits):
        return SubmitShard(shard.number)
    if ledger.live or ledger.pending:
        return _pause(ledger, view, now, limits, "batches end")
    if shard and money != "yes":
        return StopJob("budget", over_budget(ledger, limits.max_cost_usd))
    if shard and view.queue_full_until is not None:
        return Pause(view.queue_full_until, "the API's queue has room")
    return None


def _has_room(ledger: JobLedger, shard: PlannedShard, limits: JobLimits) -> bool:
    """Whether the queue has room for a shard by our own limit, and none that is sent alone is under way."""
    live = [ledger.shards[batch.shard] for batch in ledger.live]
    if any(other.alone for other in live):
        return False
    queued = sum(other.requests for other in live)
    return limits.max_queued is None or not queued or queued + shard.requests <= limits.max_queued


def _pause(ledger: JobLedger, view: JobView, now: datetime, limits: JobLimits, reason: str) -> Pause:
    others: list[datetime] = []
    if ledger.pending and view.settle_at:
        others.append(view.settle_at)
    if ledger.unsent and view.queue_full_until and view.queue_full_until > now:
        others.append(view.queue_full_until)
    until = min([now + timedelta(seconds=limits.poll_interval), *others])
    return Pause(until, reason, for_batches=not others)


def _another_round(ledger: JobLedger, limits: JobLimits) -> bool:
    failed = sum(landed.retryable for batch, landed in ledger.landed if ledger.round_of(batch) == ledger.rounds)
    # A round that repeats what had no credit, or what was canceled with its task, does not count.
    extra = {ledger.round_of(batch) for batch, each in ledger.landed if each.forgiven or each.again.get("canceled")}
    if not failed or ledger.rounds >= limits.rounds + len(extra):
        return False
    money, cap = spending(ledger), limits.max_cost_usd
    # What is answered is published rather than held back because a few failures cannot be paid for.
    return cap is None or money.spent is None or money.mean is None or money.spent + money.mean * failed <= cap
