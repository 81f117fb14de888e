"""Pass a batch's lines to the outputs, count them, compare them, and make the manifest.

Rule: nothing is complete before it has been compared with the batch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Final

from airflow_batches.api.errors import ApiError, StreamInterrupted
from airflow_batches.api.models import MessageBatch
from airflow_batches.landing.blocks import Block
from airflow_batches.landing.errors import LandingMismatch, LandingTimeout, StoreTimeout
from airflow_batches.landing.lines import decode
from airflow_batches.landing.manifest import LandedBy, LandedObject, Manifest
from airflow_batches.landing.mismatch import Mismatch
from airflow_batches.landing.output import Outputs
from airflow_batches.landing.prices import PriceList
from airflow_batches.landing.progress import Progress
from airflow_batches.landing.stream import Results
from airflow_batches.landing.tally import SUCCEEDED, Tally
from airflow_batches.landing.verify import Expectation, SubmittedIds, Verify, compare, with_names

logger = logging.getLogger(__name__)

COUNTED: Final = ("succeeded", "errored", "canceled", "expired")
NOTHING: Final = "Nothing is published; verify='warn' publishes what was read"


class Ingest:
    """Counts one batch's results while they pass to the outputs, and compares them with the batch."""

    def __init__(
        self,
        batch: MessageBatch,
        submitted: SubmittedIds | None,
        verify: Verify,
        submitted_ids: Callable[[], Iterable[str]] | None,
    ) -> None:
        counts = batch.request_counts
        self.expected = Expectation.of({kind: getattr(counts, kind) for kind in COUNTED}, counts.total, submitted)
        self._batch = batch
        self._verify = verify
        self._submitted_ids = submitted_ids
        self._prices = PriceList(batch.created_at)
        self._tally = Tally(self._prices.steps)
        self._lines = 0
        self._bytes = 0
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()

    def run(self, stream: Results, outputs: Outputs, landed_by: LandedBy | None) -> Manifest:
        """Write all results to the outputs, compare them with the batch, and make the manifest.

        :param stream: the results.
        :param outputs: get every line, and the lines that did not succeed.
        :param landed_by: the task instance that lands, if one does.
        :raises ApiError: the API failed; with `verify="warn"` only if no line had been read.
        :raises LandingMismatch: the results differ from the batch, and `verify` is `error`.
        :raises LandingError: as `ApiError`, or the store failed.
        """
        self._fill(stream, outputs)
        outputs.finish()  # in the store's thread, while this one compares
        mismatch = self._compare(stream)
        return self._manifest(stream, outputs.landed(), mismatch, landed_by)

    def progress(self) -> Progress:
        """Return the present progress; safe to call from other threads."""
        seconds = time.monotonic() - self._started
        return Progress(lines=self._lines, expected=self.expected.total, size=self._bytes, seconds=seconds)

    def _fill(self, stream: Results, outputs: Outputs) -> None:
        try:
            with closing(iter(stream)) as blocks:
                for _ in map(partial(self._add, outputs), blocks):
                    pass  # no variable holds a block while the next one is made: that would cost memory
        except StoreTimeout:
            raise
        except (ApiError, StreamInterrupted, LandingTimeout) as error:
            if self._verify == "error" or not self._lines:
                raise
            logger.warning("Landing the results of %s that were read: %s", self._batch.id, error)

    def _add(self, outputs: Outputs, block: Block) -> None:
        self._tally.add(block.results)
        self._lines += len(block.results)
        self._bytes += len(block.data)
        outputs.write(block.data, len(block.results))
        if outputs.failed is not None:
            outputs.write_failed(_failures(block))

    def _compare(self, stream: Results) -> Mismatch | None:
        lines = stream.lines
        mismatch = compare(self.expected, self._tally.types, lines.ids, lines.doubled, unreadable=lines.unreadable)
        if mismatch is not None and self._submitted_ids is not None and mismatch.is_of_ids:
            mismatch = self._named(mismatch, lines.ids, self._submitted_ids)
        if mismatch is None or not mismatch.sentences():
            return None
        if self._verify == "error":
            raise LandingMismatch(self._batch.id, mismatch, NOTHING)
        logger.warning("Landing the results of %s that were read: %s", self._batch.id, "; ".join(mismatch.sentences()))
        return mismatch

    def _named(self, mismatch: Mismatch, ids: Collection[str], submitted_ids: Callable[[], Iterable[str]]) -> Mismatch:
        """Add names to a mismatch, if the submitted ids can be read; a failure to read them is only logged."""
        logger.info("The ids of %s do not match; reading the submitted ids", self._batch.id)
        limit = None if self.expected.total is None else self.expected.total + 1
        try:
            submitted = [*islice(submitted_ids(), limit)]
            named = with_names(mismatch, ids, submitted, self.expected)
        except Exception as error:  # noqa: BLE001  # a user's source may raise anything
            logger.warning("Cannot read the submitted ids: %s: %.300s", type(error).__name__, error)
            return mismatch
        if named is None:
            logger.warning("The ids that can be read now are not those that were submitted")
        return named or mismatch

    def _manifest(
        self, stream: Results, landed: Sequence[LandedObject], mismatch: Mismatch | None, landed_by: LandedBy | None
    ) -> Manifest:
        submitted = self.expected.submitted
        seconds = time.monotonic() - self._started
        return Manifest(
            landed_by=landed_by,
            batch_id=self._batch.id,
            results=landed[0],
            failed=landed[1] if len(landed) > 1 else None,
            lines=self._lines,
            counts={**dict.fromkeys(COUNTED, 0), **self._tally.types},
            error_types=dict(self._tally.error_types),
            error_messages=self._tally.error_messages.most_common(),
            ids_digest=submitted.digest if submitted and mismatch is None else None,
            verified=mismatch is None,
            mismatch=mismatch,
            usage=self._tally.by_model(),
            cost_usd=self._prices.cost(self._tally.ranges),
            batch_created_at=_iso(self._batch.created_at),
            batch_ended_at=_iso(self._batch.ended_at),
            started_at=self._started_at.isoformat(),
            landed_at=datetime.now(UTC).isoformat(),
            seconds=round(seconds, 3),
            lines_per_second=round(self._lines / seconds, 1) if seconds else 0.0,
            attempts=stream.attempts,
        )


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
