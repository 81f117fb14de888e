"""All of an object, or none of it.

Rules: `write`, `finish` (all of it is stored), `commit`. Nothing is at the object's name before `commit`, and after
`discard` nothing is left. What a killed process
leaves is nothing anybody can take for the object: a hidden file, which the next writer there removes, or parts of
an unfinished upload, which the store's life-cycle rule for incomplete multipart uploads removes.

| store   | how                                                                                |
|---------|------------------------------------------------------------------------------------|
| local   | a hidden file in the same folder, fsync, rename (fsspec's own temporary file lies  |
|         | in the system's folder, and moving it between file systems is a copy)              |
| S3, GCS | an upload in parts: fsspec's `autocommit=False`, then commit or discard            |
| other   | an object named `.part`, then the store's move                                     |
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Final, Protocol

from airflow_batches.landing.location import Location, store_errors

PART: Final = ".part"
UPLOAD_BYTES: Final = 5 * 2**20
"""One part of an upload, the least that S3 takes; a part is held in memory several times on its way."""

WRITE_BACK_BYTES: Final = 8 * 2**20
"""After so many a local file's bytes start for the disk, or the sync at the end would have to wait for them all."""

PARTS: Final = 1_000
"""Parts of that size; then they grow with the object, since S3 takes 10,000."""

COMMITS: Final = frozenset({"s3", "s3a", "gs", "gcs"})
"""Protocols whose fsspec files keep an upload invisible until `commit`."""


class ObjectFile(Protocol):
    """An object in the making; `published` once it is there, whatever else its commit did not get done."""

    published: bool

    def write(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def commit(self) -> None: ...
    def discard(self) -> None: ...


def create(location: Location) -> ObjectFile:
    """The object at a location, invisible until it is committed. Raises `LandingError`, as its methods do."""
    with store_errors("writing", location):
        if "file" in location.protocols:
            return LocalFile(location)
        return Upload(location) if location.protocols & COMMITS else MovedObject(location)


def put(location: Location, data: bytes) -> None:
    """A small object, all at once."""
    file = create(location)
    try:
        file.write(data)
        file.finish()
        file.commit()
    except BaseException:
        file.discard()
        raise


class LocalFile:
    """A hidden file beside the final one, locked while its writer lives: an unlocked one is a dead writer's."""

    def __init__(self, location: Location) -> None:
        self.published = False
        self._location = location
        self._final = Path(location.path)
        self._final.parent.mkdir(parents=True, exist_ok=True)
        _remove_torsos(self._final)
        self._part, self._fd = _open_locked(self._final)
        self._written = 0
        self._on_its_way = 0

    def write(self, data: bytes) -> None:
        """Appends."""
        with store_errors("writing", self._location):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            self._written += len(data)
            if self._written - self._on_its_way >= WRITE_BACK_BYTES:
                self._send_off()

    def finish(self) -> None:
        """The bytes are on the disk after it."""
        with store_errors("writing", self._location):
            os.fsync(self._fd)

    def commit(self) -> None:
        """Publishes."""
        with store_errors("writing", self._location):
            self._part.replace(self._final)
            self.published = True
            self._close()
            _sync_folder(self._final.parent)

    def discard(self) -> None:
        """Removes what was written."""
        if self._fd >= 0:
            with store_errors("discarding", self._location):
                try:
                    self._part.unlink(missing_ok=True)
                finally:
                    self._close()

    def _send_off(self) -> None:
        if sys.platform == "linux":  # its way to begin the writing without a wait
            with contextlib.suppress(OSError):  # a kernel without it: all is written at the end
                os.posix_fadvise(self._fd, self._on_its_way, self._written - self._on_its_way, os.POSIX_FADV_DONTNEED)
        self._on_its_way = self._written

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)


class Upload:
    """An upload in parts, which the store joins at `commit`."""

    def __init__(self, location: Location) -> None:
        self.published = False
        self._location = location
        self._written = 0
        self._file = location.fs.open(location.path, "wb", autocommit=False, block_size=UPLOAD_BYTES)
        _forget(location.fs, self._file)

    def write(self, data: bytes) -> None:
        """Appends; blocks while a part is uploaded."""
        self._written += len(data)
        self._file.blocksize = max(UPLOAD_BYTES, self._written // PARTS)
        with store_errors("writing", self._location):
            self._file.write(data)

    def finish(self) -> None:
        """Uploads the last part."""
        with store_errors("writing", self._location):
            self._file.close()

    def commit(self) -> None:
        """Has the store join the parts."""
        with store_errors("writing", self._location):
            self._file.commit()
        self.published = True

    def discard(self) -> None:
        """Aborts the upload."""
        with store_errors("discarding", self._location):
            self._file.closed = True  # or else closing, now or when collected, would upload the rest
            self._file.discard()


class MovedObject:
    """An object under another name, then moved. As whole as the store's own move is."""

    def __init__(self, location: Location) -> None:
        self.published = False
        self._location = location
        self._part = f"{location.path}.{secrets.token_hex(4)}{PART}"
        location.fs.makedirs(location.path.rpartition("/")[0], exist_ok=True)
        self._file = location.fs.open(self._part, "wb")

    def write(self, data: bytes) -> None:
        """Appends."""
        with store_errors("writing", self._location):
            self._file.write(data)

    def finish(self) -> None:
        """Writes what is held back."""
        with store_errors("writing", self._location):
            self._file.close()

    def commit(self) -> None:
        """Moves to the final name."""
        with store_errors("writing", self._location):
            self._location.fs.mv(self._part, self._location.path)
        self.published = True

    def discard(self) -> None:
        """Removes what was written."""
        with store_errors("discarding", self._location), contextlib.suppress(FileNotFoundError):
            self._file.close()
            self._location.fs.rm_file(self._part)


def _open_locked(final: Path) -> tuple[Path, int]:
    while True:
        part = final.with_name(f".{final.name}.{secrets.token_hex(4)}{PART}")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks: its torsos stay
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:  # or another writer took it for a torso before it was locked
            return part, fd
        os.close(fd)


def _remove_torsos(final: Path) -> None:
    for part in final.parent.glob(f".{glob.escape(final.name)}.{'[0-9a-f]' * 8}{PART}"):
        with contextlib.suppress(OSError), part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _forget(fs: Any, file: Any) -> None:
    """fsspec keeps each uncommitted file in its transaction, for a `with` block that we do not use."""
    with contextlib.suppress(ValueError):
        fs.transaction.files.remove(file)
