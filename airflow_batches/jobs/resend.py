"""Store the requests of a further round: those whose last line another round may help.

The object's name holds the fingerprint of its requests, so two runners that disagree never write the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from hashlib import sha256

from airflow_batches.jobs.cutting import cut
from airflow_batches.jobs.estimate import priced_like
from airflow_batches.jobs.folder import JobFolder, StoredRequests
from airflow_batches.jobs.landed import result_lines
from airflow_batches.jobs.ledger import JobBatch, JobLedger, LandedBatch, PlannedShard
from airflow_batches.jobs.planning import cut_limits, write_blocks
from airflow_batches.jobs.rounds import MAX_TOKENS, NO_CREDIT, Repeats, with_more_tokens
from airflow_batches.submission.lines import line_runs, request_line
from airflow_batches.submission.source import Source

OpenShard = Callable[[PlannedShard], AbstractContextManager[Source]]


def next_round(ledger: JobLedger, folder: JobFolder, open_shard: OpenShard, repeats: Repeats) -> list[PlannedShard]:
    """Store the requests that the last round's failures leave, and cut them into shards.

    :param repeats: which lines may be sent again.
    """
    name = f"requests-{ledger.plan.job_id}-{ledger.rounds + 1}-{_digest(ledger)}.jsonl"
    location = folder.internal(name)
    if not write_blocks(location, _requests(ledger, folder, open_shard, repeats)):
        return []
    shards, _ = cut(
        StoredRequests(location), name, cut_limits(ledger), first=len(ledger.shards), round_=ledger.rounds + 1
    )
    return priced_like(shards, [shard for shard in ledger.shards if shard.round == 1])


def _digest(ledger: JobLedger) -> str:
    """Return a digest of what the round follows from."""
    landed = [f"{batch.id} {each.forgiven} {batch.resend_canceled}" for batch, each in _last_round(ledger)]
    return sha256(" ".join([str(ledger.plan.settings), *landed]).encode()).hexdigest()[:16]


def _last_round(ledger: JobLedger) -> list[tuple[JobBatch, LandedBatch]]:
    return [(batch, landed) for batch, landed in ledger.landed if ledger.round_of(batch) == ledger.rounds]


def _requests(ledger: JobLedger, folder: JobFolder, open_shard: OpenShard, repeats: Repeats) -> Iterator[bytes]:
    growth = ledger.plan.settings.get("max_tokens_growth")
    model = ledger.plan.settings.get("model")
    for batch, landed in _last_round(ledger):
        again = _again(folder, landed, repeats.of(batch))
        if not again:
            continue
        with open_shard(ledger.shards[batch.shard]) as source:
            for run in line_runs(source.blocks()):
                for _, _, raw in run.numbered():
                    request = request_line(raw, model)
                    if (kind := again.get(request.custom_id)) is not None:
                        more = growth is not None and kind == MAX_TOKENS
                        yield (with_more_tokens(request.data, growth or 1.0) if more else request.data) + b"\n"


def _again(folder: JobFolder, landed: LandedBatch, repeats: Repeats) -> Mapping[str, str]:
    """Return the custom_ids to send again, with the kind of their failure."""
    if not landed.retryable:
        return {}
    found: dict[str, str] = {}
    name = landed.failed if repeats.only_failures else landed.results
    for _, pairs in result_lines(StoredRequests(folder.internal(name))):
        lines = [(raw, line) for raw, line in pairs if line]
        for (_, line), (kind, _) in zip(lines, repeats.judge(lines), strict=True):
            if kind and (kind != NO_CREDIT or landed.forgiven):
                found[line.custom_id] = kind
    return found
