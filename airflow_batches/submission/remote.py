"""An object in a store, read from one place on in parts that are fetched some at once.

A store answers each range of bytes after a wait and then no faster than one connection goes; several ranges share the
wait. Memory is that of `AT_ONCE` parts and the one being read, whatever the object's size.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, Final, cast

from fsspec.spec import AbstractBufferedFile  # type: ignore[import-untyped]

PART_BYTES: Final = 16 << 20
AT_ONCE: Final = 2
_NOTHING: Final = memoryview(b"")


def open_object(fs: Any, path: str) -> IO[bytes]:
    """The bytes of an object of a file system of fsspec. Raises what the file system raises."""
    handle = fs.open(path, "rb", cache_type="none")
    # Other files share one position, or keep bytes of their own.
    return cast("IO[bytes]", _Parts(fs, path, handle) if isinstance(handle, AbstractBufferedFile) else handle)


class _Parts:
    def __init__(self, fs: Any, path: str, first: Any) -> None:
        self._handles = deque([first, *[fs.open(path, "rb", cache_type="none") for _ in range(AT_ONCE - 1)]])
        self._size = first.size
        self._asked = 0
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
        self._coming: deque[Future[bytes]] = deque()
        self._part = _NOTHING

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *exc: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for handle in self._handles:
            handle.close()

    def seek(self, offset: int) -> None:
        """Go to where reading begins."""
        self._asked = offset

    def read(self, size: int = -1) -> bytes:
        """Some of the next bytes, at most `size`; none at the end."""
        if not self._part:
            # Its bytes are let go before the next part's come.
            self._part = _NOTHING
            self._part = memoryview(self._fetched())
        taken = bytes(self._part[: size if size >= 0 else None])
        self._part = self._part[len(taken) :]
        return taken

    def _fetched(self) -> bytes:
        while self._asked < self._size and len(self._coming) < AT_ONCE:
            self._coming.append(self._threads.submit(_fetch, self._handles[0], self._asked))
            # A handle's turn comes again when its part has been taken.
            self._handles.rotate(-1)
            self._asked += PART_BYTES
        return self._coming.popleft().result() if self._coming else b""


def _fetch(handle: Any, offset: int) -> bytes:
    handle.seek(offset)
    part = bytes(handle.read(PART_BYTES))
    if len(part) != (expected := min(PART_BYTES, handle.size - offset)):
        raise OSError(f"the store gave {len(part):,} of {expected:,} bytes at {offset:,}")
    return part
