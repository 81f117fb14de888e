"""The folder of a job: where its objects are, and whether it is free."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from airflow_batches._uri import redact_uri, to_uri
from airflow_batches.jobs.errors import JobRefused
from airflow_batches.jobs.ledger import FOLDER, LEDGER
from airflow_batches.landing.errors import store_errors
from airflow_batches.landing.location import Location
from airflow_batches.submission.remote import open_object
from airflow_batches.submission.source import Source

READ_BYTES: Final = 1 << 20
"""Bytes of one read. Chosen: as a submission reads its source."""


class JobFolder:
    """The objects of one job.

    :param path: URI of the folder, or an absolute path.
    :param storage_options: options for the fsspec file system of the URI.
    :param open_place: makes the place of a URI; by default with fsspec's own configuration and these options.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        *,
        open_place: Callable[[str], Location] | None = None,
    ) -> None:
        self.uri = folder_uri(path)
        self.name = redact_uri(self.uri)
        self._open = open_place or (lambda uri: Location.parse(uri, storage_options))

    def at(self, name: str) -> Location:
        """Return the place of a published object."""
        return self._open(f"{self.uri}/{name}")

    def internal(self, name: str) -> Location:
        """Return the place of an object in `_job/`."""
        return self.at(f"{FOLDER}/{name}")

    @property
    def ledger(self) -> Location:
        """The place of the ledger."""
        return self.internal(LEDGER)

    def require_free(self) -> None:
        """Raise `JobRefused` if the folder holds other objects than those of a job that has no ledger yet."""
        place = self.at("x")
        with store_errors("listing", place.uri):
            place.fs.invalidate_cache(place.parent)
            try:
                found = place.fs.ls(place.parent, detail=False)  # type: ignore[attr-defined]  # every fsspec store has it
            except FileNotFoundError:
                return
        names = sorted({str(path).rstrip("/").rpartition("/")[2] for path in found} - {FOLDER, "", _own(place)})
        if names:
            raise JobRefused(
                f"{self.name} is no job's folder: it holds {names[0]!r}{' and others' if names[1:] else ''}, and no "
                f"{FOLDER}/{LEDGER}. Nothing was sent. Use an empty folder"
            )


def _own(place: Location) -> str:
    """Return the folder's own name: some stores list an object for the folder."""
    return place.parent.rpartition("/")[2]


class StoredRequests(Source):
    """A range of an object in the job's folder, or all of it.

    :param location: the object.
    :param start: offset of the first byte.
    :param end: offset after the last byte; None: the object's end.
    """

    def __init__(self, location: Location, start: int = 0, end: int | None = None) -> None:
        self.name = location.uri if end is None else f"{location.uri}, bytes {start:,} to {end:,}"
        self._location = location
        self._start = start
        self._end = end

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes of the range."""
        left = None if self._end is None else self._end - self._start
        with store_errors("reading", self._location.uri), open_object(self._location.fs, self._location.path) as file:
            file.seek(self._start)
            while left is None or left > 0:
                block = file.read(READ_BYTES if left is None else min(READ_BYTES, left))
                if not block:
                    return
                left = None if left is None else left - len(block)
                yield block


def folder_uri(path: str | PathLike[str]) -> str:
    """Return the URI of a job's folder, without a slash at its end.

    :raises InvalidRequest: it is neither a URI nor an absolute path.
    """
    absolute = isinstance(path, str) and path.startswith("/")
    return to_uri(Path(path) if absolute else path).rstrip("/")
