"""Describe how a job stands, in a sentence and in numbers. Pure.

Each request counts once, so the numbers add up to the job's requests:

| a request                                            | counts as                             |
|------------------------------------------------------|---------------------------------------|
| has landed, and was not sent again since             | the outcome of its last line          |
| is in a batch that has not landed                    | under way                             |
| is in a create whose answer is not known             | under way                             |
| waits for its first batch, or for its next one       | unsent                                |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from airflow_batches.api.limits import LIFETIME
from airflow_batches.jobs.events import counts_text, number_of
from airflow_batches.jobs.ledger import INVALID_OUTPUT, SUCCEEDED, JobLedger, LandedBatch
from airflow_batches.jobs.money import spending, usd
from airflow_batches.jobs.rounds import CANCELED, MAX_TOKENS, NO_CREDIT
from airflow_batches.waiting.progress import span

OUTCOMES: Final = {name: name for name in ("expired", CANCELED, INVALID_OUTPUT)} | {MAX_TOKENS: SUCCEEDED}
"""The outcome of a line by the kind for which it is sent again. All other kinds are types of errors."""


def describe(ledger: JobLedger, now: datetime | None = None) -> str:
    """Return the numbers of a job for the log.

    :param ledger: the job's ledger.
    :param now: the time, for the age of the batches under way; None leaves it out.
    """
    unsent = sum(shard.requests for shard in ledger.unsent)
    money = spending(ledger)
    parts = [
        f"Round {ledger.rounds}",
        f"{len(ledger.landed):,} of {number_of(len(ledger.shards), 'batch')} landed",
        *([counts_text(last_outcomes(ledger))] if ledger.landed else []),
        f"{number_of(_under_way(ledger), 'request')} under way{_ages(ledger, now)}",
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

    `counts`, `under_way` and `unsent` hold each request once.
    `oldest_batch_at` is when the first batch under way was created: 24 hours later the API ends it.
    """
    money = spending(ledger)
    created = [batch.created_at for batch in ledger.live if batch.created_at is not None]
    return {
        "round": ledger.rounds,
        "batches": len(ledger.shards),
        "landed": len(ledger.landed),
        "counts": dict(last_outcomes(ledger)),
        "under_way": _under_way(ledger),
        "unsent": sum(shard.requests for shard in ledger.unsent),
        "spent_usd": None if money.spent is None else str(money.spent),
        "projected_usd": None if money.projected is None else str(money.projected),
        "canary": any(ledger.shards[batch.shard].canary for batch in ledger.live),
        "oldest_batch_at": min(created).isoformat() if created else None,
    }


def last_outcomes(ledger: JobLedger) -> Counter[str]:
    """Count the requests that have landed by the outcome of their last line, without those that were sent again."""
    found: Counter[str] = Counter()
    for number in range(1, ledger.rounds + 1):
        landed = [results for batch, results in ledger.landed if ledger.round_of(batch) == number]
        repeated = any(shard.round == number + 1 for shard in ledger.shards)
        counts = _sum(results.counts for results in landed)
        found += counts - _repeated(landed, counts) if repeated else counts
    return found


def _repeated(landed: Sequence[LandedBatch], counts: Counter[str]) -> Counter[str]:
    """Count the lines of a round that the next one sent again, by outcome."""
    again = _sum(results.again for results in landed)
    again[NO_CREDIT] = sum(results.no_credit for results in landed if results.forgiven)
    found: Counter[str] = Counter()
    for kind, number in again.items():
        found[OUTCOMES.get(kind, "errored")] += number
    # Half an answer is rarely of the output type. The ledger does not say how many were.
    invalid = min(found[SUCCEEDED], counts[INVALID_OUTPUT] - found[INVALID_OUTPUT])
    found.update({SUCCEEDED: -invalid, INVALID_OUTPUT: invalid})
    return found


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return found


def _under_way(ledger: JobLedger) -> int:
    """Count the requests that are under way, or may be."""
    shards = {batch.shard for batch in ledger.live} | ({ledger.pending.shard} if ledger.pending else set())
    landed = {batch.shard for batch, _ in ledger.landed}  # `pending` too, if another runner's write was lost
    return sum(ledger.shards[number].requests for number in shards - landed)


def describe_queue(ledger: JobLedger) -> str:
    """Return the numbers of a job that the API takes no more of."""
    queued = sum(ledger.shards[batch.shard].requests for batch in ledger.live)
    unsent = sum(shard.requests for shard in ledger.unsent)
    return f"The API's queue is full: {queued:,} requests of this job are in it, {unsent:,} are unsent"


def describe_canceled(ledger: JobLedger) -> str:
    """Return the numbers of a canceled job."""
    counts = counts_text(last_outcomes(ledger))
    unsent = sum(shard.requests for shard in ledger.unsent)
    return (
        f"The job was canceled: {counts or 'no request'} landed, {unsent:,} requests are unsent. To go on, and send "
        "the canceled requests again: clear the task, or use `airflow-batches run`"
    )
