"""A place in an object store: a file system, a path on it, and the URI to tell people.

Rules: looking never guesses. "Not there" is what the store says by `FileNotFoundError`; every other failure is
raised. Listings that fsspec remembers are forgotten first, because others write there too.

What tells one version of an object from another, beside its size:

| store                    | tag                                                                                  |
|--------------------------|--------------------------------------------------------------------------------------|
| local                    | inode and time of modification; not kept in manifests, for a copied folder has others |
| S3, Azure                | ETag                                                                                 |
| GCS                      | ETag, or the generation                                                              |
| any other                | none: only the size, and the content where it is compared                            |
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from airflow_batches._extras import cure
from airflow_batches._uri import redact_uri, to_uri
from airflow_batches.api.errors import BatchesError, InvalidRequest
from airflow_batches.landing.errors import LandingError, LandingOvertaken, LandingRefused

READ_BYTES: Final = 2**20
"""Bytes read at once to hash an object: more are no faster, and it is what landing writes at once."""
TAGS: Final = ("ETag", "etag", "generation")
"""Where fsspec's file systems put what a store calls a version, the best first."""


@dataclass(frozen=True)
class ObjectVersion:
    """One version of an object; two with the same tag and size are the same."""

    size: int
    tag: str | None = None


ANY_VERSION: Final = ObjectVersion(-1)
"""Stands for whatever is at the place, also nothing."""


class FileSystem(Protocol):
    """What is used of an fsspec file system."""

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
    """`uri` may be shown: it holds no credentials and no connection id."""

    fs: FileSystem
    path: str
    uri: str

    @classmethod
    def parse(cls, place: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Location:
        """A URI such as `s3://bucket/key.jsonl` or `file:///folder/key.jsonl`, or a path; raises `LandingRefused`.

        `storage_options` go to the fsspec file system of the URI's scheme.
        """
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        uri = require_uri(place)
        try:
            fs, path = url_to_fs(uri, **(storage_options or {}))
        except (ValueError, ImportError) as exc:
            raise LandingRefused(f"{redact_uri(uri)!r} cannot be opened: {exc}{cure(uri)}") from exc
        return cls(fs, path, f"file://{path}" if uri.startswith("file://") else redact_uri(uri))

    def beside(self, suffix: str) -> Location:
        """The object of the same name with this at its end."""
        return Location(self.fs, self.path + suffix, self.uri + suffix)

    @property
    def protocols(self) -> frozenset[str]:
        """All names of the store's protocol."""
        names = self.fs.protocol
        return frozenset({names} if isinstance(names, str) else names)

    @property
    def is_local(self) -> bool:
        """Whether the object is a file of this machine's file systems."""
        return "file" in self.protocols

    @property
    def parent(self) -> str:
        """The path of what holds the object."""
        return self.path.rpartition("/")[0]

    def same_as(self, other: Location) -> bool:
        """Whether both are one place, however it is written."""
        return self.uri == other.uri or (self.fs == other.fs and self._real == other._real)

    @property
    def _real(self) -> str:
        """Stores but the local one take a path at its word."""
        return os.path.realpath(self.path) if self.is_local else self.path

    def read(self) -> bytes | None:
        """All of a small object, None when there is none."""
        with store_errors("reading", self):
            self.fs.invalidate_cache(self.parent)
            try:
                return self.fs.cat_file(self.path)
            except FileNotFoundError:
                return None

    def version(self) -> ObjectVersion | None:
        """The object that stands there now, None when there is none."""
        with store_errors("looking at", self):
            try:
                if self.is_local:
                    return _local_version(self)
                self.fs.invalidate_cache(self.parent)
                found = self.fs.info(self.path)
            except FileNotFoundError:
                return None
        if found["type"] == "directory":
            raise LandingRefused(f"{self.uri} is a folder")
        tag = next((str(found[name]) for name in TAGS if found.get(name)), None)
        return ObjectVersion(int(found["size"]), tag)

    def size(self) -> int | None:
        """Bytes of the object, None when there is none."""
        found = self.version()
        return None if found is None else found.size

    def sha256(self) -> str | None:
        """Hash of the object's bytes, which are all read; None when there is none."""
        digest = hashlib.sha256()
        with store_errors("reading", self):
            try:
                with self.fs.open(self.path, "rb") as file:
                    while data := file.read(READ_BYTES):
                        digest.update(data)
            except FileNotFoundError:
                return None
        return digest.hexdigest()


def version_of(status: os.stat_result) -> ObjectVersion:
    """The version of a local file."""
    return ObjectVersion(status.st_size, f"{status.st_ino:x}-{status.st_mtime_ns:x}")


def _local_version(location: Location) -> ObjectVersion:
    status = Path(location.path).stat()
    if stat.S_ISDIR(status.st_mode):
        raise LandingRefused(f"{location.uri} is a folder")
    return version_of(status)


def require_version(location: Location, version: ObjectVersion | None) -> None:
    """Raise `LandingOvertaken` unless this version stands there, or nothing for None."""
    if version is not ANY_VERSION and location.version() != version:
        raise overtaken(location)


def published_version(location: Location, made: ObjectVersion) -> ObjectVersion:
    """The version that a store gives what was just published; `made` where the store said it, or another stands there.

    Some S3 servers answer with the ETag of joined parts (`…-2`), and afterwards show another one for the same object.
    """
    found = location.version()
    if found is None or found.size != made.size:
        return made
    told = made.tag is not None and not ("-" in made.tag and "-" not in (found.tag or ""))
    return made if told else found


def overtaken(location: Location) -> LandingOvertaken:
    """What is raised when an object is no longer the one that was to be replaced."""
    return LandingOvertaken(
        f"another landing wrote {location.uri} while these results were being published there; "
        "this landing stopped. A retry uses what has landed, or lands again"
    )


def require_uri(place: object) -> str:
    """The URI of an object. Raises `LandingRefused` for what names none."""
    try:
        uri = to_uri(place)
    except InvalidRequest as exc:
        raise LandingRefused(str(exc)) from exc
    if uri.endswith("/"):
        raise LandingRefused(f"{redact_uri(uri)!r} names a folder; name the object that the results shall become")
    return uri


@contextmanager
def store_errors(doing: str, location: Location) -> Iterator[None]:
    """Turn any failure of the store into ours; what a retry cannot repair becomes a refusal."""
    try:
        yield
    except BatchesError:
        raise
    except (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise LandingRefused(f"{doing} {location.uri} is not possible: {_said(exc)}") from exc
    except Exception as exc:  # each store has exception types of its own, most of them no OSError
        raise LandingError(f"{doing} {location.uri} failed: {_said(exc)}") from exc


def _said(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"
