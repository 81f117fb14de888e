"""Plan a job: store the requests if they are not used in place, cut them, estimate.

Each plan has another job id, and its own object for the requests. Of two runners that plan at the same time, one writes
the ledger; the other's object is left over and harmless.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

import msgspec

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.jobs.cutting import CutLimits, Sample, cut, fingerprint_of
from airflow_batches.jobs.errors import JobRefused
from airflow_batches.jobs.estimate import estimated
from airflow_batches.jobs.folder import READ_BYTES, JobFolder, StoredRequests
from airflow_batches.jobs.ledger import JobLedger, JobPlan, PlannedShard, TokenEstimate
from airflow_batches.jobs.prompts import PreparedRequests, in_place, source_name
from airflow_batches.jobs.warming import require_shared_prefix, warmed
from airflow_batches.landing.location import Location
from airflow_batches.landing.writer import create
from airflow_batches.submission.errors import EmptySource
from airflow_batches.submission.lines import line_runs
from airflow_batches.submission.source import Source, UriSource
from airflow_batches.submission.stores import OpenStore, fsspec_store

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient

ROWS: Final = "rows"
"""The member of a plan's settings that holds those of a job of rows."""
CanarySample = Literal["first", "spread"]
"""Which requests are the canary: the first ones, or some spread over the source."""
OnOtherRequests = Literal["fail", "continue"]
"""When the folder's job has other requests: refuse; or go on with those that it was planned with."""


class JobRows(Protocol):
    """Rows that become requests; see `rows`."""

    def source(self, job_id: str, folder: JobFolder | None) -> Source:
        """Return the requests. Reading them also stores the rows in the folder, if one is given."""

    def settings(self) -> Mapping[str, Any]:
        """Return what the plan keeps of the rows that were read, their `fingerprint` among it."""


@dataclass(frozen=True, kw_only=True)
class JobRequests:
    """What a user wants answered.

    :param requests: the items (see `prompts`); None: the rows, or those of the ledger, unchecked.
    :param rows: rows that become requests, instead of items.
    :param output_type: of the rows' answers; None: the plan's.
    :param defaults: params for every request.
    :param cut: how large shards may be, and how requests are checked.
    :param canary: requests of the canary; 0: none.
    :param canary_sample: which requests are the canary.
    :param warm_cache: send one request alone first, so that the others read its prefix from the cache; with a canary,
        the canary does that.
    :param max_tokens_growth: answers that `max_tokens` stopped are sent again with this many times the limit; None:
        they are final.
    :param on_changed: what to do when the folder's job has other requests.
    :param open_store: finds the store of a source's URI.
    """

    requests: Any = None
    rows: JobRows | None = None
    output_type: Any = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    cut: CutLimits
    canary: int = 0
    canary_sample: CanarySample = "first"
    warm_cache: bool = False
    max_tokens_growth: float | None = None
    on_changed: OnOtherRequests = "fail"
    open_store: OpenStore = fsspec_store

    def __post_init__(self) -> None:
        if self.requests is not None and self.rows is not None:
            raise InvalidRequest("give requests or rows, not both")
        if self.canary < 0 or self.canary_sample not in {"first", "spread"}:
            raise InvalidRequest("canary must be 0 or more, and canary_sample 'first' or 'spread'")
        if self.max_tokens_growth is not None and not self.max_tokens_growth > 1:
            raise InvalidRequest(f"max_tokens_growth must be more than 1, not {self.max_tokens_growth}")
        if self.on_changed not in get_args(OnOtherRequests):
            raise InvalidRequest(f"on_changed must be 'fail' or 'continue', not {self.on_changed!r}")

    @property
    def given(self) -> bool:
        """Whether there is anything to plan, or to compare with a plan."""
        return self.requests is not None or self.rows is not None

    def source(self, job_id: str, folder: JobFolder | None = None) -> Source:
        """Return the requests as they are sent; see `JobRows.source`."""
        if self.rows is not None:
            return self.rows.source(job_id, folder)
        return PreparedRequests(self.requests, job_id, defaults=self.defaults, open_store=self.open_store)

    def in_place(self) -> str | None:
        """Return the URI of the source if its ranges can be sent as they are."""
        return None if self.rows is not None else in_place(self.requests, self.defaults, self.open_store)


def make_plan(client: BatchesClient | None, folder: JobFolder, asked: JobRequests, now: datetime) -> JobLedger:
    """Plan a job in a free folder.

    :param client: counts tokens for the estimate; None: they are derived from bytes.
    :raises JobRefused: the folder holds other objects, or there are no requests.
    :raises PreflightError: the requests cannot be sent.
    """
    folder.require_free()
    if not asked.given:
        raise JobRefused(f"{folder.name} holds no job, and no requests were given")
    job_id = secrets.token_hex(6)
    prepared = asked.source(job_id, folder)
    uri = asked.in_place() if asked.canary_sample == "first" else None
    name = uri or f"requests-{job_id}.jsonl"
    if uri is None:
        _store(prepared, folder.internal(name), spread=asked.canary if asked.canary_sample == "spread" else 0)
    source = StoredRequests(folder.internal(name)) if uri is None else UriSource(uri, asked.open_store)
    shards, sample = _cut(source, name, asked)
    shards, estimate = estimated(client, shards, sample.requests)
    plan = JobPlan(
        job_id=job_id, created_at=now, source=_name(asked, prepared), generated=_generated(prepared),
        fingerprint=fingerprint_of(shards), requests=sum(shard.requests for shard in shards), settings=_settings(asked),
        estimate=estimate,
    )  # fmt: skip
    return JobLedger(plan=plan, shards=tuple(shards))


def preview(
    client: BatchesClient | None, asked: JobRequests, folder: JobFolder | None = None
) -> tuple[list[PlannedShard], TokenEstimate]:
    """Cut and estimate without a job's folder; nothing is sent but token counts.

    :param client: counts tokens; None: they are derived from bytes, and nothing is sent at all.
    :param asked: the requests.
    :param folder: a temporary one, in which rows and the answers of an earlier job (`reuse`) are stored; None: nothing
        is stored, and no answers are taken.
    :return: the shards with their prices, and the estimate of all.
    :raises PreflightError: the requests cannot be sent.
    """
    shards, sample = _cut(asked.source("preview", folder), "", asked)
    return estimated(client, shards, sample.requests)


def _cut(source: Source, name: str, asked: JobRequests) -> tuple[list[PlannedShard], Sample]:
    """Cut the requests. The first shard is the canary, or the request that warms the cache."""
    try:
        shards, sample = cut(source, name, asked.cut, canary=asked.canary or int(asked.warm_cache))
    except EmptySource:
        if asked.rows is None or not asked.rows.settings()["rows"]:
            raise
        return [], Sample()  # no row needs a request
    if asked.warm_cache and sample.first and sample.seen > 1:
        require_shared_prefix(sample.first, [each for each in sample.requests if each is not sample.first])
        shards = warmed(shards, canary=asked.canary > 0)
    return shards, sample


def _name(asked: JobRequests, prepared: Source) -> str:
    return source_name(asked.requests) if asked.rows is None else prepared.name


def _generated(prepared: Source) -> bool:
    return prepared.generated if isinstance(prepared, PreparedRequests) else True


def shard_opener(folder: JobFolder, open_store: OpenStore) -> Callable[[PlannedShard], AbstractContextManager[Source]]:
    """Return a function that opens the requests of a shard."""

    @contextmanager
    def opened(shard: PlannedShard) -> Iterator[Source]:
        from airflow_batches.submission.source import FetchedSource, open_source

        if "://" in shard.object:
            place = {"uri": shard.object, "start": shard.start, "end": shard.end}
            descriptor = {**place, "requests": shard.requests, "ids_digest": shard.ids_digest}
            with open_source(descriptor, open_store=open_store) as source:
                yield source
            return
        location = folder.internal(shard.object)
        stored = StoredRequests(location, shard.start, shard.end)
        if location.is_local:
            yield stored
        else:
            with tempfile.TemporaryFile() as spool:
                yield FetchedSource(stored, spool)

    return opened


def _settings(asked: JobRequests) -> Mapping[str, Any]:
    """Return what shaped the plan, for people, and for later rounds."""
    rows = {} if asked.rows is None else {ROWS: asked.rows.settings()}
    return {
        **rows,
        "model": asked.cut.model, "version": asked.cut.version, "max_requests": asked.cut.max_requests,
        "max_bytes": asked.cut.max_bytes, "canary": asked.canary, "canary_sample": asked.canary_sample,
        "max_tokens_growth": asked.max_tokens_growth, "warm_cache": asked.warm_cache,
    }  # fmt: skip


def _store(source: Source, location: Location, *, spread: int) -> None:
    """Store the requests; with `spread`, so many of them from the whole source first."""
    if not spread:
        write_blocks(location, source.blocks())
        return
    with tempfile.TemporaryFile() as spool:
        for block in source.blocks():
            spool.write(block)
        write_blocks(location, _spread_first(spool, spread))


def _spread_first(spool: IO[bytes], count: int) -> Iterator[bytes]:
    """Yield the lines of a file: some that are spread over it, then the others."""
    total = sum(len(run.lines) for run in line_runs(_read(spool)))
    chosen = {number * total // count for number in range(min(count, total))}
    for first in (True, False):
        for run in line_runs(_read(spool)):
            for number, line in enumerate(run.lines, run.before):
                if (number in chosen) is first:
                    yield line + b"\n"


def _read(spool: IO[bytes]) -> Iterator[bytes]:
    spool.seek(0)
    yield from iter(lambda: spool.read(READ_BYTES), b"")


def write_blocks(location: Location, blocks: Iterator[bytes]) -> int:
    """Write an object from blocks, complete or not at all; return its size.

    :raises LandingError: the store failed.
    """
    file = create(location)
    size = 0
    try:
        for block in blocks:
            file.write(block)
            size += len(block)
        file.finish()
        file.commit()
    except BaseException:
        file.discard()
        raise
    return size


def cut_limits(ledger: JobLedger) -> CutLimits:
    """Return the limits of the plan, for the shards of a further round. Its requests were checked before."""
    settings = ledger.plan.settings
    chosen = {name: settings[name] for name in ("max_requests", "max_bytes", "model", "version")}
    return msgspec.convert({**chosen, "preflight": "off"}, CutLimits)
