"""Landing: a batch's results into an object, complete and checked, or not at all.

    batch -> readings -> [decode, count] -> [encode, hash, write] -> [compare] -> publish -> manifest

Rules: nothing is published before everything has been compared; the object for failed lines appears first, and goes
again where the results cannot follow, then the results, the manifest last. Reading and decoding are this thread's,
encoding and writing another's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Final, Literal

from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import ApiError, BatchesError, InvalidRequest, StreamInterrupted
from airflow_batches.api.models import MessageBatch, ProcessingStatus
from airflow_batches.api.retry import RetryPolicy
from airflow_batches.landing.background import Background
from airflow_batches.landing.claim import Claim
from airflow_batches.landing.errors import LandingError, LandingMismatch, LandingRefused, LandingTimeout, StoreTimeout
from airflow_batches.landing.formats import Output, encoder_for, format_of
from airflow_batches.landing.lines import decode
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import LandedObject, Manifest
from airflow_batches.landing.patience import within
from airflow_batches.landing.prices import PriceList
from airflow_batches.landing.progress import Progress, reported
from airflow_batches.landing.sent import Receipt, Sent, sent_as
from airflow_batches.landing.stream import Block, Results, joined
from airflow_batches.landing.tally import SUCCEEDED, Tally
from airflow_batches.landing.verify import Expectation, Mismatch, compare, with_names

logger = logging.getLogger(__name__)

Verify = Literal["error", "warn"]
PROGRESS_EVERY: Final = 5.0
GRACE: Final = 30.0
"""Seconds that a store has beyond the timeout."""
LONGEST: Final = 10**9
"""Seconds; longer than that no thread can wait."""
NOTHING: Final = "Nothing is published; verify='warn' publishes what came"
STAYS: Final = "Nothing is published: what stands there is verified"
COUNTED: Final = ("succeeded", "errored", "canceled", "expired")


def land(
    client: BatchesClient,
    batch_id: str,
    path: str | Location,
    *,
    failed_path: str | Location | None = None,
    format: str | None = None,  # noqa: A002  # the word for it, here as in the libraries people know
    verify: Verify = "error",
    overwrite: bool = False,
    receipt: Receipt | None = None,
    sent_ids: Callable[[], Iterable[str]] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    timeout: float = 3600.0,
    stall_timeout: float = 60.0,
    retry: RetryPolicy | None = None,
    progress: Callable[[Progress], None] | None = None,
    progress_every: float = PROGRESS_EVERY,
) -> Manifest:
    """Lands an ended batch's results at a URI and returns what landed.

    `path` is the results' URI, `.manifest.json` after it the manifest's. `failed_path` gets the lines that did not
    succeed. `format` is `jsonl` or `parquet`; by default the suffix decides, as it does on compression (`.gz`,
    `.zst`). `receipt` is a submission's receipt, or just its ids digest. `sent_ids` gives the custom_ids that were
    sent; it is asked only where ids do not match, to name up to 20 that are missing or foreign, and takes its time.
    `storage_options` are fsspec's. `timeout` bounds all that is asked of the API, `stall_timeout` each silence, in
    seconds; `retry` says what is asked again, and how often in vain. What has come then may be stored: the store has
    `GRACE` seconds more, and as many for each step of publishing or discarding. `progress` is called every
    `progress_every` seconds, from another thread.

    Landing again where the batch has landed already does nothing; only to prove the ids of a receipt, where none were
    proven, the results are read again. With `verify="warn"` what came is published even if it is not what the batch
    counts, or the API failed in between, and the manifest says so; but never in place of the batch's verified results.

    Raises `LandingRefused`, `LandingMismatch`, `LandingTimeout`, `LandingError`, and what `BatchesClient.get` and
    reading the results raise.
    """
    if verify not in {"error", "warn"}:
        raise InvalidRequest(f"verify must be 'error' or 'warn', not {verify!r}")
    _check_times(timeout=timeout, stall_timeout=stall_timeout)
    deadline = time.monotonic() + timeout
    sent = sent_as(receipt, batch_id)
    results = _located(path, storage_options)
    failed = None if failed_path is None else _located(failed_path, storage_options)
    format_name = format_of(results.path, format)
    claim = Claim(results, failed, batch_id)
    with Background(deadline + GRACE) as background:

        def landed(least: Verify, proof: Sent | None) -> Manifest | None:
            asked = partial(_as_asked, format_name=format_name, verify=least, sent=proof)
            found = None if overwrite else background.call(claim.landed, asked, grace=GRACE)
            if found is not None:
                logger.info("%s has landed at %s already", batch_id, results.uri)
            return found

        if (manifest := landed(verify, sent)) is not None:
            return manifest
        # Whoever lands a batch was told of it: a 404 is a replica that lags behind, until it stays one.
        policy = replace(retry or RetryPolicy(), exists=True)
        landing = _Landing(_ended(_batch(client, batch_id, policy, deadline)), sent, verify, sent_ids)
        stream = Results(
            client, batch_id, landing.expected.total, retry=policy, deadline=deadline, stall_timeout=stall_timeout
        )
        with (
            _output(results, format_name, background) as out,
            _failed_output(failed, background) as failed_out,
        ):
            with reported(progress, progress_every, landing.progress):
                landing.fill(stream, out, failed_out, background)
                background.drain()  # or each write left would have to win the interpreter from the digesting
                finishing = [background.do(output.finish) for output in (out, failed_out) if output]
                landing.compare(stream)
                background.drain()
            if (manifest := landed("error", None if landing.mismatch else sent)) is not None:  # by another, meanwhile
                return manifest
            if landing.mismatch and not overwrite and background.call(claim.holds_all, grace=GRACE):
                raise LandingMismatch(batch_id, landing.mismatch, STAYS)
            manifest = landing.manifest(stream, *(finished.result() for finished in finishing))
            _publish(claim, [output for output in (failed_out, out) if output], background)
        background.call(claim.settle, manifest, grace=GRACE)
    logger.info("%s landed at %s: %s lines in %.1f s", batch_id, results.uri, f"{manifest.lines:,}", manifest.seconds)
    return manifest


def _publish(claim: Claim, outputs: Sequence[Output], background: Background) -> None:
    for step in claim.announcing:  # each by itself: one that hangs is not followed by the next, whenever it ends
        background.call(step, grace=GRACE)
    try:
        for output in outputs:
            background.call(output.commit, grace=GRACE)
    except StoreTimeout:  # it may happen yet, as it may when the waiting was interrupted; the note says so
        raise
    except Exception:
        published = [output.location for output in outputs if output.published]
        with _told("Cannot take back what was published"):
            for step in background.call(claim.amends, published, grace=GRACE):
                background.call(step, grace=GRACE)
        raise


class _Landing:
    """What is known of one landing while it runs, and the manifest that comes of it."""

    def __init__(
        self,
        batch: MessageBatch,
        sent: Sent | None,
        verify: Verify,
        sent_ids: Callable[[], Iterable[str]] | None,
    ) -> None:
        counts = batch.request_counts
        self.expected = Expectation(
            counts={kind: getattr(counts, kind) for kind in COUNTED}, total=counts.total, sent=sent
        )
        self._batch = batch
        self._verify = verify
        self._sent_ids = sent_ids
        self._prices = PriceList(batch.created_at)
        self._tally = Tally(self._prices.steps)
        self.mismatch: Mismatch | None = None
        self._lines = 0
        self._size = 0
        self._began = datetime.now(UTC)
        self._clock = time.monotonic()

    def fill(self, stream: Results, out: Output, failed_out: Output | None, background: Background) -> None:
        """Everything that comes, into the outputs."""
        try:
            with closing(iter(stream)) as blocks:
                for _ in map(partial(self._take, out, failed_out, background), blocks):
                    pass  # no name keeps a block alive while the next one is made
        except StoreTimeout:
            raise
        except (ApiError, StreamInterrupted, LandingTimeout) as error:
            if self._verify == "error" or not self._lines:
                raise
            logger.warning("Landing what came: %s", error)

    def _take(self, out: Output, failed_out: Output | None, background: Background, block: Block) -> None:
        self._tally.add(block.results)
        self._lines += len(block.results)
        self._size += len(block.data)
        background.do(out.write, block.data, len(block.results))
        if failed_out is not None and (failures := _failures(block)):
            background.do(failed_out.write, joined(failures), len(failures))

    def compare(self, stream: Results) -> None:
        """What came with what the batch holds; raises `LandingMismatch` where it must not be published."""
        ledger = stream.ledger
        mismatch = compare(self.expected, self._tally.types, ledger.taken, ledger.doubled, unreadable=stream.unreadable)
        if mismatch is None:
            return
        if self._sent_ids is not None and mismatch.is_of_ids:
            mismatch = self._named(mismatch, ledger.taken, self._sent_ids)
        if self._verify == "error":
            raise LandingMismatch(self._batch.id, mismatch, NOTHING)
        logger.warning("Landing what came of %s: %s", self._batch.id, "; ".join(mismatch.sentences()))
        self.mismatch = mismatch

    def _named(self, mismatch: Mismatch, came: Collection[str], sent_ids: Callable[[], Iterable[str]]) -> Mismatch:
        """With names, if those who were sent can still be told; the mismatch matters more than why they cannot."""
        logger.info("The ids do not match; reading which were sent")
        try:
            known = [*islice(sent_ids(), self.expected.total + 1)]
            named = with_names(mismatch, came, known, self.expected)
        except Exception as error:  # noqa: BLE001  # whatever a user's source raises
            logger.warning("Cannot read which ids were sent: %s: %.300s", type(error).__name__, error)
            return mismatch
        if named is None:
            logger.warning("The ids that can be read now are not those that were sent")
        return named or mismatch

    def manifest(self, stream: Results, results: LandedObject, failed: LandedObject | None = None) -> Manifest:
        """What has landed, once it has been compared."""
        seconds = time.monotonic() - self._clock
        return Manifest(
            batch_id=self._batch.id,
            results=results,
            failed=failed,
            lines=self._lines,
            counts={**dict.fromkeys(COUNTED, 0), **self._tally.types},
            error_types=dict(self._tally.error_types),
            ids_digest=sent.digest if (sent := self.expected.sent) and self.mismatch is None else None,
            verified=self.mismatch is None,
            mismatch=self.mismatch,
            usage=self._tally.by_model(),
            cost_usd=self._prices.cost(self._tally.ranges),
            batch_created_at=_iso(self._batch.created_at),
            batch_ended_at=_iso(self._batch.ended_at),
            started_at=self._began.isoformat(),
            landed_at=datetime.now(UTC).isoformat(),
            seconds=round(seconds, 3),
            lines_per_second=round(self._lines / seconds, 1) if seconds else 0.0,
            readings=stream.readings,
        )

    def progress(self) -> Progress:
        """How far it is; other threads may ask."""
        seconds = time.monotonic() - self._clock
        return Progress(lines=self._lines, expected=self.expected.total, size=self._size, seconds=seconds)


def _located(path: str | Location, storage_options: Mapping[str, Any] | None) -> Location:
    return path if isinstance(path, Location) else Location.parse(path, storage_options)


def _check_times(**times: float) -> None:
    for name, value in times.items():
        if not 0 <= value <= LONGEST:
            raise InvalidRequest(f"{name} must be from 0 to {LONGEST:,} seconds, not {value!r}")


def _as_asked(found: Manifest, *, format_name: str, verify: Verify, sent: Sent | None) -> bool:
    """Whether a landing would make what has landed already."""
    proven = sent is None or sent.digest == found.ids_digest
    return found.results.format == format_name and (verify == "warn" or (found.verified and proven))


def _batch(client: BatchesClient, batch_id: str, policy: RetryPolicy, deadline: float) -> MessageBatch:
    try:
        return within(deadline - time.monotonic(), lambda: client.get(batch_id, retry=policy), lambda _: None)
    except TimeoutError as exc:
        raise LandingTimeout(f"the API did not say in time how {batch_id} stands") from exc


def _ended(batch: MessageBatch) -> MessageBatch:
    """The batch, if its results can be read."""
    if batch.archived_at is not None:
        raise LandingRefused(
            f"the results of {batch.id} were archived at {batch.archived_at.isoformat()}; "
            "the API keeps them for 29 days from the batch's creation"
        )
    if batch.processing_status is not ProcessingStatus.ENDED:
        raise LandingError(f"{batch.id} has not ended: it is {batch.status_text}; land it once it has")
    return batch


def _failures(block: Block) -> list[bytes]:
    """The lines that did not succeed; each is decoded again, which only blocks with such lines pay for."""
    if all(line.result.type == SUCCEEDED for line in block.results):
        return []
    lines = ((line, decode(line)) for line in block.data.split(b"\n"))
    return [line for line, result in lines if result is not None and result.result.type != SUCCEEDED]


@contextmanager
def _output(location: Location, format_name: str, background: Background) -> Iterator[Output]:
    encoder = encoder_for(format_name)
    created: list[Output] = []  # perhaps when nobody waits for it any more
    try:
        background.call(lambda: created.append(Output(location, format_name, encoder)))
        yield created[0]
    finally:
        with _told("Leaving an unfinished object behind"):
            background.undo(lambda: _discard(created), GRACE)


def _discard(created: Sequence[Output]) -> None:
    for output in created:
        output.discard()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A failure of clearing up is a warning: what led there says more."""
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


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
