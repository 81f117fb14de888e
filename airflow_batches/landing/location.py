"""A place in an object store: a file system, a path on it, and the URI to tell people.

Rules: looking never guesses. "Not there" is what the store says by `FileNotFoundError`; every other failure is
raised. Listings that fsspec remembers are forgotten first, since others write there too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_batches._extras import cure
from airflow_batches._uri import redact_uri, to_uri
from airflow_batches.api.errors import BatchesError, InvalidRequest
from airflow_batches.landing.errors import LandingError, LandingRefused


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

    def same_as(self, other: Location) -> bool:
        """Whether both are one place, however it is written."""
        return self.uri == other.uri or (self.fs == other.fs and self._real == other._real)

    @property
    def _real(self) -> str:
        """Stores but the local one take a path at its word."""
        return os.path.realpath(self.path) if "file" in self.protocols else self.path

    def read(self) -> bytes | None:
        """All of a small object, None when there is none."""
        with store_errors("reading", self):
            self.fs.invalidate_cache(_parent(self.path))
            try:
                return self.fs.cat_file(self.path)
            except FileNotFoundError:
                return None

    def size(self) -> int | None:
        """Bytes of the object, None when there is none."""
        with store_errors("looking at", self):
            self.fs.invalidate_cache(_parent(self.path))
            try:
                found = self.fs.info(self.path)
            except FileNotFoundError:
                return None
        if found["type"] == "directory":
            raise LandingRefused(f"{self.uri} is a folder")
        return int(found["size"])

    def remove(self) -> None:
        """Removes the object, if there is one."""
        with store_errors("removing", self):
            try:
                self.fs.rm_file(self.path)
            except FileNotFoundError:
                return


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
    """Any failure of the store as ours; what needs somebody to change something is a refusal."""
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


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
