"""A SHA-256 made in a thread: hashing lets go of the interpreter, so that it takes little time of who reads on."""

from __future__ import annotations

from hashlib import sha256
from queue import Queue
from threading import Thread
from typing import Final, Self

AT_ONCE: Final = 1 << 20
"""Bytes hashed in one go; to hand over each small block would take longer than to hash it."""
WAITING: Final = 4
"""How many such blocks may wait."""


class HashedAside:
    """The hash of all blocks given within the `with`; it is known behind it."""

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
        """Hash one more block, sooner or later."""
        self._held.append(block)
        self._size += len(block)
        if self._size >= AT_ONCE:
            self._hand_over()

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()

    def _hand_over(self) -> None:
        if self._size:
            self._queue.put(b"".join(self._held))
        self._held.clear()
        self._size = 0

    def _work(self) -> None:
        while block := self._queue.get():
            self._hash.update(block)
