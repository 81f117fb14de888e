"""Read the results of a batch: every line once, over as many readings as it takes.

Rules:
- After a reading that breaks off, stalls, ends early or holds a torn line, the results are read again from the start,
  because the API supports no ranges. Lines taken before are skipped by their id, in any order.
- Readings are bounded: the retry policy's attempts limit how many in a row may bring no new line, with its delays, all
  before one deadline. Only this policy retries; the client's own retries would multiply the attempts.
- Where the number of results is unknown, only the proper end of a reading proves that all were read.
- Each reading uses a new client, because threads must not share one: a thread whose answer does not begin in time keeps
  its client and is abandoned, while the next reading begins.
- A reading that does not decompress ends the landing, because lines already taken from it may be damaged.
- The wait for the answer's first byte has the same limit as any other silence.
- Lines are passed on unchanged. A block with a torn, blank or repeated line is checked line by line: lines that are not
  results are dropped, and results that share a line, without a newline between them, get one line each.
- A block is passed on when it is large enough or late enough, so that a slow stream shows its progress too.
- Memory: one block (1 MiB, or one line if that is longer), and the ids taken (about 12 MB for 100,000).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import requests
from urllib3.exceptions import DecodeError, HTTPError

from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import BatchesError, StreamInterrupted, TransportError
from airflow_batches.api.retry import ONCE, RetryPolicy
from airflow_batches.landing.errors import LandingError, LandingTimeout
from airflow_batches.landing.lines import ResultLine, decode_block, results_in
from airflow_batches.landing.patience import call_with_timeout
from airflow_batches.landing.watchdog import Watchdog

logger = logging.getLogger(__name__)

ARRIVAL: Final = 262_144
"""Bytes requested from the connection at once. urllib3 returns a chunk only when it is complete. Chosen: a quarter of
`BLOCK`, so that a block exceeds it by a quarter at most."""

BLOCK: Final = 1_048_576
"""Bytes that are decoded and written at once, at least. Chosen: some 500 lines of the benchmark share the cost of a
call, and `background.DEPTH` blocks still fit in a few MB."""

LATE: Final = 1.0
"""Seconds after which a smaller block is passed on. Chosen: below `engine.PROGRESS_EVERY`, so that each progress report
of a slow stream counts what has arrived."""


_OPENING: Final = ord("{")
_CLOSING: Final = ord("}")


@dataclass(frozen=True, slots=True)
class Block:
    """New lines, unchanged, and the decoded result of each."""

    data: bytes
    results: Sequence[ResultLine]


class Ledger:
    """The ids taken in all readings, and those that occurred twice in one reading."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.doubled: set[str] = set()
        self._seen = self.taken

    def begin_reading(self) -> None:
        """Begin a reading.

        Ids taken before it are skipped, ids that occur in it twice are doubled.
        """
        self._seen = set() if self.taken else self.taken

    def admit_all(self, custom_ids: Sequence[str]) -> bool:
        """Take these ids if all of them are new, otherwise none; return whether they were taken."""
        if not self.taken.isdisjoint(custom_ids):
            return False
        before = len(self.taken)
        self.taken.update(custom_ids)
        if len(self.taken) - before < len(custom_ids):
            self.taken.difference_update(custom_ids)
            return False
        if self._seen is not self.taken:
            self._seen.update(custom_ids)
        return True

    def admit(self, custom_id: str) -> bool:
        """Take this id if it is new; return whether it was."""
        if custom_id in self._seen:
            self.doubled.add(custom_id)
            return False
        new = custom_id not in self.taken
        self._seen.add(custom_id)
        self.taken.add(custom_id)
        return new


class Results:
    """A batch's results as an iterable of blocks; `ledger` holds the ids that were taken.

    Iterating ends without an error when the last reading ended properly, complete or not. It raises `LandingTimeout`
    after the deadline, a permanent `ApiError`, or the last failure when readings bring nothing new
    (`StreamInterrupted` if some lines were read).

    :param client: cloned for each reading.
    :param batch_id: the batch.
    :param expected: how many results to read; None if that is unknown.
    :param retry: which failures are retried, and how many readings in a row may bring nothing new.
    :param deadline: end of all readings, in seconds on the monotonic clock.
    :param stall_timeout: seconds without a byte after which a reading ends.
    """

    def __init__(
        self,
        client: BatchesClient,
        batch_id: str,
        expected: int | None,
        *,
        retry: RetryPolicy,
        deadline: float,
        stall_timeout: float,
    ) -> None:
        self.ledger = Ledger()
        self.readings = 0
        self.unreadable = 0
        """Lines of the last reading that are torn or not results."""
        self._client = client
        self._batch_id = batch_id
        self._expected = expected
        self._retry = retry
        self._deadline = deadline
        self._stall_timeout = stall_timeout

    def __iter__(self) -> Generator[Block, None, None]:
        fruitless = 0
        while True:
            before = len(self.ledger.taken)
            trouble = yield from self._read()
            if self._has_all or (self._expected is None and trouble is None):
                return
            fruitless = 0 if len(self.ledger.taken) > before else fruitless + 1
            if fruitless >= self._retry.attempts:
                if trouble is None:
                    return
                raise self._final(trouble) from trouble
            self._pause(trouble or self._short(), fruitless)

    def _read(self) -> Generator[Block, None, BatchesError | None]:
        """Read once; return why the reading broke off, None if it ended properly."""
        self.readings += 1
        self.unreadable = 0
        self.ledger.begin_reading()
        try:
            with self._opened() as response:
                # No variable holds a block while the next one is made: that would cost time and memory.
                yield from filter(None, map(self._block, whole_lines(self._arrivals(response))))
        except LandingTimeout:
            self._check_time()  # the last block has been counted since then, and may have completed the results
        except BatchesError as error:
            if not self._retry.retries(error, creates=False):
                raise
            return error
        return None

    @contextmanager
    def _opened(self) -> Iterator[requests.Response]:
        opening = _with_own_client(self._client, self._batch_id)
        patience = min(self._stall_timeout, self._deadline - time.monotonic())
        with ExitStack() as opened:
            try:
                response = call_with_timeout(patience, opening.__enter__, lambda _: opening.__exit__(None, None, None))
            except TimeoutError as exc:
                self._check_time()
                raise self._stalled() from exc
            opened.push(opening)
            yield response

    @property
    def _has_all(self) -> bool:
        return self._expected is not None and len(self.ledger.taken) >= self._expected

    def _arrivals(self, response: requests.Response) -> Iterator[bytes]:
        arrival = partial(next, response.raw.stream(ARRIVAL, decode_content=True), b"")
        with Watchdog(response.raw.shutdown, self._stall_timeout, self._deadline) as watchdog:
            try:
                while arrived := watchdog.watched(arrival):
                    yield arrived
                    self._check_time()
            except DecodeError as exc:  # lines of this reading have been taken already, and may be damaged
                raise LandingError(f"the results of {self._batch_id} came damaged: {exc}") from exc
            except (HTTPError, OSError) as exc:
                self._check_time()
                raise self._stalled() if watchdog.fired else _broken_off(exc) from exc
            self._check_time()
            if watchdog.fired:
                raise self._stalled()

    def _block(self, data: bytes) -> Block | None:
        results = decode_block(data)
        if (
            results is None
            or len(results) != _ends(data)
            or not self.ledger.admit_all([result.custom_id for result in results])
        ):
            return self._picked(data.split(b"\n"))
        return Block(data, results)

    def _picked(self, lines: Iterable[bytes]) -> Block | None:
        """Check line by line and keep the new results; None if there are none."""
        kept: list[bytes] = []
        results: list[ResultLine] = []
        for line in lines:
            for part, result in results_in(line):
                if result is None:
                    self.unreadable += 1
                elif self.ledger.admit(result.custom_id):
                    kept.append(part)
                    results.append(result)
        return Block(joined(kept), results) if results else None

    def _pause(self, trouble: BatchesError, fruitless: int) -> None:
        delay = self._retry.delay(trouble, max(1, fruitless))
        taken = len(self.ledger.taken)
        logger.warning(
            "Reading %d of %s gave %s of %s results (%s); reading again in %.1f s",
            self.readings, self._batch_id, f"{taken:,}", self._expected_text, trouble, delay,
        )  # fmt: skip
        if time.monotonic() + delay >= self._deadline:
            raise self._out_of_time() from trouble
        time.sleep(delay)

    def _final(self, trouble: BatchesError) -> BatchesError:
        taken = len(self.ledger.taken)
        if not taken:
            return trouble
        said = f"{self._retry.attempts} readings in a row brought nothing new, the last failed ({trouble})"
        return StreamInterrupted(said, lines_read=taken)

    def _stalled(self) -> TransportError:
        return TransportError(f"no byte came for {self._stall_timeout:g} s", maybe_sent=True)

    def _short(self) -> StreamInterrupted:
        return StreamInterrupted("the results ended", lines_read=len(self.ledger.taken))

    def _check_time(self) -> None:
        if time.monotonic() >= self._deadline and not self._has_all:
            raise self._out_of_time()

    def _out_of_time(self) -> LandingTimeout:
        taken = len(self.ledger.taken)
        return LandingTimeout(f"{taken:,} of {self._expected_text} results of {self._batch_id} came in time")

    @property
    def _expected_text(self) -> str:
        return "an unknown number of" if self._expected is None else f"{self._expected:,}"


@contextmanager
def _with_own_client(client: BatchesClient, batch_id: str) -> Iterator[requests.Response]:
    with client.clone() as own, own.open_results(batch_id, retry=ONCE) as response:
        yield response


def _broken_off(exc: Exception) -> TransportError:
    return TransportError(f"the stream broke off ({type(exc).__name__})", maybe_sent=True)


def _ends(data: bytes) -> int:
    """Count the newlines if each of them ends a result, else return -1.

    A newline ends a result if `}` is before it and `{` after it. `find` skips long lines faster than `count` does.
    """
    count, at, last = 0, data.find(b"\n"), len(data) - 1
    while at >= 0:
        if not at or data[at - 1] != _CLOSING or (at < last and data[at + 1] != _OPENING):
            return -1
        count += 1
        at = data.find(b"\n", at + 1)
    return count


def joined(lines: Iterable[bytes]) -> bytes:
    """Join lines, each with a newline at its end."""
    return b"".join([line + b"\n" for line in lines])


def whole_lines(arrivals: Iterable[bytes], size: int = BLOCK, late: float = LATE) -> Iterator[bytes]:
    """Cut arriving bytes into blocks of lines that end with a newline.

    What follows the last newline is passed on as a line too, also when the arrivals break off; decoding it shows
    whether it is complete.

    :param arrivals: the bytes as they arrive.
    :param size: bytes of a block at least; the last one may be smaller.
    :param late: seconds after which a smaller block is passed on.
    """
    pending: list[bytes] = []
    held = 0
    due = time.monotonic() + late
    try:
        for arrived in arrivals:
            end = arrived.rfind(b"\n") + 1
            if end and (held + end >= size or time.monotonic() >= due):
                block = b"".join([*pending, arrived[:end]])
                pending, held = [arrived[end:]], len(arrived) - end
                yield block
                due = time.monotonic() + late
            else:
                pending.append(arrived)
                held += len(arrived)
    except BatchesError:
        yield from _tail(pending)
        raise
    yield from _tail(pending)


def _tail(pending: Iterable[bytes]) -> Iterator[bytes]:
    rest = b"".join(pending)
    if rest:
        yield rest if rest.endswith(b"\n") else rest + b"\n"
