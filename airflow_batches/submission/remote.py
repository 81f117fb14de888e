"""Read an object of a store in large parts, several of them fetched at the same time.

A store answers each range request after a delay, then at one connection's speed. Parallel requests share the delay.
Memory: `AT_ONCE` parts and the one being read, for objects of any size.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import IO, Any, Final, cast

from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]

from airflow_batches._thread import WorkerThread
from airflow_batches.submission.stores import ObjectStore

PART_BYTES: Final = 16 << 20
"""Bytes of one part. Chosen: with `AT_ONCE`, three parts keep the memory under 64 MB."""
AT_ONCE: Final = 2
"""Parts fetched at the same time. Measured (`benchmarks.reading`): from a store that gives 60 MB/s per connection, two
handles read 65 MB/s, one 43, fsspec's background cache 42 and its readahead cache 41, with no less memory."""
_NOTHING: Final = memoryview(b"")


def open_object(fs: ObjectStore, path: str) -> IO[bytes]:
    """Open an object of an fsspec file system for reading.

    Raises what the file system raises.

    :param fs: the file system.
    :param path: the object's path there.
    """
    handle = fs.open(path, "rb", cache_type="none")
    # Other types of files share one position between handles, or have their own buffer.
    return cast("IO[bytes]", _Parts(fs, path, handle) if isinstance(handle, AbstractBufferedFile) else handle)


class _Parts:
    """A stream whose parts are fetched by several handles in turn, each in a thread of its own."""

    def __init__(self, fs: ObjectStore, path: str, first: Any) -> None:
        handles = [first, *[fs.open(path, "rb", cache_type="none") for _ in range(AT_ONCE - 1)]]
        self._fetchers = deque((handle, WorkerThread("fetch")) for handle in handles)
        self._size = first.size
        self._next_start = 0
        self._coming: deque[Future[bytes]] = deque()
        self._part = _NOTHING

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *exc: object) -> None:
        for handle, thread in self._fetchers:
            with thread:
                thread.submit(handle.close)

    def seek(self, offset: int) -> None:
        """Set the offset where reading begins."""
        self._next_start = offset

    def read(self, size: int = -1) -> bytes:
        """Return some of the next bytes, at most `size`; none at the end."""
        if not self._part:
            # Free the old part before the next one arrives.
            self._part = _NOTHING
            self._part = memoryview(self._fetched())
        taken = bytes(self._part[: size if size >= 0 else None])
        self._part = self._part[len(taken) :]
        return taken

    def _fetched(self) -> bytes:
        while self._next_start < self._size and len(self._coming) < AT_ONCE:
            handle, thread = self._fetchers[0]
            self._fetchers.rotate(-1)
            self._coming.append(thread.submit(_fetch, handle, self._next_start))
            self._next_start += PART_BYTES
        return self._coming.popleft().result() if self._coming else b""


def _fetch(handle: Any, offset: int) -> bytes:
    handle.seek(offset)
    part = bytes(handle.read(PART_BYTES))
    if len(part) != (expected := min(PART_BYTES, handle.size - offset)):
        raise OSError(f"the store gave {len(part):,} of {expected:,} bytes at {offset:,}")
    return part
