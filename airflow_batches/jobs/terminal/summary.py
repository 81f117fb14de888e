"""Describe a planned or stored job for people, a line for each kind of number. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from airflow_batches.jobs.events import estimate_text, number_of, rows_text
from airflow_batches.jobs.ledger import (
    PUBLISHED,
    PUBLISHING,
    JobBatch,
    JobLedger,
    PlannedShard,
    TokenEstimate,
    total,
)
from airflow_batches.jobs.money import spending, usd
from airflow_batches.jobs.planning import ROWS
from airflow_batches.jobs.progress import last_outcomes

SHOWN: Final = 5
"""Most batches or shards that are listed. Chosen: one screen holds them with everything else."""
LABEL: Final = 11
"""Columns of a line's label. Chosen: the longest label has as many."""
PLANNED_ROWS: Final = ("rows", "distinct", "shared", "skipped", "reused")
"""Numbers of the rows that a plan has read, as it keeps them."""


def plan_lines(
    source: str, shards: Sequence[PlannedShard], estimate: TokenEstimate, rows: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """Describe a plan.

    :param rows: what the plan keeps of rows; None: there are none.
    """
    if rows:
        yield line("rows", planned_rows_text(rows))
    yield line("requests", f"{_requests(shards):,} from {source}")
    yield line("batches", f"{len(shards):,}")
    for shard in shards[:SHOWN]:
        kind = "canary, " if shard.canary else "warms the cache, " if shard.warms_cache else ""
        yield line("", f"{kind}{shard.requests:,} requests, {shard.bytes:,} bytes")
    if shards[SHOWN:]:
        yield line("", f"and {len(shards) - SHOWN:,} more, {_requests(shards[SHOWN:]):,} requests")
    yield from (line("model", f"{model}: {requests:,} requests") for model, requests in _models(shards))
    yield line("preflight", "passed")
    yield line("input", f"{_tokens(estimate.input_tokens)} ({estimate.method})")
    yield line("output", f"at most {_tokens(estimate.max_output_tokens)} (the sum of max_tokens)")
    yield line("cost", estimate_text(estimate))


def plan_numbers(
    source: str, shards: Sequence[PlannedShard], estimate: TokenEstimate, rows: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the numbers of a plan for programs."""
    return {
        "source": source,
        "rows": _row_numbers(rows),
        "requests": _requests(shards),
        "shards": [{"requests": each.requests, "bytes": each.bytes, "canary": each.canary} for each in shards],
        "models": dict(_models(shards)),
        "estimate": estimate,
    }


def status_lines(name: str, ledger: JobLedger, now: datetime, published: Mapping[str, int]) -> Iterator[str]:
    """Describe a job from its ledger.

    :param name: the folder's name for people.
    :param ledger: the stored ledger.
    :param now: the time, to tell whether a runner's lease has expired.
    :param published: the manifest's rows; empty before it is published, and for jobs without rows.
    """
    plan = ledger.plan
    yield line("job", f"{name}: {state_text(ledger, now)}")
    yield line("planned", f"{plan.created_at:%F %T %Z}, {plan.requests:,} requests from {plan.source}")
    if ROWS in plan.settings:
        yield line("rows", published_rows_text(published) if published else planned_rows_text(plan.settings[ROWS]))
    yield line("batches", batches_text(ledger))
    for batch in ledger.live[:SHOWN]:
        yield line("", batch_text(ledger, batch))
    if ledger.live[SHOWN:]:
        yield line("", f"and {len(ledger.live) - SHOWN:,} more")
    if ledger.pending:
        sent_at = ledger.pending.intent.sent_at
        yield line("unanswered", f"the create of shard {ledger.pending.shard}, sent at {sent_at:%F %T %Z}")
    yield line("answers", answers_text(ledger))
    yield line("cost", cost_text(ledger))
    if ledger.stopped and ledger.state != PUBLISHED:
        yield line("stopped", f"{ledger.stopped.at:%F %T %Z}, {ledger.stopped.kind}: {ledger.stopped.message}")


def status_numbers(name: str, ledger: JobLedger, now: datetime, published: Mapping[str, int]) -> dict[str, Any]:
    """Return the numbers of a job for programs. The parameters are those of `status_lines`."""
    money = spending(ledger)
    return {
        "path": name,
        "state": ledger.state,
        "runs": is_running(ledger, now),
        "requests": ledger.plan.requests,
        "rows": {**_row_numbers(ledger.plan.settings.get(ROWS)), **published},
        "round": ledger.rounds,
        "batches": {"landed": len(ledger.landed), "under_way": len(ledger.live), "unsent": len(ledger.unsent)},
        "batch_ids": [batch.id for batch in ledger.batches],
        "answers": dict(last_outcomes(ledger)),
        "spent_usd": money.spent,
        "projected_usd": None if is_over(ledger) else money.projected,
        "cancel_requested": ledger.cancel_requested,
        "stopped": ledger.stopped,
    }


def planned_rows_text(rows: Mapping[str, Any]) -> str:
    """Count rows, and the requests that they need.

    :param rows: what a plan keeps of them.
    """
    others = [f"{rows[name]:,} {name}" for name in ("shared", "skipped", "reused") if rows[name]]
    return ", ".join([f"{rows['rows']:,}: {number_of(rows['distinct'], 'distinct request')}", *others])


def published_rows_text(rows: Mapping[str, int]) -> str:
    """Count rows by how they ended.

    :param rows: those of a manifest.
    """
    return f"{rows['rows']:,}: {rows_text(rows)}"


def state_text(ledger: JobLedger, now: datetime) -> str:
    """Say what becomes of a job."""
    if ledger.state == PUBLISHED:
        return f"published; ended at {ledger.ended_at:%F %T %Z}"
    if is_running(ledger, now) and ledger.lease:
        doing = "publishing" if ledger.state == PUBLISHING else "canceling" if ledger.cancel_requested else "running"
        return f"{doing}; runner {ledger.lease.runner} holds it until {ledger.lease.expires_at:%T %Z}"
    if ledger.stopped and ledger.stopped.kind == "canceled":
        return "canceled"
    return f"{'stopped by a rule' if ledger.stopped else 'not running'}; run it again to go on"


def is_running(ledger: JobLedger, now: datetime) -> bool:
    """Whether a runner's lease is valid. One that was killed has it for some more minutes."""
    return ledger.state != PUBLISHED and ledger.lease is not None and now < ledger.lease.expires_at


def is_over(ledger: JobLedger) -> bool:
    """Whether nothing more is sent."""
    return ledger.state != "open" or ledger.cancel_requested


def batches_text(ledger: JobLedger) -> str:
    """Count the batches."""
    lost = sum(bool(batch.lost) for batch in ledger.batches)
    parts = [f"{len(ledger.landed):,} landed", f"{len(ledger.live):,} under way", f"{len(ledger.unsent):,} unsent"]
    parts += [f"{lost:,} given up"] if lost else []
    return f"{', '.join(parts)} (round {ledger.rounds})"


def batch_text(ledger: JobLedger, batch: JobBatch) -> str:
    """Describe one batch."""
    created = f", created {batch.created_at:%F %T %Z}" if batch.created_at else ""
    return f"{batch.id}: {ledger.shards[batch.shard].requests:,} requests{created}"


def answers_text(ledger: JobLedger) -> str:
    """Count what has landed, without what was sent again since."""
    counts = sorted(last_outcomes(ledger).items(), key=lambda item: (item[0] != "succeeded", item[0]))
    return ", ".join(f"{number:,} {kind}" for kind, number in counts if number) or "none yet"


def cost_text(ledger: JobLedger, cap: Decimal | None = None) -> str:
    """Describe the money of a job."""
    found = spending(ledger)
    parts = [f"{usd(found.spent)} spent"]
    parts += [] if is_over(ledger) else [f"{usd(found.projected)} projected"]
    parts += [] if cap is None else [f"at most {usd(cap)}"]
    return ", ".join(parts)


def canceled_lines(ledger: JobLedger) -> Iterator[str]:
    """Say what a canceled job leaves."""
    yield line("answers", f"{answers_text(ledger)}; they stay in _job/landed")
    yield line("unsent", f"{_requests(ledger.unsent):,} requests")
    yield line("cost", f"{usd(ledger.spent_usd)} for the answers that landed")
    lost = [batch for batch in ledger.batches if batch.lost and not batch.free]
    if lost:
        most = total(ledger.shards[batch.shard].ceiling_usd for batch in lost)
        ids = ", ".join(batch.id for batch in lost[:SHOWN])
        yield line("", f"{len(lost):,} batches could not be landed and may be billed, at most {usd(most)}: {ids}")
    else:
        yield line("", "nothing else is billed: each batch has ended, and landed")


def left_text(ledger: JobLedger | None) -> str:
    """Say what goes on at the API when a run has ended."""
    if ledger is None:
        return "Nothing was sent"
    parts = []
    if ledger.live:
        requests = sum(ledger.shards[batch.shard].requests for batch in ledger.live)
        confirmed = sum(batch.canceling for batch in ledger.live)
        canceling = f" ({confirmed:,} are canceling)" if confirmed else ""
        parts += [f"Batches under way: {len(ledger.live):,}{canceling}, with {requests:,} requests"]
        parts += ["They go on at the API, and their answers are billed"]
    if ledger.pending:
        parts += [f"The create of shard {ledger.pending.shard} has no answer; the next run searches for its batch"]
    return ". ".join(parts) or "No batch is under way"


def line(label: str, text: str) -> str:
    """Return a line with its label."""
    return f"{label:<{LABEL}}{text}"


def _row_numbers(rows: Mapping[str, Any] | None) -> dict[str, int]:
    return {name: rows[name] for name in PLANNED_ROWS} if rows else {}


def _requests(shards: Sequence[PlannedShard]) -> int:
    return sum(shard.requests for shard in shards)


def _models(shards: Sequence[PlannedShard]) -> list[tuple[str, int]]:
    found: dict[str, int] = {}
    for shard in shards:
        for model, share in shard.models.items():
            found[model or "(none)"] = found.get(model or "(none)", 0) + share.requests
    return sorted(found.items())


def _tokens(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,} tokens"
