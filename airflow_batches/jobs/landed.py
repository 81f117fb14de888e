"""Land one batch of a job in `_job/landed/`, and count what another round may send again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from airflow_batches.api.error_messages import MOST_COMMON, ErrorMessage, ErrorMessages
from airflow_batches.jobs.errors import JobError
from airflow_batches.jobs.folder import JobFolder, StoredRequests
from airflow_batches.jobs.ledger import INVALID_OUTPUT, SUCCEEDED, JobBatch, LandedBatch, PlannedShard
from airflow_batches.jobs.rounds import NO_CREDIT, Judged, Repeats
from airflow_batches.landing.engine import land
from airflow_batches.landing.lines import ResultLine, decode_block, results_in
from airflow_batches.submission.lines import line_runs
from airflow_batches.submission.shard_files import HashedSource
from airflow_batches.submission.source import Source

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient
    from airflow_batches.landing.manifest import Manifest

LANDED: Final = "landed"


def land_batch(
    client: BatchesClient, folder: JobFolder, batch: JobBatch, shard: PlannedShard, *, repeats: Repeats, now: datetime
) -> LandedBatch:
    """Land a batch, or find that it has landed.

    :param repeats: which lines may be sent again.
    :raises BatchesError: what `land` raises.
    """
    results, failed = f"{LANDED}/{batch.id}.jsonl", f"{LANDED}/{batch.id}.failed.jsonl"
    manifest = land(
        client, batch.id, folder.internal(results), failed_path=folder.internal(failed), receipt=shard.ids_digest
    )
    judged = _judged(folder, failed if repeats.only_failures else results, repeats.of(batch))
    again = Counter(each.kind for each in judged if each.kind)
    reasons = [each.invalid for each in judged if each.invalid is not None]
    no_credit = again.pop(NO_CREDIT, 0)
    return LandedBatch(
        results=results, failed=failed, sha256=manifest.results.sha256, lines=manifest.lines,
        counts=_counts(manifest, len(reasons)), error_types=manifest.error_types,
        error_messages=_messages(manifest, reasons), again=again,
        no_credit=no_credit, usage=manifest.usage,
        cost_usd=_decimal(manifest.cost_usd.total if manifest.cost_usd else None), cost_by_model=_by_model(manifest),
        ended_at=manifest.batch_ended_at, landed_at=now,
    )  # fmt: skip


def result_lines(landed: Source) -> Iterator[tuple[bytes, list[tuple[bytes, ResultLine | None]]]]:
    """Yield the lines of a landed object in runs: the run's bytes, and each line with its result."""
    for run in line_runs(landed.blocks()):
        data = run.data if run.data.endswith(b"\n") else run.data + b"\n"
        lines = [line for line in run.lines if line.strip()]
        decoded = decode_block(data)
        if decoded is not None and len(decoded) == len(lines):
            yield data, [*zip(lines, decoded, strict=True)]
        else:
            yield data, [pair for line in lines for pair in results_in(line)]


def require_landed(source: HashedSource, landed: LandedBatch) -> None:
    """Compare a landed object, which was read to its end, with the one that landed.

    :raises JobError: it is another one.
    """
    if source.sha256 != landed.sha256:
        raise JobError(
            f"{source.name} is not the object that landed there (sha256 {source.sha256} instead of {landed.sha256}). "
            "Nothing was published. Restore the object if the store keeps versions; the API keeps the results for 29 "
            "days after the batch's creation"
        )


def _judged(folder: JobFolder, name: str, repeats: Repeats) -> list[Judged]:
    location = folder.internal(name)
    if location.version() is None:
        return []
    pairs = (pairs for _, pairs in result_lines(StoredRequests(location)))
    judged = (repeats.judge([(raw, line) for raw, line in lines if line]) for lines in pairs)
    return [each for run in judged for each in run if each.kind or each.invalid]


def _counts(manifest: Manifest, invalid: int) -> Mapping[str, int]:
    """Return the lines by outcome, of which so many successes are not of the output type."""
    counts = Counter(manifest.counts)
    counts[SUCCEEDED] -= invalid
    counts[INVALID_OUTPUT] += invalid
    return +counts


def _messages(manifest: Manifest, reasons: Sequence[str]) -> tuple[ErrorMessage, ...]:
    """Return the commonest errors of the API, and reasons why answers are not of the output type."""
    invalid = ErrorMessages()
    invalid.add((INVALID_OUTPUT, reason) for reason in reasons)
    found = (*manifest.error_messages, *invalid.most_common())
    return tuple(sorted(found, key=lambda each: each.count, reverse=True)[:MOST_COMMON])


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _by_model(manifest: Manifest) -> dict[str, Decimal | None]:
    costs = manifest.cost_usd.by_model if manifest.cost_usd else {}
    return {model: _decimal(cost) for model, cost in costs.items()}
