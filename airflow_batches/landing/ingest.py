"""Pass a batch's lines to the outputs, count them, compare them, and make the manifest.

Rule: nothing is complete before it has been compared with the batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Final, Literal

from airflow_batches.api.errors import ApiError, StreamInterrupted
from airflow_batches.api.models import MessageBatch
from airflow_batches.landing.background import Background
from airflow_batches.landing.errors import LandingMismatch, LandingTimeout, StoreTimeout
from airflow_batches.landing.formats import Output
from airflow_batches.landing.lines import decode
from airflow_batches.landing.manifest import LandedBy, LandedObject, Manifest
from airflow_batches.landing.prices import PriceList
from airflow_batches.landing.progress import Progress
from airflow_batches.landing.sent import SubmittedIds
from airflow_batches.landing.stream import Block, Results, joined
from airflow_batches.landing.tally import SUCCEEDED, Tally
from airflow_batches.landing.verify import Expectation, Mismatch, compare, with_names

logger = logging.getLogger(__name__)

Verify = Literal["error", "warn"]
COUNTED: Final = ("succeeded", "errored", "canceled", "expired")
NOTHING: Final = "Nothing is published; verify='warn' publishes what came"


class Ingest:
    """The landing of one batch's results in outputs; `mismatch` is set by `compare`."""

    def __init__(
        self,
        batch: MessageBatch,
        sent: SubmittedIds | None,
        verify: Verify,
        submitted_ids: Callable[[], Iterable[str]] | None,
    ) -> None:
        counts = batch.request_counts
        self.expected = Expectation.of({kind: getattr(counts, kind) for kind in COUNTED}, counts.total, sent)
        self.mismatch: Mismatch | None = None
        self._batch = batch
        self._verify = verify
        self._submitted_ids = submitted_ids
        self._prices = PriceList(batch.created_at)
        self._tally = Tally(self._prices.steps)
        self._lines = 0
        self._size = 0
        self._began = datetime.now(UTC)
        self._clock = time.monotonic()

    def fill(self, stream: Results, out: Output, failed_out: Output | None, background: Background) -> None:
        """Write all results to the outputs.

        :param stream: the results.
        :param out: gets every line.
        :param failed_out: gets the lines that did not succeed, if there is one.
        :param background: the thread that writes.
        :raises ApiError: the API failed; with `verify="warn"` only if no line had been read.
        :raises LandingError: as `ApiError`, or the store failed.
        """
        try:
            with closing(iter(stream)) as blocks:
                for _ in map(partial(self._take, out, failed_out, background), blocks):
                    pass  # no variable holds a block while the next one is made: that would cost memory
        except StoreTimeout:
            raise
        except (ApiError, StreamInterrupted, LandingTimeout) as error:
            if self._verify == "error" or not self._lines:
                raise
            logger.warning("Landing what came of %s: %s", self._batch.id, error)

    def _take(self, out: Output, failed_out: Output | None, background: Background, block: Block) -> None:
        self._tally.add(block.results)
        self._lines += len(block.results)
        self._size += len(block.data)
        background.do(out.write, block.data, len(block.results))
        if failed_out is not None and (failures := _failures(block)):
            background.do(failed_out.write, joined(failures), len(failures))

    def compare(self, stream: Results) -> None:
        """Compare the results that were read with the batch.

        :param stream: the stream that has been read.
        :raises LandingMismatch: they differ, and `verify` is `error`.
        """
        ledger = stream.ledger
        mismatch = compare(self.expected, self._tally.types, ledger.taken, ledger.doubled, unreadable=stream.unreadable)
        if mismatch is not None and self._submitted_ids is not None and mismatch.is_of_ids:
            mismatch = self._named(mismatch, ledger.taken, self._submitted_ids)
        if mismatch is None or not mismatch.sentences():
            return
        if self._verify == "error":
            raise LandingMismatch(self._batch.id, mismatch, NOTHING)
        logger.warning("Landing what came of %s: %s", self._batch.id, "; ".join(mismatch.sentences()))
        self.mismatch = mismatch

    def _named(self, mismatch: Mismatch, came: Collection[str], submitted_ids: Callable[[], Iterable[str]]) -> Mismatch:
        """Add names to a mismatch, if the submitted ids can be read; a failure to read them is only logged."""
        logger.info("The ids of %s do not match; reading which were sent", self._batch.id)
        limit = None if self.expected.total is None else self.expected.total + 1
        try:
            known = [*islice(submitted_ids(), limit)]
            named = with_names(mismatch, came, known, self.expected)
        except Exception as error:  # noqa: BLE001  # a user's source may raise anything
            logger.warning("Cannot read which ids were sent: %s: %.300s", type(error).__name__, error)
            return mismatch
        if named is None:
            logger.warning("The ids that can be read now are not those that were sent")
        return named or mismatch

    def manifest(
        self,
        stream: Results,
        results: LandedObject,
        failed: LandedObject | None = None,
        *,
        landed_by: LandedBy | None,
    ) -> Manifest:
        """Make the manifest, after `compare`."""
        seconds = time.monotonic() - self._clock
        return Manifest(
            landed_by=landed_by,
            batch_id=self._batch.id,
            results=results,
            failed=failed,
            lines=self._lines,
            counts={**dict.fromkeys(COUNTED, 0), **self._tally.types},
            error_types=dict(self._tally.error_types),
            error_messages=self._tally.error_messages.most_common(),
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
        """Return how far the landing has come; safe to call from other threads."""
        seconds = time.monotonic() - self._clock
        return Progress(lines=self._lines, expected=self.expected.total, size=self._size, seconds=seconds)


def _failures(block: Block) -> list[bytes]:
    """Return the lines that did not succeed.

    Only a block that has such lines is decoded a second time.
    """
    if all(line.result.type == SUCCEEDED for line in block.results):
        return []
    lines = ((line, decode(line)) for line in block.data.split(b"\n"))
    return [line for line, result in lines if result is not None and result.result.type != SUCCEEDED]


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
