"""All of an object, or none of it.

Rules: `write`, `finish` (all of it is stored), `commit`. Nothing is at the object's name before `commit`, and after
`discard` nothing is left. `commit(replaces)` publishes only over the version that was seen, or over nothing. Where the
store cannot compare and publish in one call, it is looked at just before: a process that is paused between the two
calls may still replace another's object, and `landing.publish` says what is done about that.

| store  | how                                   | compares and publishes  | left by a killed process              |
|--------|---------------------------------------|-------------------------|---------------------------------------|
| local  | `local_file`: a hidden file, fsync,   | in one, under a lock    | a hidden file, which the next landing |
|        | rename                                |                         | at the place removes                  |
| S3     | `s3_upload`: parts, joined at the end | in one, where the store | parts, which a life-cycle rule for    |
|        |                                       | knows conditions (AWS)  | incomplete uploads removes            |
| GCS    | fsspec's `autocommit=False`           | in two calls            | the same                              |
| others | an object `<path>.<hex>.part`, then   | in two calls            | that object. Nothing tells a dead     |
|        | the store's move                      |                         | writer from a slow one, so it stays   |
"""

from __future__ import annotations

import contextlib
import secrets
from typing import Any, Final, Protocol

from airflow_batches.landing.local_file import PART, LocalFile, remove_local
from airflow_batches.landing.location import (
    ANY_VERSION,
    Location,
    ObjectVersion,
    published_version,
    require_version,
    store_errors,
)
from airflow_batches.landing.s3_upload import PART_BYTES, S3Upload, remove_s3

COMMITS: Final = frozenset({"s3", "s3a", "gs", "gcs"})
"""Protocols whose fsspec files keep an upload invisible until `commit`."""


class ObjectFile(Protocol):
    """An object in the making; `published` is its version once it is there, whatever else its commit did not do."""

    published: ObjectVersion | None

    def write(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion: ...
    def discard(self) -> None: ...


def create(location: Location) -> ObjectFile:
    """The object at a location, invisible until it is committed. Raises `LandingError`, as its methods do."""
    with store_errors("writing", location):
        if location.is_local:
            return LocalFile(location)
        if _is_s3fs(location):
            return S3Upload(location)
        return Upload(location) if location.protocols & COMMITS else MovedObject(location)


def put(location: Location, data: bytes, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
    """Write a small object, all at once.

    :param replaces: the version that may be replaced, None for nothing.
    :return: the version that it became.
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
    """Remove the object if it still is this version."""
    if location.is_local:
        remove_local(location, version)
    elif _is_s3fs(location):
        remove_s3(location, version)
    elif location.version() == version:
        with store_errors("removing", location), contextlib.suppress(FileNotFoundError):
            location.fs.rm_file(location.path)


def _is_s3fs(location: Location) -> bool:
    return bool(location.protocols & {"s3", "s3a"}) and hasattr(location.fs, "call_s3")


class Upload:
    """An upload in parts, which the store joins at `commit`."""

    def __init__(self, location: Location) -> None:
        self.published: ObjectVersion | None = None
        self._location = location
        self._size = 0
        self._file = location.fs.open(location.path, "wb", autocommit=False, block_size=PART_BYTES)
        _forget(location.fs, self._file)

    def write(self, data: bytes) -> None:
        """Append; blocks while a part is uploaded."""
        self._size += len(data)
        with store_errors("writing", self._location):
            self._file.write(data)

    def finish(self) -> None:
        """Upload the last part."""
        with store_errors("writing", self._location):
            self._file.close()

    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
        """Have the store join the parts."""
        require_version(self._location, replaces)
        with store_errors("writing", self._location):
            self._file.commit()
        self.published = ObjectVersion(self._size)
        self.published = published_version(self._location, self.published)
        return self.published

    def discard(self) -> None:
        """Abort the upload."""
        with store_errors("discarding", self._location):
            self._file.closed = True  # otherwise closing it, now or when it is collected, would upload the rest
            self._file.discard()


class MovedObject:
    """An object under another name, then moved. As whole as the store's own move is."""

    def __init__(self, location: Location) -> None:
        self.published: ObjectVersion | None = None
        self._location = location
        self._size = 0
        self._part = f"{location.path}.{secrets.token_hex(4)}{PART}"
        location.fs.makedirs(location.parent, exist_ok=True)
        self._file = location.fs.open(self._part, "wb")

    def write(self, data: bytes) -> None:
        """Append."""
        self._size += len(data)
        with store_errors("writing", self._location):
            self._file.write(data)

    def finish(self) -> None:
        """Write what is buffered."""
        with store_errors("writing", self._location):
            self._file.close()

    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
        """Move to the final name."""
        require_version(self._location, replaces)
        with store_errors("writing", self._location):
            self._location.fs.mv(self._part, self._location.path)
        self.published = ObjectVersion(self._size)
        self.published = published_version(self._location, self.published)
        return self.published

    def discard(self) -> None:
        """Remove what was written."""
        with store_errors("discarding", self._location), contextlib.suppress(FileNotFoundError):
            self._file.close()
            self._location.fs.rm_file(self._part)


def _forget(fs: Any, file: Any) -> None:
    """fsspec keeps each uncommitted file in its transaction, for a `with` block that we do not use."""
    with contextlib.suppress(ValueError):
        fs.transaction.files.remove(file)
