"""Land a batch's results in an object: complete and checked, or not at all.

    batch -> readings -> [decode, count] -> [encode, hash, write] -> [compare] -> publish

Rules:
- Nothing is published before everything has been compared (`ingest`, `verify`).
- `place` decides whether a batch may land at a path, `publish` makes it visible.
- The caller's thread reads and decodes. A second thread encodes, writes and makes every other call to the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from typing import Any, Final

from airflow_batches._duration import Seconds, seconds
from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import BatchesError, InvalidRequest
from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.api.retry import RetryPolicy
from airflow_batches.landing.background import Background
from airflow_batches.landing.errors import (
    LandingError,
    LandingMismatch,
    LandingOvertaken,
    LandingRefused,
    LandingTimeout,
    StoreTimeout,
)
from airflow_batches.landing.formats import Output, encoder_for, format_of
from airflow_batches.landing.ingest import Ingest, Verify
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import LandedBy, Manifest
from airflow_batches.landing.patience import call_with_timeout
from airflow_batches.landing.place import Ask, Place, Seen
from airflow_batches.landing.progress import Progress, reported
from airflow_batches.landing.publish import Publication
from airflow_batches.landing.sent import Receipt, sent_as
from airflow_batches.landing.stream import Results

logger = logging.getLogger(__name__)

PROGRESS_EVERY: Final = 5.0
"""Seconds between two progress reports. Chosen: a stall shows well before `stall_timeout`, and a landing that takes its
whole hour logs 720 lines."""
GRACE: Final = 30.0
"""Seconds that a store has beyond the timeout, for each step. Chosen: enough for a slow call that the store's client
retries, and little beside the default timeout of an hour."""
LONGEST: Final = 10**9
"""Seconds of the longest timeout. Chosen below `threading.TIMEOUT_MAX` (9.2e9 s on 64-bit Linux), beyond which a wait
raises `OverflowError`."""
STAYS: Final = "Nothing is published: what stands there is verified"


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
    retry: RetryPolicy | None = None,
    progress: Callable[[Progress], None] | None = None,
    progress_every: float = PROGRESS_EVERY,
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
    :param timeout: seconds (or a timedelta) for all calls to the API. After them the store has `GRACE` seconds to store
        what was read, and as many for each step of publishing or discarding.
    :param stall_timeout: seconds (or a timedelta) without a byte after which the results are requested again.
    :param retry: which failures are retried, and how often in a row; by default those of `RetryPolicy()`.
    :param progress: called every `progress_every` seconds, from another thread.
    :param progress_every: seconds between two calls of `progress`, at least 0.01.
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
    if verify not in {"error", "warn"}:
        raise InvalidRequest(f"verify must be 'error' or 'warn', not {verify!r}")
    timeout, stall_timeout = seconds(timeout), seconds(stall_timeout)
    _check_times(timeout=timeout, stall_timeout=stall_timeout)
    deadline = time.monotonic() + timeout
    sent = sent_as(receipt, batch_id)
    results = _located(path, storage_options)
    failed = None if failed_path is None else _located(failed_path, storage_options)
    ask = Ask(
        batch_id=batch_id,
        format_name=format_of(results.path, format),
        verify=verify,
        sent=sent,
        landed_by=landed_by,
    )
    with Background(deadline + GRACE) as background:
        store = _Store(Place(results, failed), background, overwrite=overwrite)
        if (manifest := store.landed(store.look(), ask)) is not None:
            return manifest
        # A 404 here usually means that a replica lags behind the one that said the batch has ended: retry it.
        policy = replace(retry or RetryPolicy(), exists=True)
        batch = _ended(_batch(client, batch_id, policy, deadline))
        ingest = Ingest(batch, sent, verify, submitted_ids)
        stream = Results(
            client, batch_id, ingest.expected.total, retry=policy, deadline=deadline, stall_timeout=stall_timeout
        )
        with (
            _output(results, ask.format_name, background) as out,
            _failed_output(failed, background) as failed_out,
        ):
            with reported(progress, progress_every, ingest.progress):
                ingest.fill(stream, out, failed_out, background)
                background.drain()  # otherwise the remaining writes and the digest compete for the interpreter's lock
                finishing = [background.do(output.finish) for output in (out, failed_out) if output]
                ingest.compare(stream)
                background.drain()
            # Another landing may have published meanwhile: incomplete results never replace its verified ones.
            ask = replace(ask, verify="error", sent=None if ingest.mismatch else sent, created_at=batch.created_at)
            seen = store.look()
            if (manifest := store.landed(seen, ask)) is not None:
                return manifest
            if ingest.mismatch and store.holds_all(seen, batch_id):
                raise LandingMismatch(batch_id, ingest.mismatch, STAYS)
            made = ingest.manifest(stream, *(finished.result() for finished in finishing), landed_by=landed_by)
            manifest = store.publish(Publication(store.place, seen, made, out, failed_out), ask)
    logger.info("%s landed at %s: %s lines in %.1f s", batch_id, results.uri, f"{manifest.lines:,}", manifest.seconds)
    return manifest


class _Store:
    """A place that is used through the background thread.

    With `overwrite`, its present content does not matter.
    """

    def __init__(self, place: Place, background: Background, *, overwrite: bool) -> None:
        self.place = place
        self._background = background
        self._overwrite = overwrite

    def look(self) -> Seen:
        return self._background.call(self.place.look, grace=GRACE)

    def landed(self, seen: Seen, ask: Ask) -> Manifest | None:
        """Return the manifest of an earlier landing that made what is asked for, else None."""
        if self._overwrite:
            return None
        found = self._background.call(self.place.landed, seen, ask, grace=GRACE)
        if found is not None:
            logger.info("%s has landed at %s already", ask.batch_id, self.place.results.uri)
            self._background.call(self.place.remove_stale_parts, grace=GRACE)
        return found

    def holds_all(self, seen: Seen, batch_id: str) -> bool:
        """Whether verified results of the batch are there; incomplete ones must not replace them."""
        return not self._overwrite and self._background.call(self.place.holds_all, seen, batch_id, grace=GRACE)

    def publish(self, publication: Publication, ask: Ask) -> Manifest:
        """Publish and return the manifest.

        If another landing published the same meanwhile, its manifest is returned.
        """
        try:
            for step in publication.steps:  # one call each: after a step that hangs, no other begins
                self._background.call(step, grace=GRACE)
        except StoreTimeout:  # the step may still happen; the manifest says `publishing`
            raise
        except LandingOvertaken:
            if (found := self.landed(self.look(), ask)) is None:
                raise
            return found
        except Exception:
            with _warned("Cannot take back what was published"):
                for step in publication.rollback_steps:
                    self._background.call(step, grace=GRACE)
            raise
        self._background.call(self.place.remove_stale_parts, grace=GRACE)
        return publication.manifest


def _located(path: str | PathLike[str] | Location, storage_options: Mapping[str, Any] | None) -> Location:
    return path if isinstance(path, Location) else Location.parse(path, storage_options)


def _check_times(**times: float) -> None:
    for name, value in times.items():
        if not 0 <= value <= LONGEST:
            raise InvalidRequest(f"{name} must be from 0 to {LONGEST:,} seconds, not {value!r}")


def _batch(client: BatchesClient, batch_id: str, policy: RetryPolicy, deadline: float) -> MessageBatch:
    def get() -> MessageBatch:
        with client.clone() as own:  # the call may outlive the wait for it, and threads must not share a client
            return own.get(batch_id, retry=policy)

    try:
        return call_with_timeout(deadline - time.monotonic(), get, lambda _: None)
    except TimeoutError as exc:
        raise LandingTimeout(f"the API did not answer in time how {batch_id} stands") from exc


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


@contextmanager
def _output(location: Location, format_name: str, background: Background) -> Iterator[Output]:
    encoder = encoder_for(format_name)
    created: list[Output] = []  # filled even when the store answers only after the deadline, so it can be discarded
    try:
        background.call(lambda: created.append(Output(location, format_name, encoder)))
        yield created[0]
    finally:
        with _warned("Leaving an unfinished object behind"):
            background.undo(lambda: _discard(created), GRACE)


def _discard(created: Sequence[Output]) -> None:
    for output in created:
        output.discard()


@contextmanager
def _warned(what: str) -> Iterator[None]:
    """Log a failure to clean up as a warning: the error that caused the cleanup is raised."""
    try:
        yield
    except BatchesError as error:
        logger.warning("%s: %s", what, error)


@contextmanager
def _failed_output(location: Location | None, background: Background) -> Iterator[Output | None]:
    if location is None:
        yield None
        return
    with _output(location, format_of(location.path, None), background) as output:
        yield output
