"""Write an object completely or not at all.

Rules: the order is `write`, `finish` (everything is stored), `commit`. Before `commit` nothing is at the object's name,
and `discard` leaves nothing behind. `commit(replaces)` replaces only the version that was seen, or no object. If the
store cannot compare and publish in one call, `commit` looks just before it publishes: a process that is paused between
the two calls may still replace another landing's object; `landing.publish` says how that is noticed.

| store  | how                                   | compares and publishes  | left by a killed process              |
|--------|---------------------------------------|-------------------------|---------------------------------------|
| local  | `local_file`: a hidden file, fsync,   | in one, under a lock    | a hidden file, which the next landing |
|        | rename                                |                         | at the place removes                  |
| S3     | `s3_upload`: parts, joined at the end | in one, where the store | parts, which a life-cycle rule for    |
|        |                                       | knows conditions (AWS)  | incomplete uploads removes            |
| GCS    | fsspec's `autocommit=False`           | in two calls            | the same                              |
| others | an object `<path>.<hex>.part`, then   | in two calls            | that object. It stays, because a dead |
|        | the store's move                      |                         | writer looks the same as a slow one   |
"""

from __future__ import annotations

import contextlib
import secrets
from typing import Any, Final, Protocol

from airflow_batches.landing.errors import store_errors
from airflow_batches.landing.local_file import PART, LocalFile, remove_local
from airflow_batches.landing.location import Location
from airflow_batches.landing.s3_upload import PART_BYTES, S3Upload, remove_s3
from airflow_batches.landing.version import ANY_VERSION, ObjectVersion

COMMITS: Final = frozenset({"s3", "s3a", "gs", "gcs"})
"""Protocols whose fsspec files keep an upload invisible until `commit`."""


class ObjectFile(Protocol):
    """An object being written.

    `published` is its version once it is visible, even if `commit` failed after that.
    """

    published: ObjectVersion | None

    def write(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion: ...
    def discard(self) -> None: ...


def create(location: Location) -> ObjectFile:
    """Begin an object, which is invisible until it is committed.

    :raises LandingError: the store failed; the object's methods raise it too.
    """
    with store_errors("writing", location.uri):
        if location.is_local:
            return LocalFile(location)
        if _is_s3fs(location):
            return S3Upload(location)
        return Upload(location) if location.protocols & COMMITS else MovedObject(location)


def put(location: Location, data: bytes, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
    """Write a small object at once.

    :param location: where to write it.
    :param data: its bytes.
    :param replaces: the version that may be replaced, None for no object; any by default.
    :return: the new version.
    :raises LandingOvertaken: another version is there.
    :raises LandingError: the store failed.
    """
    file = create(location)
    try:
        file.write(data)
        file.finish()
        return file.commit(replaces)
    except BaseException:
        file.discard()
        raise


def remove(location: Location, version: ObjectVersion) -> None:
    """Remove the object if it still has this version."""
    if location.is_local:
        remove_local(location, version)
    elif _is_s3fs(location):
        remove_s3(location, version)
    elif location.version() == version:
        with store_errors("removing", location.uri), contextlib.suppress(FileNotFoundError):
            location.fs.rm_file(location.path)


def _is_s3fs(location: Location) -> bool:
    return bool(location.protocols & {"s3", "s3a"}) and hasattr(location.fs, "call_s3")


class _FsspecObject:
    """An object written through fsspec; subclasses say how it is published and discarded."""

    def __init__(self, location: Location, file: Any) -> None:
        self.published: ObjectVersion | None = None
        self._location = location
        self._file = file
        self._bytes = 0

    def write(self, data: bytes) -> None:
        """Append; blocks while a part is uploaded."""
        self._bytes += len(data)
        with store_errors("writing", self._location.uri):
            self._file.write(data)

    def finish(self) -> None:
        """Write what is buffered."""
        with store_errors("writing", self._location.uri):
            self._file.close()

    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
        """Publish, if the name still has the version to replace."""
        self._location.require(replaces)
        with store_errors("writing", self._location.uri):
            self._publish()
        self.published = ObjectVersion(self._bytes)
        self.published = self._location.published(self.published)
        return self.published

    def _publish(self) -> None:
        raise NotImplementedError


class Upload(_FsspecObject):
    """An upload in parts that the store joins at `commit`."""

    def __init__(self, location: Location) -> None:
        super().__init__(location, location.fs.open(location.path, "wb", autocommit=False, block_size=PART_BYTES))
        _forget(location.fs, self._file)

    def discard(self) -> None:
        """Abort the upload."""
        with store_errors("discarding", self._location.uri):
            self._file.closed = True  # otherwise close(), also at garbage collection, would upload the rest
            self._file.discard()

    def _publish(self) -> None:
        self._file.commit()


class MovedObject(_FsspecObject):
    """An object written under another name, then moved; it is as atomic as the store's move."""

    def __init__(self, location: Location) -> None:
        self._part = f"{location.path}.{secrets.token_hex(4)}{PART}"
        location.fs.makedirs(location.parent, exist_ok=True)
        super().__init__(location, location.fs.open(self._part, "wb"))

    def discard(self) -> None:
        """Remove what was written."""
        with store_errors("discarding", self._location.uri), contextlib.suppress(FileNotFoundError):
            self._file.close()
            self._location.fs.rm_file(self._part)

    def _publish(self) -> None:
        self._location.fs.mv(self._part, self._location.path)


def _forget(fs: Any, file: Any) -> None:
    """Drop a file from fsspec's transaction, which keeps it for a `with` block not used here."""
    with contextlib.suppress(ValueError):
        fs.transaction.files.remove(file)
