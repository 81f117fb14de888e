"""Publish a job: the parts (`line_parts`, `row_parts`), the failures, and the manifest with all numbers last.

Rules:
- A line is left out if its request was sent again in the next round. So each request is in exactly one line, its last
  one. Number and digest of the custom_ids are compared with the plan before the manifest is written.
- Everything follows from the ledger and the landed objects, whose hashes are compared. So a publication that was
  interrupted, or made twice at the same time, writes the same bytes.
- The landed objects in `_job/` stay. They may be deleted once the job is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Protocol

from airflow_batches.api.digest import IdsDigest
from airflow_batches.api.error_messages import ErrorMessages
from airflow_batches.jobs.cutting import ids_digest_of
from airflow_batches.jobs.errors import JobError
from airflow_batches.jobs.folder import JobFolder, StoredRequests
from airflow_batches.jobs.landed import require_landed, result_lines
from airflow_batches.jobs.ledger import INVALID_OUTPUT, SUCCEEDED, JobBatch, JobLedger, LandedBatch, PlannedShard, total
from airflow_batches.jobs.manifest import MANIFEST, BatchSummary, JobManifest, RoundSummary
from airflow_batches.landing.lines import ResultLine
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.usage import ModelUsage
from airflow_batches.landing.writer import put
from airflow_batches.submission.lines import numbered_ids
from airflow_batches.submission.shard_files import HashedSource
from airflow_batches.submission.source import Source

OpenShard = Callable[[PlannedShard], AbstractContextManager[Source]]
Lines = Sequence[tuple[bytes, ResultLine]]


class PublishedParts(NamedTuple):
    """What was written.

    :param invalid: answers that are not of the output type, which are no successes.
    :param rows: the numbers of a job of rows; empty for other jobs.
    """

    results: list[LandedObject]
    failed: LandedObject
    invalid: int = 0
    rows: Mapping[str, int] = {}


class Parts(Protocol):
    """Writes the parts and the failures. Nothing is visible before it is whole."""

    def add(self, data: bytes, lines: Lines, total: int) -> None:
        """Take final lines of a landed batch.

        :param data: a run of whole lines.
        :param lines: those of its lines that are final.
        :param total: how many lines the run has.
        """

    def end_batch(self) -> None:
        """Take note that a batch's lines are complete, and are those that landed."""

    def finish(self) -> PublishedParts:
        """Publish what was taken."""

    def discard(self) -> None:
        """Remove what was not published."""


@dataclass
class LastOutcomes:
    """The last outcomes of the requests."""

    counts: Counter[str] = field(default_factory=Counter)
    error_types: Counter[str] = field(default_factory=Counter)
    error_messages: ErrorMessages = field(default_factory=ErrorMessages)
    ids: IdsDigest = field(default_factory=IdsDigest)
    cached: int = 0

    def count(self, lines: Lines) -> None:
        """Count the final lines of requests."""
        self.ids.update([line.custom_id for _, line in lines])
        for _, line in lines:
            self.counts[line.result.type] += 1
            if line.result.type == "errored":
                self.error_types[line.result.error_type] += 1
                self.error_messages.add([(line.result.error_type, line.result.error_message or "")])
            usage = line.result.message.usage if line.result.message else None
            self.cached += bool(usage and usage.cache_read_input_tokens)


def publish(ledger: JobLedger, folder: JobFolder, open_shard: OpenShard, parts: Parts) -> JobManifest:
    """Publish all of a job.

    :param parts: writes the parts.
    :raises JobError: a landed object is not the one that landed, or lines are missing.
    :raises LandingError: the store failed.
    """
    outcomes = LastOutcomes()
    try:
        for number in range(1, ledger.rounds + 1):
            resent = _ids_of_round(ledger, number + 1, open_shard)
            for batch, landed in ledger.landed:
                if ledger.round_of(batch) == number:
                    _publish_batch(folder, landed, resent, outcomes, parts)
        _require_all(ledger, outcomes)
        published = parts.finish()
    finally:
        parts.discard()
    manifest = _manifest(ledger, outcomes, published)
    put(folder.at(MANIFEST), manifest.to_json())
    return manifest


def _ids_of_round(ledger: JobLedger, number: int, open_shard: OpenShard) -> frozenset[str]:
    """Return the custom_ids that a round sent."""
    found: set[str] = set()
    for shard in ledger.shards:
        if shard.round == number:
            with open_shard(shard) as source:
                found.update(custom_id for _, custom_id in numbered_ids(source.blocks()))
    return frozenset(found)


def _publish_batch(
    folder: JobFolder, landed: LandedBatch, resent: frozenset[str], outcomes: LastOutcomes, parts: Parts
) -> None:
    """Give the lines of one landed batch that are final to the parts."""
    source = HashedSource(StoredRequests(folder.internal(landed.results)))
    for data, pairs in result_lines(source):
        lines = [(raw, line) for raw, line in pairs if line and line.custom_id not in resent]
        outcomes.count(lines)
        parts.add(data, lines, len(pairs))
    require_landed(source, landed)
    parts.end_batch()


def _require_all(ledger: JobLedger, outcomes: LastOutcomes) -> None:
    first = [shard for shard in ledger.shards if shard.round == 1]
    lines = outcomes.counts.total()
    if lines != ledger.plan.requests or outcomes.ids.hexdigest() != ids_digest_of(first):
        raise JobError(
            f"The landed batches hold {lines:,} final lines for {ledger.plan.requests:,} requests, or other "
            "custom_ids. The manifest was not published; the landed batches are in _job/landed"
        )


def _manifest(ledger: JobLedger, outcomes: LastOutcomes, published: PublishedParts) -> JobManifest:
    plan = ledger.plan
    counts = outcomes.counts - Counter({SUCCEEDED: published.invalid}) + Counter({INVALID_OUTPUT: published.invalid})
    return JobManifest(
        job_id=plan.job_id, source=plan.source, fingerprint=plan.fingerprint, requests=plan.requests,
        counts=counts, error_types=outcomes.error_types, error_messages=outcomes.error_messages.most_common(),
        rounds=tuple(_round(ledger, number) for number in range(1, ledger.rounds + 1)),
        batches=tuple(_batch(ledger, batch) for batch in ledger.batches),
        usage=_usage(ledger), cost_usd=ledger.spent_usd, cost_by_model=_costs(ledger), cached=outcomes.cached,
        estimate=plan.estimate, results=tuple(published.results), failed=published.failed,
        rows=published.rows, started_at=plan.created_at,
        ended_at=ledger.ended_at,
    )  # fmt: skip


def _round(ledger: JobLedger, number: int) -> RoundSummary:
    landed = [each for batch, each in ledger.landed if ledger.round_of(batch) == number]
    last = number == ledger.rounds
    return RoundSummary(
        round=number,
        requests=sum(shard.requests for shard in ledger.shards if shard.round == number),
        counts=_sum(each.counts for each in landed),
        error_types=_sum(each.error_types for each in landed),
        again={} if last else _sum(each.again for each in landed),
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for each in counts:
        found.update(each)
    return dict(found)


def _batch(ledger: JobLedger, batch: JobBatch) -> BatchSummary:
    shard, landed = ledger.shards[batch.shard], batch.landed
    return BatchSummary(
        id=batch.id, round=shard.round, canary=shard.canary, requests=shard.requests, created_at=batch.created_at,
        ended_at=landed.ended_at if landed else None, cost_usd=landed.cost_usd if landed else None, lost=batch.lost,
    )  # fmt: skip


def _usage(ledger: JobLedger) -> Mapping[str, ModelUsage]:
    found: dict[str, ModelUsage] = {}
    for _, landed in ledger.landed:
        for model, usage in landed.usage.items():
            found.setdefault(model, ModelUsage()).add(usage)
    return found


def _costs(ledger: JobLedger) -> Mapping[str, Decimal | None]:
    models = {model: None for _, landed in ledger.landed for model in landed.cost_by_model}
    return {
        model: total(landed.cost_by_model.get(model, Decimal(0)) for _, landed in ledger.landed) for model in models
    }
