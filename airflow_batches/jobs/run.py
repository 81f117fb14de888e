"""Run a job from a script, and build an engine for it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from os import PathLike
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_batches._duration import Seconds, seconds
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.api.limits import MAX_BODY_BYTES, MAX_REQUESTS
from airflow_batches.jobs.batches import BatchesApi
from airflow_batches.jobs.cutting import CutLimits
from airflow_batches.jobs.decision import JobLimits, OnMissing, OnUnsettled
from airflow_batches.jobs.effects import Effects, JobClock
from airflow_batches.jobs.engine import Engine
from airflow_batches.jobs.errors import JobFailed, JobRefused
from airflow_batches.jobs.events import failures_text
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.journal import CreateFiles, JournaledStore, writes_conditionally
from airflow_batches.jobs.landed import land_batch
from airflow_batches.jobs.ledger import JobBatch, JobLedger, LandedBatch, PlannedShard
from airflow_batches.jobs.line_parts import FORMATS, LineParts
from airflow_batches.jobs.manifest import MANIFEST, JobManifest
from airflow_batches.jobs.planning import CanarySample, JobRequests, make_plan, require_same, shard_opener
from airflow_batches.jobs.publish import Parts, publish
from airflow_batches.jobs.resend import next_round
from airflow_batches.jobs.rounds import Repeats
from airflow_batches.jobs.store import LedgerFile, LedgerStore
from airflow_batches.submission.preflight import Preflight
from airflow_batches.submission.stores import OpenStore, fsspec_store

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient


class SystemClock:
    """The system's time."""

    def now(self) -> datetime:
        """Return the current time."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class FolderFiles:
    """The objects of a job in its folder; see `JobFiles`.

    :param client: the API, for landing and for token counts.
    :param folder: where the objects are.
    :param asked: the requests.
    :param format_name: the format of the published parts; a job keeps the one that it was planned with.
    :param clock: dates the plan and the landings.
    """

    def __init__(
        self, client: BatchesClient, folder: JobFolder, asked: JobRequests, *, format_name: str, clock: JobClock
    ) -> None:
        self._client = client
        self._folder = folder
        self._asked = asked
        self._format = format_name
        self._clock = clock
        self.open_shard = shard_opener(folder, asked.open_store)

    def plan(self) -> JobLedger:
        """Return the first ledger."""
        ledger = make_plan(self._client, self._folder, self._asked, self._clock.now())
        settings = {**ledger.plan.settings, "format": self._format}
        return ledger.but(plan=msgspec.structs.replace(ledger.plan, settings=settings))

    def check(self, ledger: JobLedger) -> None:
        """Raise `JobRefused` for other requests than the ledger's."""
        require_same(ledger, self._asked, self._folder)

    def land(self, ledger: JobLedger, batch: JobBatch) -> LandedBatch:
        """Land a batch in `_job/`."""
        shard, now = ledger.shards[batch.shard], self._clock.now()
        return land_batch(self._client, self._folder, batch, shard, repeats=self._repeats(ledger), now=now)

    def next_round(self, ledger: JobLedger) -> list[PlannedShard]:
        """Store the requests to send again."""
        return next_round(ledger, self._folder, self.open_shard, self._repeats(ledger))

    def publish(self, ledger: JobLedger) -> JobManifest:
        """Publish everything."""
        return publish(ledger, self._folder, self.open_shard, self._parts(ledger))

    def manifest(self) -> JobManifest:
        """Return the published manifest."""
        return read_manifest(self._folder)

    def _repeats(self, ledger: JobLedger) -> Repeats:
        return Repeats(truncated=ledger.plan.settings.get("max_tokens_growth") is not None)

    def _parts(self, ledger: JobLedger) -> Parts:
        return LineParts(self._folder, ledger.plan.settings["format"])


def read_manifest(folder: JobFolder) -> JobManifest:
    """Read the manifest of a published job.

    :raises JobRefused: there is none.
    """
    data = folder.at(MANIFEST).read()
    if data is None:
        raise JobRefused(f"{folder.name} has no {MANIFEST}, although its ledger says that the job is published")
    return msgspec.json.decode(data, type=JobManifest)


def make_engine(
    client: BatchesClient,
    folder: JobFolder,
    asked: JobRequests,
    limits: JobLimits,
    *,
    owner: str = "",
    format_name: str = "jsonl",
    cancel: bool = False,
    resend_canceled: bool = False,
    clock: JobClock | None = None,
    on_step: Callable[[JobLedger], None] = lambda ledger: None,
    **api_options: Any,
) -> Engine:
    """Make an engine with the real effects.

    :param owner: the same for runners that replace each other, such as a task's tries.
    :param cancel: cancel the job.
    :param resend_canceled: a person begins this run; see `Engine`.
    :param on_step: is called with the ledger after each step.
    :param api_options: further options of `BatchesApi`.
    """
    if format_name not in FORMATS:
        raise InvalidRequest(f"format must be one of {', '.join(FORMATS)}, not {format_name!r}")
    clock = clock or SystemClock()
    files = FolderFiles(client, folder, asked, format_name=format_name, clock=clock)
    api = BatchesApi(client, files.open_shard, model=asked.cut.model, **api_options)
    ledger: LedgerStore = LedgerFile(folder.ledger)
    if not writes_conditionally(folder.ledger):
        ledger = JournaledStore(ledger, CreateFiles(folder))
    effects = Effects(store=ledger, api=api, files=files, clock=clock)
    return Engine(
        effects,
        limits,
        runner=secrets.token_hex(8),
        owner=owner,
        cancel=cancel,
        resend_canceled=resend_canceled,
        on_step=on_step,
    )


def run_job(
    client: BatchesClient,
    requests: Any,
    path: str | PathLike[str],
    *,
    model: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    format: str = "jsonl",  # noqa: A002  # the usual name, as in pandas and pyarrow
    canary: int = 0,
    canary_sample: CanarySample = "first",
    rounds: int = 3,
    max_tokens_growth: float | None = None,
    max_cost_usd: float | Decimal | str | None = None,
    max_failure_rate: float | None = 0.05,
    max_queued: int | None = None,
    max_requests: int = MAX_REQUESTS,
    max_bytes: int = MAX_BODY_BYTES,
    preflight: Preflight = "error",
    on_missing: OnMissing = "fail",
    on_unsettled: OnUnsettled = "fail",
    open_store: OpenStore = fsspec_store,
    storage_options: Mapping[str, Any] | None = None,
    poll_interval: Seconds = 60.0,
    owner: str = "",
    clock: JobClock | None = None,
    progress: Callable[[JobLedger], None] = lambda ledger: None,
) -> JobManifest:
    """Have any number of requests answered, in one folder. The folder is the job: run it again to continue it.

    :param client: the API.
    :param requests: texts, `{"custom_id", "prompt"}` or `{"custom_id", "params"}`, as a list, an iterable, a callable
        or a URI of JSONL; None continues the folder's job without comparing its requests.
    :param path: URI of the folder, or an absolute path.
    :param model: the default for requests that name none.
    :param defaults: params for every request, such as `system` and `max_tokens`; what a request names wins.
    :param format: of the answers: `jsonl`, `jsonl.gz`, `jsonl.zst` or `parquet`. A job keeps the one of its
        first run.
    :param canary: so many requests are sent alone first; 0: none.
    :param canary_sample: the canary is the `first` requests, or `spread` over all.
    :param rounds: how often a request is sent at most; 1: once.
    :param max_tokens_growth: send answers that `max_tokens` stopped again with this many times the limit; None: do not.
    :param max_cost_usd: the cap in USD; None: no cap.
    :param max_failure_rate: the share of requests that may have no answer; None: any.
    :param max_queued: most requests under way; None: as many as the API takes.
    :param max_requests: most requests in one batch.
    :param max_bytes: most bytes of one create's body.
    :param preflight: what to do with requests that the API would refuse.
    :param on_missing: when a batch no longer exists: `fail`, or `resubmit`, which may pay twice.
    :param on_unsettled: when no search can tell whether a create made a batch: `fail`, or `resubmit`, which may pay
        twice.
    :param open_store: finds the store of a source's URI; by default fsspec's, with its own configuration.
    :param storage_options: options for the fsspec file system of the folder.
    :param poll_interval: seconds (or a timedelta) between two looks at the batches.
    :param owner: a name; a run with the same one need not wait until the lease of a killed run has expired.
    :param clock: tells the time and waits; by default the system's.
    :param progress: is called with the ledger after each step.
    :return: the manifest; a job that is done returns it at once, and sends nothing.
    :raises JobRefused: the folder holds another job or other files, or these are other requests.
    :raises JobStopped: the budget, the canary, lack of credit, a missing batch, or an uncertain create stopped the job.
    :raises JobFailed: more requests failed than `max_failure_rate`; the answers are published.
    :raises BatchesError: what the API or the store raised.

    Example::

        with BatchesClient(os.environ["ANTHROPIC_API_KEY"]) as client:
            manifest = run_job(client, prompts, "s3://lake/answers/", model="claude-haiku-4-5",
                               defaults={"max_tokens": 200}, canary=100, max_cost_usd=50)
        print(manifest.counts, manifest.cost_usd)
    """
    folder = JobFolder(path, storage_options)
    cut = CutLimits(
        max_requests=max_requests, max_bytes=max_bytes, model=model, version=client.anthropic_version,
        preflight=preflight,
    )  # fmt: skip
    asked = JobRequests(
        requests=requests, defaults=defaults or {}, cut=cut, canary=canary, canary_sample=canary_sample,
        max_tokens_growth=max_tokens_growth, open_store=open_store,
    )  # fmt: skip
    limits = JobLimits(
        max_cost_usd=None if max_cost_usd is None else Decimal(str(max_cost_usd)), max_queued=max_queued,
        max_failure_rate=max_failure_rate, rounds=rounds, on_missing=on_missing, on_unsettled=on_unsettled,
        poll_interval=seconds(poll_interval),
    )  # fmt: skip
    manifest = make_engine(
        client, folder, asked, limits, owner=owner, format_name=format, clock=clock, on_step=progress
    ).run()
    require_answers(manifest, max_failure_rate)
    return manifest


def require_answers(manifest: JobManifest, max_failure_rate: float | None) -> None:
    """Raise `JobFailed` if more requests failed than allowed, or none has an answer."""
    failures = manifest.failures
    if failures == manifest.requests or (
        max_failure_rate is not None and failures > max_failure_rate * manifest.requests
    ):
        raise JobFailed(
            manifest,
            f"{failures_text(manifest)} max_failure_rate is {max_failure_rate}. All is published; the failures are in "
            f"{manifest.failed.uri}",
        )
