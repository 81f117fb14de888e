"""The objects that a landing writes: lines are encoded and counted, stored bytes are hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future

from airflow_batches.landing.blocks import joined
from airflow_batches.landing.formats import Encoder
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.store_thread import StoreThread
from airflow_batches.landing.version import ANY_VERSION, ObjectVersion
from airflow_batches.landing.writer import create


class Output:
    """One object being written."""

    def __init__(self, location: Location, format_name: str, encoder: Encoder) -> None:
        self.location = location
        self._format = format_name
        self._encoder = encoder
        self._hash = hashlib.sha256()
        self._lines = 0
        self._bytes = 0
        self._file = create(location)

    def write(self, lines: bytes, count: int) -> None:
        """Append `count` lines."""
        self._lines += count
        self._put(self._encoder.encode(lines))

    def finish(self) -> LandedObject:
        """Write what the encoder still holds.

        Then the object is stored in full and not yet visible.
        """
        self._put(self._encoder.finish())
        self._file.finish()
        return LandedObject(
            uri=self.location.uri,
            format=self._format,
            lines=self._lines,
            bytes=self._bytes,
            sha256=self._hash.hexdigest(),
        )

    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
        """Publish the object, if its name still has the version to replace."""
        return self._file.commit(replaces)

    @property
    def published(self) -> ObjectVersion | None:
        """The version that was published, None before that."""
        return self._file.published

    def discard(self) -> None:
        """Remove what was written, unless it has been published."""
        if not self.published:
            self._file.discard()

    def _put(self, data: bytes) -> None:
        if data:
            self._hash.update(data)
            self._bytes += len(data)
            self._file.write(data)


class Outputs:
    """The results' object and the failures' object, if there is one, written in the store's thread."""

    def __init__(self, results: Output, failed: Output | None, thread: StoreThread) -> None:
        self.results = results
        self.failed = failed
        self._thread = thread
        self._finishing: list[Future[LandedObject]] = []

    def write(self, lines: bytes, count: int) -> None:
        """Append `count` lines to the results."""
        self._thread.queue(self.results.write, lines, count)

    def write_failed(self, lines: Sequence[bytes]) -> None:
        """Append lines to the failures' object."""
        if self.failed is not None and lines:
            self._thread.queue(self.failed.write, joined(lines), len(lines))

    def finish(self) -> None:
        """Wait until all lines are written, then begin to finish the objects."""
        self._thread.drain()
        self._finishing = [self._thread.queue(output.finish) for output in (self.results, self.failed) if output]

    def landed(self) -> list[LandedObject]:
        """Wait until the objects are finished: the results' object, then the failures' object if there is one."""
        self._thread.drain()
        return [finishing.result() for finishing in self._finishing]
