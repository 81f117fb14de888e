"""Land a batch's results in an object: complete and checked, or not at all.

    batch -> attempts -> [decode, count] -> [encode, hash, write] -> [compare] -> publish

Rules:
- Nothing is published before everything has been compared (`ingest`, `verify`).
- `place` decides whether a batch may land at a path, `publish` makes it visible.
- The caller's thread reads and decodes. A second thread encodes, writes and makes every other call to the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import wait
from dataclasses import replace
from os import PathLike
from typing import Any, Final, get_args

from airflow_batches._duration import Seconds, seconds
from airflow_batches._thread import WorkerThread
from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.api.retry import RetryPolicy
from airflow_batches.landing.errors import LandingError, LandingRefused, LandingTimeout
from airflow_batches.landing.formats import format_of
from airflow_batches.landing.ingest import Ingest
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import LandedBy, Manifest
from airflow_batches.landing.place import LandingTarget, Place
from airflow_batches.landing.progress import Progress, reported
from airflow_batches.landing.store import LandingStore
from airflow_batches.landing.store_thread import StoreThread
from airflow_batches.landing.stream import Results
from airflow_batches.landing.verify import Receipt, SubmittedIds, Verify

PROGRESS_EVERY_S: Final = 5.0
"""Seconds between two progress reports. Chosen: a stall shows well before `stall_timeout`, and a landing that takes its
whole hour logs 720 lines."""
STORE_TIMEOUT_S: Final = 30.0
"""Seconds for each step of the store. Chosen: enough for a slow call that the store's client retries, and little beside
the default timeout of an hour."""
MAX_TIMEOUT_S: Final = 10**9
"""Seconds of the longest timeout. Chosen below `threading.TIMEOUT_MAX` (9.2e9 s on 64-bit Linux), beyond which a wait
raises `OverflowError`."""


def land(
    client: BatchesClient,
    batch_id: str,
    path: str | PathLike[str] | Location,
    *,
    failed_path: str | PathLike[str] | Location | None = None,
    format: str | None = None,  # noqa: A002  # the usual name, as in pandas and pyarrow
    verify: Verify = "error",
    overwrite: bool = False,
    receipt: Receipt | None = None,
    submitted_ids: Callable[[], Iterable[str]] | None = None,
    landed_by: LandedBy | None = None,
    storage_options: Mapping[str, Any] | None = None,
    timeout: Seconds = 3600.0,
    stall_timeout: Seconds = 60.0,
    store_timeout: Seconds = STORE_TIMEOUT_S,
    retry: RetryPolicy | None = None,
    progress: Callable[[Progress], None] | None = None,
    progress_every: Seconds = PROGRESS_EVERY_S,
) -> Manifest:
    """Land an ended batch's results at a URI and return what landed.

    Landing a batch again at the same path does nothing. The results are read again only when a receipt is given and the
    first landing proved no ids. With `verify="warn"` the results that were read are published even if they differ from
    the batch's counts or the API failed in between, and the manifest says so; they never replace verified results.

    :param client: a client whose settings are used; the calls are made by clones of it.
    :param batch_id: the batch, which must have ended.
    :param path: URI of the results; the manifest's URI is the same with `.manifest.json` appended.
    :param failed_path: URI for a copy of the lines that did not succeed; none is written by default.
    :param format: `jsonl` or `parquet`; by default the path's suffix decides. It also decides on compression (`.gz`,
        `.zst`).
    :param verify: `error` publishes only results that match the batch's counts, `warn` publishes what was read.
    :param overwrite: land whatever is at the path; by default another batch's results are never replaced.
    :param receipt: a submission's receipt or its ids digest, to prove the custom_ids; by default only their number is
        checked.
    :param submitted_ids: a function that gives the custom_ids that were submitted. It is called only where ids do not
        match, to name up to 20 that are missing or foreign, or where the API counts no requests. By default none is
        named: a receipt proves that ids differ, not which.
    :param landed_by: the task instance that lands. It may replace results of an older batch that it landed itself.
    :param storage_options: options for the fsspec file systems of the URIs.
    :param timeout: seconds (or a timedelta) for all calls to the API.
    :param stall_timeout: seconds (or a timedelta) without a byte after which the results are requested again.
    :param store_timeout: seconds (or a timedelta) that the store has after `timeout` to store what was read, and for
        each step of publishing or discarding.
    :param retry: which failures are retried, and how often in a row; by default those of `RetryPolicy()`.
    :param progress: called every `progress_every` seconds, from another thread.
    :param progress_every: seconds (or a timedelta) between two calls of `progress`, at least 0.01 s.
    :return: the manifest, as it is stored beside the results.
    :raises InvalidRequest: an argument is not valid, or the receipt belongs to another batch.
    :raises LandingRefused: the batch cannot land at this path, for example over another batch's results.
    :raises LandingMismatch: the results that were read are not those that the batch must hold.
    :raises LandingOvertaken: another landing published at the same path meanwhile; a retry helps.
    :raises LandingTimeout: the time was over before every result was read, or the store did not answer in time.
    :raises LandingError: the batch has not ended, or the store failed.
    :raises ApiError: the API refused a call; it is raised as it is, as every other error of the client is.

    Example::

        with BatchesClient(api_key) as client:
            manifest = land(client, "msgbatch_01ab", "file:///data/results.jsonl.gz")
        print(manifest.lines, manifest.counts)
    """
    if verify not in get_args(Verify):
        raise InvalidRequest(f"verify must be 'error' or 'warn', not {verify!r}")
    timeout_s = _checked("timeout", timeout)
    max_silence_s = _checked("stall_timeout", stall_timeout)
    store_timeout_s = _checked("store_timeout", store_timeout)
    interval_s = _checked("progress_every", progress_every)
    deadline = time.monotonic() + timeout_s
    place = Place(path, failed_path, storage_options)
    target = LandingTarget(
        batch_id=batch_id,
        format_name=format_of(place.results.path, format),
        verify=verify,
        submitted=SubmittedIds.of(receipt, batch_id),
        landed_by=landed_by,
    )
    # A 404 here usually means that a replica lags behind the one that said the batch has ended: retry it.
    policy = replace(retry or RetryPolicy(), exists=True)
    with StoreThread(place.results.uri, deadline + store_timeout_s, store_timeout_s) as thread:
        store = LandingStore(place, thread, overwrite=overwrite)
        if (manifest := store.landed(target)) is not None:
            return manifest
        batch = _ended(_batch(client, batch_id, policy, deadline))
        ingest = Ingest(batch, target.submitted, verify, submitted_ids)
        expected = ingest.expected.total
        stream = Results(client, batch_id, expected, retry=policy, deadline=deadline, max_silence_s=max_silence_s)
        with store.outputs(target.format_name) as outputs:
            with reported(progress, interval_s, ingest.progress):
                manifest = ingest.run(stream, outputs, landed_by)
            # Another landing may have published meanwhile: then only verified results stay.
            submitted = None if manifest.mismatch else target.submitted
            target = replace(target, verify="error", submitted=submitted, created_at=batch.created_at)
            return store.publish(manifest, outputs, target)


def _checked(name: str, timeout: Seconds) -> float:
    timeout_s = seconds(timeout)
    if not 0 <= timeout_s <= MAX_TIMEOUT_S:
        raise InvalidRequest(f"{name} must be from 0 to {MAX_TIMEOUT_S:,} seconds, not {timeout_s!r}")
    return timeout_s


def _batch(client: BatchesClient, batch_id: str, policy: RetryPolicy, deadline: float) -> MessageBatch:
    def get() -> MessageBatch:
        with client.clone() as own:  # the call may outlive the wait for it, and threads must not share a client
            return own.get(batch_id, retry=policy)

    thread = WorkerThread("landing-get")
    getting = thread.submit(get)
    thread.finish()
    if not wait([getting], deadline - time.monotonic()).done:
        raise LandingTimeout(f"the API did not say in time whether {batch_id} has ended")
    return getting.result()


def _ended(batch: MessageBatch) -> MessageBatch:
    """Return the batch if its results can be read, else raise."""
    if batch.archived_at is not None:
        raise LandingRefused(
            f"the results of {batch.id} were archived at {batch.archived_at.isoformat()}; "
            "the API keeps them for 29 days from the batch's creation"
        )
    if batch.processing_status is not ProcessingStatus.ENDED:
        raise LandingError(f"{batch.id} has not ended: it is {batch.status_text}; land it once it has")
    return batch
