"""Run a job from a script, and build an engine for it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from airflow_batches._duration import Seconds, seconds
from airflow_batches._row_options import Keep, OnEmptyPrompt, RowOptions
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.api.limits import MAX_BODY_BYTES, MAX_REQUESTS
from airflow_batches.jobs.batches import BatchesApi
from airflow_batches.jobs.cutting import CutLimits
from airflow_batches.jobs.decision import JobLimits, OnMissing, OnUnsettled
from airflow_batches.jobs.effects import Effects, JobClock
from airflow_batches.jobs.engine import Engine
from airflow_batches.jobs.errors import JobFailed, require_row_packages
from airflow_batches.jobs.events import failures_text
from airflow_batches.jobs.files import FolderFiles
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.journal import CreateFiles, JournaledStore, writes_conditionally
from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.line_parts import FORMATS
from airflow_batches.jobs.manifest import JobManifest
from airflow_batches.jobs.planning import CanarySample, JobRequests, JobRows, OnOtherRequests
from airflow_batches.jobs.store import LedgerFile, LedgerStore
from airflow_batches.submission.preflight import Preflight
from airflow_batches.submission.stores import OpenStore, fsspec_store

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient

ROW_FORMATS: Final = ("parquet", "csv", "jsonl")
"""As `tables.part_formats.PART_FORMATS`, which is not imported here because it needs pyarrow."""


class SystemClock:
    """The system's time."""

    def now(self) -> datetime:
        """Return the current time."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def make_engine(
    client: BatchesClient,
    folder: JobFolder,
    asked: JobRequests,
    limits: JobLimits,
    *,
    owner: str = "",
    format_name: str | None = None,
    cancel: bool = False,
    resend_canceled: bool = False,
    reopen: bool = False,
    clock: JobClock | None = None,
    on_step: Callable[[JobLedger], None] = lambda ledger: None,
    **api_options: Any,
) -> Engine:
    """Make an engine with the real effects.

    :param owner: the same for runners that replace each other, such as a task's tries.
    :param format_name: of the published parts; None: `jsonl`, or `parquet` for rows.
    :param cancel: cancel the job.
    :param resend_canceled: a person begins this run; see `Engine`.
    :param reopen: the same, and the job goes on although it was canceled.
    :param on_step: is called with the ledger after each step.
    :param api_options: further options of `BatchesApi`.
    """
    formats = FORMATS if asked.rows is None else ROW_FORMATS
    format_name = format_name or formats[0]
    if asked.given and format_name not in formats:
        raise InvalidRequest(f"format must be one of {', '.join(formats)}, not {format_name!r}")
    clock = clock or SystemClock()
    files = FolderFiles(client, folder, asked, format_name=format_name, clock=clock)
    api = BatchesApi(client, files.open_shard, **api_options)
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
        reopen=reopen,
        on_step=on_step,
    )


def run_job(
    client: BatchesClient,
    requests: Any = None,
    path: str | PathLike[str] = "",
    *,
    rows: Any = None,
    prompt: Any = None,
    columns: Sequence[str] | None = None,
    key: str | Sequence[str] | None = None,
    keep: Keep | None = None,
    output_type: Any = None,
    dedupe: bool = True,
    reuse: str | None = None,
    max_age: timedelta | None = None,
    on_empty_prompt: OnEmptyPrompt = "null",
    model: str | None = None,
    defaults: Mapping[str, Any] | None = None,
    format: str | None = None,  # noqa: A002  # the usual name, as in pandas and pyarrow
    canary: int = 0,
    canary_sample: CanarySample = "first",
    warm_cache: bool = False,
    rounds: int = 3,
    max_tokens_growth: float | None = None,
    max_cost_usd: float | Decimal | str | None = None,
    max_failure_rate: float | None = 0.05,
    max_queued: int | None = None,
    max_requests: int = MAX_REQUESTS,
    max_bytes: int = MAX_BODY_BYTES,
    preflight: Preflight = "error",
    on_changed: OnOtherRequests = "fail",
    on_missing: OnMissing = "fail",
    on_unsettled: OnUnsettled = "fail",
    open_store: OpenStore = fsspec_store,
    storage_options: Mapping[str, Any] | None = None,
    resend_canceled: bool = False,
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
    :param rows: instead of requests: a URI of Parquet, CSV or JSONL, a folder or a glob of them, an iterable of
        mappings, or a table; each row is published with its answer.
    :param prompt: of the rows: a text with `${column}` places, or a callable that returns for a row a text, messages,
        params, or None: no request.
    :param columns: the columns that a callable needs; None: all.
    :param key: the column or columns that identify a row.
    :param keep: the columns to publish beside the answers: `key`, `all` or a list; None: the key, or all without one.
    :param output_type: a pydantic model, a dataclass, a TypedDict or a JSON schema that each row's answer must follow;
        None: answers are texts.
    :param dedupe: rows with equal requests share one.
    :param reuse: URI of the folder of an earlier job of rows, whose answers to equal requests are taken.
    :param max_age: answers that landed longer ago are not taken; None: any are.
    :param on_empty_prompt: a row whose prompt is empty has no answer (`null`), or nothing is sent (`error`).
    :param model: the default for requests that name none.
    :param defaults: params for every request, such as `system` and `max_tokens`; what a request names wins.
    :param format: of the answers: `jsonl` (the default), `jsonl.gz`, `jsonl.zst` or `parquet`; of rows: `parquet` (the
        default), `csv` or `jsonl`. A job keeps the one of its first run.
    :param canary: so many requests are sent alone first; 0: none.
    :param canary_sample: the canary is the `first` requests, or `spread` over all.
    :param warm_cache: send one request alone first, so that the others read the prefix from the cache that they share
        with it; it must end with a `cache_control` of 1 h. With a canary, the canary does that.
    :param rounds: how often a request is sent at most; 1: once.
    :param max_tokens_growth: send answers that `max_tokens` stopped again with this many times the limit; None: do not.
    :param max_cost_usd: the cap in USD; None: no cap.
    :param max_failure_rate: the share of requests, or of rows, that may have no answer; None: any.
    :param max_queued: most requests under way; None: as many as the API takes.
    :param max_requests: most requests in one batch.
    :param max_bytes: most bytes of one create's body.
    :param preflight: what to do with requests that the API would refuse.
    :param on_changed: when the folder's job has other requests: `fail`, or `continue` with those that it was planned
        with, and warn. Other requests need another folder.
    :param on_missing: when a batch no longer exists: `fail`, or `resubmit`, which may pay twice.
    :param on_unsettled: when no search can tell whether a create made a batch: `fail`, or `resubmit`, which may pay
        twice.
    :param open_store: finds the store of a source's URI; by default fsspec's, with its own configuration.
    :param storage_options: options for the fsspec file system of the folder.
    :param resend_canceled: a person runs the job again: what was canceled before is sent again.
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
    options = RowOptions(
        prompt=prompt, columns=columns, key=key, keep=keep, output_type=output_type, dedupe=dedupe,
        reuse=reuse, max_age=max_age, on_empty_prompt=on_empty_prompt,
    )  # fmt: skip
    clock = clock or SystemClock()
    asked_rows = asked_rows_of(
        rows, options, model=model, defaults=defaults, open_store=open_store,
        open_folder=lambda uri: JobFolder(uri, storage_options), resend_truncated=max_tokens_growth is not None,
        now=clock.now(),
    )  # fmt: skip
    cut = CutLimits(
        max_requests=max_requests, max_bytes=max_bytes, model=model, version=client.anthropic_version,
        preflight=preflight,
    )  # fmt: skip
    asked = JobRequests(
        requests=requests, rows=asked_rows, defaults=defaults or {}, cut=cut, canary=canary,
        canary_sample=canary_sample, warm_cache=warm_cache, max_tokens_growth=max_tokens_growth,
        output_type=output_type, on_changed=on_changed, open_store=open_store,
    )  # fmt: skip
    limits = JobLimits(
        max_cost_usd=None if max_cost_usd is None else Decimal(str(max_cost_usd)), max_queued=max_queued,
        max_failure_rate=max_failure_rate, rounds=rounds, on_missing=on_missing, on_unsettled=on_unsettled,
        poll_interval=seconds(poll_interval),
    )  # fmt: skip
    manifest = make_engine(
        client, folder, asked, limits, owner=owner, format_name=format, resend_canceled=resend_canceled,
        reopen=resend_canceled, clock=clock, on_step=progress,
    ).run()  # fmt: skip
    require_answers(manifest, max_failure_rate)
    return manifest


def asked_rows_of(rows: Any, options: RowOptions, **how: Any) -> JobRows | None:
    """Return the rows of a job; None if there are none.

    :param how: further arguments of `AskedRows`.

    :raises InvalidRequest: there are options without rows, they do not fit the rows, or a package is missing.
    """
    if rows is None:
        names = ("prompt", "columns", "key", "keep", "output_type", "reuse", "max_age")
        given = [name for name in names if getattr(options, name)]
        if given:
            raise InvalidRequest(f"{given[0]} is for rows, and none were given")
        return None
    with require_row_packages():
        from airflow_batches.jobs.rows import AskedRows
    return AskedRows(rows, options, **how)


def require_answers(manifest: JobManifest, max_failure_rate: float | None) -> None:
    """Raise `JobFailed` if more requests or rows failed than allowed, or none has an answer."""
    failures = manifest.failures
    if (failures and failures == manifest.asked) or (
        max_failure_rate is not None and failures > max_failure_rate * manifest.asked
    ):
        raise JobFailed(
            manifest,
            f"{failures_text(manifest)} max_failure_rate is {max_failure_rate}. All is published; the failures are in "
            f"{manifest.failed.uri}",
        )
