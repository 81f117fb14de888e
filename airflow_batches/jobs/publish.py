"""Publish a job: the answers in parts, the failures, and the manifest last.

    results-00000.jsonl …    lines that succeeded, a part for each landed batch that has some
    failed.jsonl             the last line of every other request
    manifest.json            numbers, and the sha256 of each object

Rules:
- A line is left out if its request was sent again in the next round. So each request is in exactly one line, its last
  one. Number and digest of the custom_ids are compared with the plan before the manifest is written.
- Everything follows from the ledger and the landed objects, whose hashes are compared. So a publication that was
  interrupted, or made twice at the same time, writes the same bytes.
- The landed objects in `_job/` stay. They may be deleted once the job is published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from airflow_batches.api.digest import IdsDigest
from airflow_batches.jobs.cutting import ids_digest_of
from airflow_batches.jobs.errors import JobError
from airflow_batches.jobs.folder import JobFolder, StoredRequests
from airflow_batches.jobs.landed import result_lines
from airflow_batches.jobs.ledger import SUCCEEDED, JobBatch, JobLedger, LandedBatch, PlannedShard, total
from airflow_batches.jobs.manifest import MANIFEST, BatchSummary, JobManifest, RoundSummary
from airflow_batches.landing.formats import encoder_for
from airflow_batches.landing.lines import ResultLine
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.output import Output
from airflow_batches.landing.usage import ModelUsage
from airflow_batches.landing.writer import put
from airflow_batches.submission.lines import numbered_ids
from airflow_batches.submission.shard_files import HashedSource
from airflow_batches.submission.source import Source

OpenShard = Callable[[PlannedShard], AbstractContextManager[Source]]
FORMATS: Final = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet")


@dataclass
class Published:
    """What was written so far."""

    results: list[LandedObject] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    error_types: Counter[str] = field(default_factory=Counter)
    ids: IdsDigest = field(default_factory=IdsDigest)
    cached: int = 0

    def count(self, lines: list[ResultLine]) -> None:
        """Count the lines of requests as their last outcome."""
        self.ids.update([line.custom_id for line in lines])
        for line in lines:
            self.counts[line.result.type] += 1
            if line.result.type == "errored":
                self.error_types[line.result.error_type] += 1
            usage = line.result.message.usage if line.result.message else None
            self.cached += bool(usage and usage.cache_read_input_tokens)


def publish(ledger: JobLedger, folder: JobFolder, open_shard: OpenShard, *, format_name: str = "jsonl") -> JobManifest:
    """Publish all of a job.

    :param format_name: the format of the parts, one of `FORMATS`.
    :raises JobError: a landed object is not the one that landed, or lines are missing.
    :raises LandingError: the store failed.
    """
    published = Published()
    failed = Output(folder.at("failed.jsonl"), "jsonl", encoder_for("jsonl"))
    try:
        for number in range(1, ledger.rounds + 1):
            resent = _ids_of_round(ledger, number + 1, open_shard)
            for batch, landed in ledger.landed:
                if ledger.round_of(batch) == number:
                    _publish_part(folder, landed, resent, published, failed, format_name)
        _require_all(ledger, published)
        failures = failed.finish()
        failed.commit()
    except BaseException:
        failed.discard()
        raise
    manifest = _manifest(ledger, published, failures)
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


def _publish_part(
    folder: JobFolder, landed: LandedBatch, resent: frozenset[str], published: Published, failed: Output, format_: str
) -> None:
    """Write the lines of one landed batch that are final."""
    place = folder.at(f"results-{len(published.results):05d}.{format_}")
    part = Output(place, format_, encoder_for(format_))
    try:
        source = HashedSource(StoredRequests(folder.internal(landed.results)))
        answers = 0
        for data, pairs in result_lines(source):
            lines = [(raw, line) for raw, line in pairs if line and line.custom_id not in resent]
            good = [raw for raw, line in lines if line.result.type == SUCCEEDED]
            bad = [raw for raw, line in lines if line.result.type != SUCCEEDED]
            published.count([line for _, line in lines])
            answers += len(good)
            if good:
                part.write(data if len(good) == len(pairs) else _joined(good), len(good))
            if bad:
                failed.write(_joined(bad), len(bad))
        _require_landed(source, landed)
        if answers:
            published.results.append(part.finish())
            part.commit()
    finally:
        part.discard()


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line.rstrip(b"\r") + b"\n" for line in lines)


def _require_landed(source: HashedSource, landed: LandedBatch) -> None:
    if source.sha256 != landed.sha256:
        raise JobError(
            f"{source.name} is not the object that landed there (sha256 {source.sha256} instead of {landed.sha256}). "
            "Nothing was published. Restore the object if the store keeps versions; the API keeps the results for 29 "
            "days after the batch's creation"
        )


def _require_all(ledger: JobLedger, published: Published) -> None:
    first = [shard for shard in ledger.shards if shard.round == 1]
    lines = published.counts.total()
    if lines != ledger.plan.requests or published.ids.hexdigest() != ids_digest_of(first):
        raise JobError(
            f"The landed batches hold {lines:,} final lines for {ledger.plan.requests:,} requests, or other "
            "custom_ids. The manifest was not published; the landed batches are in _job/landed"
        )


def _manifest(ledger: JobLedger, published: Published, failed: LandedObject) -> JobManifest:
    plan = ledger.plan
    return JobManifest(
        job_id=plan.job_id, source=plan.source, fingerprint=plan.fingerprint, requests=plan.requests,
        counts=published.counts, error_types=published.error_types,
        rounds=tuple(_round(ledger, number) for number in range(1, ledger.rounds + 1)),
        batches=tuple(_batch(ledger, batch) for batch in ledger.batches),
        usage=_usage(ledger), cost_usd=ledger.spent_usd, cost_by_model=_costs(ledger), cached=published.cached,
        estimate=plan.estimate, results=tuple(published.results), failed=failed, started_at=plan.created_at,
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
