"""An object of the local file system: a hidden file beside it, fsync, then a rename.

Rules:
- The hidden file is not fsspec's temporary file, which is in the system's folder: moving that one to another file
  system copies it.
- A writer holds a lock on its hidden file. An unlocked one was left by a process that died (a stale part); the next
  writer and the next landing at the place remove it. A file system without locks keeps its stale parts.
- Publishing compares and renames under a lock on the folder, so that only one of two landings that saw the same object
  replaces it. The lock is held for these two calls only. On a file system that cannot lock a folder (NFS), another
  process may write between the two calls.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from airflow_batches.landing.errors import store_errors
from airflow_batches.landing.location import Location
from airflow_batches.landing.version import ANY_VERSION, ObjectVersion

PART: Final = ".part"
WRITE_BACK_BYTES: Final = 8 * 2**20
"""Bytes after which the kernel starts to write them to the disk. Chosen with `benchmarks.landing`: without it the final
fsync waited for the whole file, which was much of the time after the last line."""


class LocalFile:
    """A hidden file beside the final one, locked until its writer ends."""

    def __init__(self, location: Location) -> None:
        self.published: ObjectVersion | None = None
        self._location = location
        self._final = Path(location.path)
        self._final.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_parts(location)
        self._part, self._fd = _open_locked(self._final)
        self._written = 0
        self._started = 0

    def write(self, data: bytes) -> None:
        """Append."""
        with store_errors("writing", self._location.uri):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            self._written += len(data)
            if self._written - self._started >= WRITE_BACK_BYTES:
                self._start_write_back()

    def finish(self) -> None:
        """Sync the bytes to the disk."""
        with store_errors("writing", self._location.uri):
            os.fsync(self._fd)

    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
        """Rename to the final name, if that still has the version to replace."""
        with store_errors("writing", self._location.uri):
            made = ObjectVersion.of_file(os.fstat(self._fd))
            with _locked_folder(self._final.parent):
                self._location.require(replaces)
                self._part.replace(self._final)
            self.published = made
            self._close()
            _sync_folder(self._final.parent)
            return made

    def discard(self) -> None:
        """Remove what was written."""
        if self._fd >= 0:
            with store_errors("discarding", self._location.uri):
                try:
                    self._part.unlink(missing_ok=True)
                finally:
                    self._close()

    def _start_write_back(self) -> None:
        if sys.platform == "linux":  # here posix_fadvise starts the writing without waiting for it
            with contextlib.suppress(OSError):  # not supported: fsync writes everything at the end
                os.posix_fadvise(self._fd, self._started, self._written - self._started, os.POSIX_FADV_DONTNEED)
        self._started = self._written

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


def remove_local(location: Location, version: ObjectVersion) -> None:
    """Remove the object if it still has this version."""
    with store_errors("removing", location.uri), _locked_folder(Path(location.path).parent):
        if location.version() == version:
            location.fs.rm_file(location.path)


def remove_stale_parts(location: Location) -> None:
    """Remove the hidden files of writers that died; those of running writers are locked."""
    final = Path(location.path)
    for part in final.parent.glob(f".{glob.escape(final.name)}.{'[0-9a-f]' * 8}{PART}"):
        with contextlib.suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _open_locked(final: Path) -> tuple[Path, int]:
    while True:
        part = final.with_name(f".{final.name}.{secrets.token_hex(4)}{PART}")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:  # otherwise another writer removed it as stale before it was locked
            return part, fd
        os.close(fd)


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # NFS locks only what is open for writing
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
