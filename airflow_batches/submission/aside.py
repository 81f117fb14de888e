"""Compute a SHA-256 in a thread. It delays the reader little: hashlib releases the GIL."""

from __future__ import annotations

from hashlib import sha256
from queue import Queue
from threading import Thread
from typing import Final, Self

AT_ONCE: Final = 1 << 20
"""Bytes that are hashed in one call. Chosen: passing a small block to the thread takes longer than hashing it."""
WAITING: Final = 4
"""Blocks of `AT_ONCE` bytes that may wait for the thread. Chosen: 4 MiB of memory at most."""


class HashedAside:
    """The hash of all blocks given inside the `with`; `hexdigest` is valid after it."""

    def __init__(self) -> None:
        self._hash = sha256()
        self._queue: Queue[bytes] = Queue(WAITING)
        self._thread = Thread(target=self._work, name="hashing", daemon=True)
        self._held: list[bytes] = []
        self._size = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._hand_over()
        finally:
            self._queue.put(b"")
        self._thread.join()

    def update(self, block: bytes) -> None:
        """Add a block; it may be hashed later."""
        self._held.append(block)
        self._size += len(block)
        if self._size >= AT_ONCE:
            self._hand_over()

    def hexdigest(self) -> str:
        """Return the hash as 64 hex digits."""
        return self._hash.hexdigest()

    def _hand_over(self) -> None:
        if self._size:
            self._queue.put(b"".join(self._held))
        self._held.clear()
        self._size = 0

    def _work(self) -> None:
        while block := self._queue.get():
            self._hash.update(block)
