"""Find the objects with the results of a finished job, or of a landing.

| given                                        | found                                                            |
|----------------------------------------------|------------------------------------------------------------------|
| a job's folder with its manifest             | the objects that the manifest lists, beside it                   |
| a job's folder without a manifest            | an error: the job has not finished                               |
| an object                                    | this object                                                      |
| an object whose manifest says `publishing`   | an error: a landing is replacing it, or has died while it did so |

A folder may be moved: of the manifest's URIs only the names count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from airflow_batches._uri import redact_uri, to_uri
from airflow_batches.landing.errors import LandingRefused, store_errors
from airflow_batches.landing.formats import format_of
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import COMPLETE, SUFFIX, LandedObject
from airflow_batches.submission.objects import read_object
from airflow_batches.tables.errors import NotPublished

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".gz", ".zst", ".parquet", ".csv", ".json", ".ndjson")
"""Ends of the names of objects; any other name may be a folder's."""

MANIFEST: Final = "manifest.json"
"""As `jobs.manifest.MANIFEST`; jobs import this folder, not the other way round."""
LEDGER: Final = "_job/ledger.json"
"""As `jobs.ledger.FOLDER` and `LEDGER`."""


@dataclass(frozen=True)
class StoredObject:
    """An object with results, and its format: `jsonl`, `jsonl.gz`, `jsonl.zst`, `parquet` or `csv`."""

    location: Location
    format: str

    def blocks(self) -> Iterator[bytes]:
        """Yield the decompressed bytes.

        :raises SourceError: it cannot be read.
        """
        place = self.location
        return read_object(place.uri, lambda _: (cast("Any", place.fs), place.path), place.uri)

    def open(self) -> IO[bytes]:
        """Open it for reading at any position."""
        with store_errors("reading", self.location.uri):
            return cast("IO[bytes]", self.location.fs.open(self.location.path, "rb"))


class _JobObjects(msgspec.Struct):
    results: tuple[LandedObject, ...]


class _LandingState(msgspec.Struct):
    state: str = COMPLETE
    results: LandedObject | None = None


def find_objects(
    place: str | PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> tuple[StoredObject, ...]:
    """Find the objects with results.

    :param place: URI or absolute path of a job's folder, or of an object.
    :param storage_options: options for the fsspec file system of the URI.
    :raises NotPublished: the job has not finished.
    :raises LandingRefused: there is nothing, or a landing has not finished.
    :raises LandingError: the store failed.
    """
    uri = to_uri(Path(place) if isinstance(place, str) and place.startswith("/") else place).rstrip("/")
    if uri.lower().endswith(SUFFIXES) and (found := _object(uri, storage_options)):
        return (found,)
    manifest = Location.parse(f"{uri}/{MANIFEST}", storage_options).read()
    if manifest is not None:
        objects = msgspec.json.decode(manifest, type=_JobObjects).results
        # By name in this folder: a manifest may have been copied, and no URI in it is trusted.
        places = [Location.parse(f"{uri}/{Path(each.uri).name}", storage_options) for each in objects]
        return tuple(StoredObject(place, each.format) for place, each in zip(places, objects, strict=True))
    if Location.parse(f"{uri}/{LEDGER}", storage_options).version() is not None:
        raise NotPublished(
            f"The job in {redact_uri(uri)} has not finished: it has no {MANIFEST} yet. Its state: airflow-batches "
            "status. Read the results once the job is published"
        )
    if found := _object(uri, storage_options):
        return (found,)
    raise LandingRefused(f"{redact_uri(uri)} is neither a job's folder nor a landed object: nothing is there to read")


def _object(uri: str, storage_options: Mapping[str, Any] | None) -> StoredObject | None:
    """Return the object at a URI, None if there is none."""
    location = Location.parse(uri, storage_options)
    try:
        if location.version() is None:
            return None
    except LandingRefused:  # a folder
        return None
    manifest = location.beside(SUFFIX).read()
    landing = _LandingState() if manifest is None else msgspec.json.decode(manifest, type=_LandingState)
    if landing.state != COMPLETE:
        raise LandingRefused(
            f"{location.uri} is being replaced by a landing, or by one that died: its manifest says {landing.state!r}. "
            "Land the batch again, or wait for the landing that runs"
        )
    if landing.results is not None:
        return StoredObject(location, landing.results.format)
    return StoredObject(location, "csv" if uri.lower().endswith(".csv") else format_of(uri, None))
