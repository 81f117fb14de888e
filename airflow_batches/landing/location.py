"""A place in an object store: a file system, a path on it, and the URI to show people.

Rules: an object is missing only if the store raises `FileNotFoundError`; every other failure is raised. fsspec's cached
listings are invalidated before each look, because other processes write there too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from airflow_batches._extras import install_hint
from airflow_batches._uri import redact_uri, to_uri
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.landing.errors import LandingOvertaken, LandingRefused, store_errors
from airflow_batches.landing.version import ANY_VERSION, ObjectVersion

READ_BYTES: Final = 2**20
"""Bytes read at once to hash an object. Chosen: more were no faster, and landing writes as many at once."""


class FileSystem(Protocol):
    """The methods of an fsspec file system that are used here."""

    protocol: str | tuple[str, ...]

    def open(self, path: str, mode: str, **kwargs: Any) -> Any: ...
    def info(self, path: str, **kwargs: Any) -> dict[str, Any]: ...
    def cat_file(self, path: str, **kwargs: Any) -> bytes: ...
    def makedirs(self, path: str, exist_ok: bool = False) -> None: ...
    def rm_file(self, path: str) -> None: ...
    def mv(self, path1: str, path2: str, **kwargs: Any) -> None: ...
    def invalidate_cache(self, path: str | None = None) -> None: ...


@dataclass(frozen=True)
class Location:
    """A place for one object.

    `uri` may be shown to people: it holds no credentials and no connection id.

    Example::

        location = Location.parse("s3://bucket/results.jsonl", {"anon": False})
        print(location.uri, location.version())
    """

    fs: FileSystem
    path: str
    uri: str

    @classmethod
    def parse(
        cls, place: str | os.PathLike[str] | Location, storage_options: Mapping[str, Any] | None = None
    ) -> Location:
        """Make a location from a URI or a path; a location is returned unchanged.

        :param place: a URI such as `s3://bucket/key.jsonl` or `file:///folder/key.jsonl`, or an absolute path object.
        :param storage_options: options for the fsspec file system of the URI's scheme; none by default.
        :return: the location; nothing has been opened yet.
        :raises LandingRefused: the place names no object, or its file system cannot be opened.
        """
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        if isinstance(place, Location):
            return place
        uri = require_uri(place)
        try:
            fs, path = url_to_fs(uri, **(storage_options or {}))
        except (ValueError, ImportError) as exc:
            raise LandingRefused(f"{redact_uri(uri)!r} cannot be opened: {exc}{install_hint(uri)}") from exc
        return cls(fs, path, f"file://{path}" if uri.startswith("file://") else redact_uri(uri))

    def beside(self, suffix: str) -> Location:
        """Return the location whose name has this suffix appended."""
        return Location(self.fs, self.path + suffix, self.uri + suffix)

    @property
    def protocols(self) -> frozenset[str]:
        """All names of the store's protocol."""
        names = self.fs.protocol
        return frozenset({names} if isinstance(names, str) else names)

    @property
    def is_local(self) -> bool:
        """Whether the object is a file of the local file system."""
        return "file" in self.protocols

    @property
    def parent(self) -> str:
        """The path of the folder that holds the object."""
        return self.path.rpartition("/")[0]

    def same_as(self, other: Location) -> bool:
        """Whether both are the same place, however they are written."""
        return self.uri == other.uri or (self.fs == other.fs and self._real == other._real)

    @property
    def _real(self) -> str:
        """The path with links resolved; only the local store has links."""
        return os.path.realpath(self.path) if self.is_local else self.path

    def read(self) -> bytes | None:
        """Read all of a small object.

        :return: its bytes, None when there is none.
        :raises LandingError: the store failed.
        """
        with store_errors("reading", self.uri):
            self.fs.invalidate_cache(self.parent)
            try:
                return self.fs.cat_file(self.path)
            except FileNotFoundError:
                return None

    def version(self) -> ObjectVersion | None:
        """Ask the store for the present version.

        :return: the version, None when there is no object.
        :raises LandingRefused: a folder is there.
        :raises LandingError: the store failed.
        """
        with store_errors("looking at", self.uri):
            try:
                if self.is_local:
                    status = Path(self.path).stat()
                    found = None if stat.S_ISDIR(status.st_mode) else ObjectVersion.of_file(status)
                else:
                    self.fs.invalidate_cache(self.parent)
                    info = self.fs.info(self.path)  # of a folder some stores give no size
                    found = None if info["type"] == "directory" else ObjectVersion.of_info(info)
            except FileNotFoundError:
                return None
        if found is None:
            raise LandingRefused(f"{self.uri} is a folder")
        return found

    def sha256(self) -> str | None:
        """Read the whole object and return its hash in hex; None when there is no object."""
        digest = hashlib.sha256()
        with store_errors("reading", self.uri):
            try:
                with self.fs.open(self.path, "rb") as file:
                    while data := file.read(READ_BYTES):
                        digest.update(data)
            except FileNotFoundError:
                return None
        return digest.hexdigest()

    def require(self, version: ObjectVersion | None) -> None:
        """Check that the object has this version, or is missing for None.

        :raises LandingOvertaken: it is not so.
        """
        if version is not ANY_VERSION and self.version() != version:
            raise self.overtaken()

    def published(self, made: ObjectVersion) -> ObjectVersion:
        """Ask the store for the version of an object that was just published.

        :param made: what is known of it. It is returned if it has a tag, or if another object is there now.

        Some S3 servers answer with the ETag of joined parts (`…-2`) and later show another ETag for the same object.
        """
        found = self.version()
        if found is None or found.size != made.size:
            return made
        return found if made.tag is None or (made.is_of_parts and not found.is_of_parts) else made

    def overtaken(self) -> LandingOvertaken:
        """Make the error for an object that is no longer the version to replace."""
        return LandingOvertaken(
            f"another landing wrote {self.uri} while these results were being published there; "
            "this landing stopped. A retry uses what has landed, or lands again"
        )


def require_uri(place: object) -> str:
    """Return the URI of an object.

    :raises LandingRefused: the place names no object.
    """
    try:
        uri = to_uri(place)
    except InvalidRequest as exc:
        raise LandingRefused(str(exc)) from exc
    if uri.endswith("/"):
        raise LandingRefused(f"{redact_uri(uri)!r} names a folder; name the object that the results shall become")
    return uri
