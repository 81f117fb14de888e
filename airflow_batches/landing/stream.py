"""The results of a batch, every line once, over as many readings as it takes.

Rules:
- A reading that breaks off, stalls, ends early or holds a torn line is followed by another from the start (the API
  has no ranges). What has been taken is skipped by its id, in whatever order the lines come.
- Readings are bounded: as many in a row without a new line as the retry policy has attempts, with its delays, all
  before one deadline. The policy alone says what is retried; the client's own would multiply the attempts.
- Where the number of results is not known, no number of lines is all of them: only the proper end of a reading is.
- Each reading has a client of its own, because a client is not shared by threads: the thread that asks for an answer
  is left behind where the answer does not begin in time, and goes on with its client while the next reading begins.
- A reading that does not decompress has damaged lines among those that were taken: it ends the landing.
- The wait for an answer to begin is a silence like any other, and as short.
- Lines travel as they came. What is looked at line by line (a block with a line that is torn, blank, or taken before)
  loses what is no result; results that share a line, for want of a newline between them, get one each.
- A block is given when it is large enough, or late, so that a slow stream shows its progress too.
- Memory: one block (1 MiB or one line), and the ids taken (about 12 MB for 100,000).
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
"""Bytes asked for at once; a chunk of the body is given when it is whole."""

BLOCK: Final = 1_048_576
"""Bytes that are decoded and written at once, at least: more calls cost more than they give."""

LATE: Final = 1.0
"""Seconds after which less will do."""


_OPENING: Final = ord("{")
_CLOSING: Final = ord("}")


@dataclass(frozen=True, slots=True)
class Block:
    """New lines as they came, and what each of them says."""

    data: bytes
    results: Sequence[ResultLine]


class Ledger:
    """Which ids have been taken, in all readings, and which came twice in one."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.doubled: set[str] = set()
        self._seen = self.taken

    def begin_reading(self) -> None:
        """From here on, an id taken before is a repetition to skip; one seen from here on is doubled."""
        self._seen = set() if self.taken else self.taken

    def admit_all(self, custom_ids: Sequence[str]) -> bool:
        """Takes these ids if all of them are new, and else none."""
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
        """Takes this id if it is new."""
        if custom_id in self._seen:
            self.doubled.add(custom_id)
            return False
        new = custom_id not in self.taken
        self._seen.add(custom_id)
        self.taken.add(custom_id)
        return new


class Results:
    """Iterates over a batch's results in blocks; the ledger tells what was taken.

    `expected` lines are waited for, if their number is known. `deadline` is on the monotonic clock; `stall_timeout`
    seconds without a byte end a reading. Raises `LandingTimeout`, a permanent `ApiError`, or the last failure when no
    reading gets any further: `StreamInterrupted` where some lines have come. Ends without an error when the last
    reading ended properly, complete or not.
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
        """Lines of the last reading that are torn, or no results."""
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
        """One reading; returns why it broke off, None when it ended properly."""
        self.readings += 1
        self.unreadable = 0
        self.ledger.begin_reading()
        try:
            with self._opened() as response:
                # No name keeps a block alive while the next one is made: that would take more time and memory.
                yield from filter(None, map(self._block, whole_lines(self._arrivals(response))))
        except LandingTimeout:
            self._check_time()  # what was in hand then has been counted since, and may have been the rest
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
            except DecodeError as exc:  # lines of this reading are taken already, and may be damaged
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
        """Line by line: what is a result, and new; None if nothing is."""
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
    """How many newlines there are if each ends a result, else -1: within one no `}` is followed by a `{`.

    Lines of some length are left by leaps, where `bytes.count` looks at each byte in turn.
    """
    count, at, last = 0, data.find(b"\n"), len(data) - 1
    while at >= 0:
        if not at or data[at - 1] != _CLOSING or (at < last and data[at + 1] != _OPENING):
            return -1
        count += 1
        at = data.find(b"\n", at + 1)
    return count


def joined(lines: Iterable[bytes]) -> bytes:
    """Lines as they are written: each ended by one newline."""
    return b"".join([line + b"\n" for line in lines])


def whole_lines(arrivals: Iterable[bytes], size: int = BLOCK, late: float = LATE) -> Iterator[bytes]:
    """Blocks of lines, each ended by a newline, at least `size` bytes long but for the last, and for the `late` ones.

    What follows the last newline is given as a line too, also where the arrivals break off: whether it is whole
    shows when it is decoded.
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
