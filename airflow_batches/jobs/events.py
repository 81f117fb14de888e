"""The lines in the log of a job: one for each event that matters to a person. Pure.

| event          | the line has                                                                                |
|----------------|---------------------------------------------------------------------------------------------|
| planned        | requests, batches, canary; tokens and money before anything is sent                         |
| submitted      | the shard, its requests, the batch's id                                                     |
| landed         | the outcomes by kind, the commonest errors, the cost; how far the job is                    |
| round begins   | how many requests are sent again, and why                                                   |
| published      | the outcomes of all rows and requests, the cost, the folder                                 |

What the job waits for in between is in `progress.describe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airflow_batches.api.error_messages import commonest
from airflow_batches.jobs.ledger import JobBatch, JobLedger, LandedBatch, PlannedShard, TokenEstimate
from airflow_batches.jobs.manifest import JobManifest
from airflow_batches.jobs.money import usd
from airflow_batches.jobs.rounds import NO_CREDIT

WITHOUT_A_REQUEST: Final = ("shared", "reused")
"""Members of a manifest's `rows` that count answers without a request of their own, not ends of rows."""


def planned(ledger: JobLedger) -> str:
    """Describe a new plan.

    :param ledger: the first ledger.
    """
    plan = ledger.plan
    canary = sum(shard.requests for shard in ledger.shards if shard.canary)
    first = f", {number_of(canary, 'request')} of them first as the canary" if canary else ""
    return (
        f"Planned {number_of(plan.requests, 'request')} in {number_of(len(ledger.shards), 'batch')}{first}. "
        f"Estimate: {_tokens(plan.estimate)}; {estimate_text(plan.estimate)}"
    )


def submitted(shard: PlannedShard, batch: JobBatch) -> str:
    """Describe a shard that was sent."""
    again = f" of round {shard.round}" if shard.round > 1 else ""
    canary = ", the canary" if shard.canary else ""
    return f"Submitted shard {shard.number}{again}, {number_of(shard.requests, 'request')}{canary}: {batch.id}"


def landed(ledger: JobLedger, batch: JobBatch, results: LandedBatch) -> str:
    """Describe a batch that landed.

    :param ledger: the job's, with the batch.
    :param batch: the batch.
    :param results: what landed.
    """
    errors = f" ({commonest(results.error_messages)})" if results.error_messages else ""
    shard = ledger.shards[batch.shard]
    canary = "the canary, " if shard.canary and shard.round == 1 else ""
    return (
        f"Landed {canary}{batch.id}: {counts_text(results.counts)}{errors}, {usd(results.cost_usd)}. "
        f"{len(ledger.landed):,} of {number_of(len(ledger.shards), 'batch')} landed"
    )


def round_begins(ledger: JobLedger) -> str:
    """Describe a round that was planned from the failures of the one before."""
    again: dict[str, int] = {}
    for batch, results in ledger.landed:
        if ledger.round_of(batch) == ledger.rounds - 1:
            kinds = {**results.again, **({NO_CREDIT: results.no_credit} if results.forgiven else {})}
            for kind, count in kinds.items():
                again[kind] = again.get(kind, 0) + count
    requests = sum(shard.requests for shard in ledger.shards if shard.round == ledger.rounds)
    return f"Round {ledger.rounds}: {number_of(requests, 'request')} to send again ({errors_text(again)})"


def published(manifest: JobManifest) -> str:
    """Describe a job that is done."""
    folder = manifest.failed.uri.rpartition("/")[0]
    requests, rows = number_of(manifest.requests, "request"), manifest.rows
    what = f"{number_of(rows['rows'], 'row')} in {folder} ({rows_text(rows)}), {requests}" if rows else ""
    return (
        f"Published {what or f'{requests} in {folder}'}: {counts_text(manifest.counts)}, "
        f"{usd(manifest.cost_usd)}, {number_of(len(manifest.batches), 'batch')} in "
        f"{number_of(len(manifest.rounds), 'round')}"
    )


def failures_text(manifest: JobManifest) -> str:
    """Count the requests or rows without an answer, and name the commonest errors."""
    asked = number_of(manifest.asked, "row" if manifest.rows else "request")
    errors = f" {commonest(manifest.error_messages)}." if manifest.error_messages else ""
    return f"{manifest.failures:,} of {asked} have no answer ({counts_text(manifest.outcomes)}).{errors}"


def estimate_text(estimate: TokenEstimate) -> str:
    """Describe the money of an estimate."""
    if estimate.floor_usd is None or estimate.ceiling_usd is None:
        unpriced = ", ".join(estimate.unpriced) or "some models"
        return f"unknown: no price for {unpriced} ({estimate.prices})"
    return f"{usd(estimate.floor_usd)} for the input, at most {usd(estimate.ceiling_usd)} in all ({estimate.prices})"


def rows_text(rows: Mapping[str, int]) -> str:
    """Describe how rows ended, and how many were answered without a request of their own.

    :param rows: those of a manifest.
    """
    ended = {name: number for name, number in rows.items() if name not in {"rows", *WITHOUT_A_REQUEST}}
    others = ", ".join(f"{rows[name]:,} {name}" for name in WITHOUT_A_REQUEST if rows.get(name))
    return "; ".join(filter(None, (counts_text(ended), others)))


def counts_text(counts: Mapping[str, int]) -> str:
    """Describe outcomes, successes first."""
    found = sorted(counts.items(), key=lambda item: (item[0] != "succeeded", item[0]))
    return ", ".join(f"{number:,} {kind}" for kind, number in found if number) or "no results"


def errors_text(kinds: Mapping[str, int]) -> str:
    """Describe kinds of errors, the commonest first."""
    found = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {kind}" for kind, number in found if number)


def number_of(count: int, thing: str) -> str:
    """Write a number with its noun: 1 batch, 2 batches.

    :param count: how many.
    :param thing: the noun in the singular.
    """
    if count == 1:
        return f"1 {thing}"
    return f"{count:,} {thing}{'es' if thing.endswith('ch') else 's'}"


def _tokens(estimate: TokenEstimate) -> str:
    known = "unknown" if estimate.input_tokens is None else f"{estimate.input_tokens:,}"
    method = estimate.method.partition(": ")[0]  # a failure to count them has a line of its own
    return f"{known} input tokens ({method}), at most {estimate.max_output_tokens:,} output tokens"
