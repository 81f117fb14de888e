"""Read one response with a batch's results, and wait for its headers and each chunk no longer than a limit.

The socket's own timeout does not suffice, because it restarts with each byte. So a thread opens the response, shuts its
socket down when a read takes too long, and closes it. If no headers come in time, the thread is abandoned with its
client, and the next attempt begins at once.

Rejected: a thread that also reads, with bounded waits for its chunks. It needs no watchdog, but took a quarter more CPU
time for 100,000 lines (measured; it switches threads twice for each chunk).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from threading import Event
from typing import Final

import requests
from urllib3.exceptions import DecodeError, HTTPError

from airflow_batches._thread import WorkerThread
from airflow_batches.api.client import BatchesClient
from airflow_batches.api.errors import TransportError
from airflow_batches.api.retry import ONCE
from airflow_batches.landing.errors import LandingError

CHUNK_BYTES: Final = 262_144
"""Bytes requested from the connection at once. urllib3 returns a chunk only when it is complete. Chosen: a quarter of
`blocks.BLOCK_BYTES`, so that a block exceeds it by a quarter at most."""


@contextmanager
def open_chunks(
    client: BatchesClient, batch_id: str, *, max_silence_s: float, deadline: float
) -> Iterator[Iterator[bytes]]:
    """Request the results once, and give an iterator of their decompressed bytes.

    :param client: cloned, because threads must not share a client.
    :param batch_id: the batch.
    :param max_silence_s: seconds to wait for the response's headers, and for each chunk.
    :param deadline: end of all waits, in seconds on the monotonic clock.
    :raises ApiError: the API refused the request.
    :raises TransportError: the connection failed, or no byte came in time.
    :raises LandingError: the body does not decompress.
    """
    thread = WorkerThread("landing-results")
    opened = ExitStack()
    try:
        opening = thread.submit(_open, opened, client, batch_id)
        if not wait([opening], min(max_silence_s, deadline - time.monotonic())).done:
            raise _silent(max_silence_s)
        watchdog = _Watchdog(opening.result(), max_silence_s, deadline)
        thread.submit(watchdog.watch)
        try:
            yield _chunks(opening.result(), batch_id, watchdog)
        finally:
            watchdog.over.set()
    finally:
        thread.submit(opened.close)
        thread.finish()


def _open(opened: ExitStack, client: BatchesClient, batch_id: str) -> requests.Response:
    own = opened.enter_context(client.clone())
    return opened.enter_context(own.open_results(batch_id, retry=ONCE))


def _chunks(response: requests.Response, batch_id: str, watchdog: _Watchdog) -> Iterator[bytes]:
    read = partial(next, response.raw.stream(CHUNK_BYTES, decode_content=True), b"")
    try:
        while chunk := watchdog.watched(read):
            yield chunk
    except DecodeError as exc:  # lines of this response have been taken already, and may be damaged
        raise LandingError(f"the results of {batch_id} are damaged: {exc}") from exc
    except (HTTPError, OSError) as exc:
        if not watchdog.fired:
            raise TransportError(f"the stream broke off ({type(exc).__name__})", maybe_sent=True) from exc
    if watchdog.fired:
        raise _silent(watchdog.max_silence_s)


class _Watchdog:
    """Shuts a response's socket down when a read takes too long, or at the deadline; the read ends then."""

    def __init__(self, response: requests.Response, max_silence_s: float, deadline: float) -> None:
        self.max_silence_s = max_silence_s
        self.fired = False
        self.over = Event()
        self._response = response
        self._deadline = deadline
        self._reading_since: float | None = None

    def watched(self, read: Callable[[], bytes]) -> bytes:
        """Read under the limit."""
        self._reading_since = time.monotonic()
        try:
            return read()
        finally:
            self._reading_since = None

    def watch(self) -> None:
        """Wait until a read takes too long, or until `over` is set."""
        while (left := self._left()) > 0:
            if self.over.wait(left):
                return
        self.fired = True
        with suppress(ValueError, RuntimeError, OSError):  # the body has been read to its end meanwhile
            self._response.raw.shutdown()

    def _left(self) -> float:
        now = time.monotonic()
        return min((self._reading_since or now) + self.max_silence_s, self._deadline) - now


def _silent(max_silence_s: float) -> TransportError:
    return TransportError(f"no byte came for {max_silence_s:g} s", maybe_sent=True)
