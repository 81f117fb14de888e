"""Read and hash in a thread beside the caller.

Both overlap with the scan, because reading waits and hashlib releases the GIL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from hashlib import sha256
from typing import Final, Self

from airflow_batches._thread import WorkerThread

HASH_BYTES: Final = 1 << 20
"""Bytes that are hashed in one call. Chosen: passing a small block to the thread takes longer than hashing it."""
MAX_PENDING: Final = 4
"""Blocks of `HASH_BYTES` that may wait for the thread. Chosen: 4 MiB of memory at most."""


def read_ahead(blocks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """Yield the same blocks and raise the same errors, reading one block ahead of the consumer.

    At most two blocks are held. Reading stops when the consumer stops.
    """
    with WorkerThread("read-ahead") as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block


class BackgroundSha256:
    """The SHA-256 of all blocks given inside the `with`; `hexdigest` is valid after it."""

    def __init__(self) -> None:
        self._hash = sha256()
        self._thread = WorkerThread("sha256")
        self._pending: deque[Future[None]] = deque()
        self._held: list[bytes] = []
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._thread:
            self._pass_on()

    def update(self, block: bytes) -> None:
        """Add a block; it may be hashed later."""
        self._held.append(block)
        self._size += len(block)
        if self._size >= HASH_BYTES:
            self._pass_on()

    def hexdigest(self) -> str:
        """Return the hash as 64 hex digits."""
        return self._hash.hexdigest()

    def _pass_on(self) -> None:
        if len(self._pending) == MAX_PENDING:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._hash.update, b"".join(self._held)))
        self._held.clear()
        self._size = 0
