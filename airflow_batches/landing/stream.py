"""Read the results of a batch: every line once, over as many attempts as it takes.

Rules:
- After an attempt that breaks off, stalls, ends early or holds a torn line, the results are read again from the start,
  because the API supports no ranges. Lines taken before are skipped by their id, in any order.
- Attempts are bounded: the retry policy limits how many in a row may bring no new line, with its delays, all before one
  deadline. Only this policy retries; the client's own retries would multiply the attempts.
- Where the number of results is unknown, only the proper end of an attempt proves that all were read.
- An attempt that does not decompress ends the landing, because lines already taken from it may be damaged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator

from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import BatchesError, StreamInterrupted, TransportError
from airflow_batches.api.retry import RetryPolicy
from airflow_batches.landing.blocks import Block, Deduplicator, whole_lines
from airflow_batches.landing.errors import LandingTimeout
from airflow_batches.landing.reader import open_chunks

logger = logging.getLogger(__name__)


class Results:
    """A batch's results as an iterable of blocks; `lines` knows the ids that were taken.

    Iterating ends without an error when the last attempt ended properly, complete or not. It raises `LandingTimeout`
    after the deadline, a permanent `ApiError`, or the last failure when attempts bring nothing new
    (`StreamInterrupted` if some lines were read).

    :param client: cloned for each attempt.
    :param batch_id: the batch.
    :param expected: how many results to read; None if that is unknown.
    :param retry: which failures are retried, and how many attempts in a row may bring nothing new.
    :param deadline: end of all attempts, in seconds on the monotonic clock.
    :param max_silence_s: seconds without a byte after which an attempt ends.
    """

    def __init__(
        self,
        client: BatchesClient,
        batch_id: str,
        expected: int | None,
        *,
        retry: RetryPolicy,
        deadline: float,
        max_silence_s: float,
    ) -> None:
        self.lines = Deduplicator()
        self.attempts = 0
        self._client = client
        self._batch_id = batch_id
        self._expected = expected
        self._retry = retry
        self._deadline = deadline
        self._max_silence_s = max_silence_s

    def __iter__(self) -> Generator[Block, None, None]:
        fruitless = 0
        while True:
            before = self._taken
            failure = yield from self._attempt()
            if self._has_all or (self._expected is None and failure is None):
                return
            fruitless = 0 if self._taken > before else fruitless + 1
            if fruitless >= self._retry.attempts:
                if failure is None:
                    return
                raise self._last_failure(failure) from failure
            self._pause(failure or StreamInterrupted("the results ended", lines_read=self._taken), fruitless)

    def _attempt(self) -> Generator[Block, None, BatchesError | None]:
        """Read from the start; return why the attempt broke off, None if it ended properly."""
        self.attempts += 1
        self.lines.begin_attempt()
        try:
            with open_chunks(
                self._client, self._batch_id, max_silence_s=self._max_silence_s, deadline=self._deadline
            ) as chunks:
                # No variable holds a block while the next one is made: that would cost time and memory.
                yield from filter(None, map(self.lines.block, whole_lines(self._in_time(chunks))))
        except LandingTimeout:
            self._check_time()  # the last block has been counted since then, and may have completed the results
        except BatchesError as error:
            if isinstance(error, TransportError):
                self._check_time()
            if not self._retry.retries(error, creates=False):
                raise
            return error
        return None

    def _in_time(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self._check_time()

    def _pause(self, failure: BatchesError, fruitless: int) -> None:
        delay = self._retry.delay(failure, max(1, fruitless))
        logger.warning(
            "Attempt %d to read %s gave %s of %s results (%s); reading again in %.1f s",
            self.attempts, self._batch_id, f"{self._taken:,}", self._expected_text, failure, delay,
        )  # fmt: skip
        if time.monotonic() + delay >= self._deadline:
            raise self._out_of_time() from failure
        time.sleep(delay)

    def _last_failure(self, failure: BatchesError) -> BatchesError:
        if not self._taken:
            return failure
        problem = f"{self._retry.attempts} attempts in a row brought nothing new, the last failed ({failure})"
        return StreamInterrupted(problem, lines_read=self._taken)

    def _check_time(self) -> None:
        if time.monotonic() >= self._deadline and not self._has_all:
            raise self._out_of_time()

    def _out_of_time(self) -> LandingTimeout:
        return LandingTimeout(f"{self._taken:,} of {self._expected_text} results of {self._batch_id} were read in time")

    @property
    def _taken(self) -> int:
        return len(self.lines.ids)

    @property
    def _has_all(self) -> bool:
        return self._expected is not None and self._taken >= self._expected

    @property
    def _expected_text(self) -> str:
        return "an unknown number of" if self._expected is None else f"{self._expected:,}"
