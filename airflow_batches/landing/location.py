"""A place in an object store: a file system, a path on it, and the URI to tell people.

Rules: looking never guesses. "Not there" is what the store says by `FileNotFoundError`; every other failure is
raised. Listings that fsspec remembers are forgotten first, since others write there too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from airflow_batches._extras import cure
from airflow_batches.api.errors import BatchesError
from airflow_batches.landing.errors import LandingError, LandingRefused

KEYED: Final = frozenset({"s3", "s3a", "gs", "gcs"})
"""Protocols whose URIs have no queries: what looks like one is a part of the key."""


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
    def parse(cls, uri: str, storage_options: Mapping[str, Any] | None = None) -> Location:
        """A URI such as `s3://bucket/key.jsonl` or `file:///folder/key.jsonl`; raises `LandingRefused`.

        `storage_options` go to the fsspec file system of the URI's scheme.
        """
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        require_uri(uri)
        try:
            fs, path = url_to_fs(uri, **(storage_options or {}))
        except (ValueError, ImportError) as exc:
            raise LandingRefused(f"{showable(uri)!r} cannot be opened: {exc}{cure(uri)}") from exc
        return cls(fs, path, showable(uri, path))

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


def require_uri(uri: object) -> None:
    """Raises `LandingRefused` for what is no URI of an object."""
    if not isinstance(uri, str) or not uri.partition("://")[1]:
        name = str(uri or "results.jsonl").lstrip("/")
        raise LandingRefused(f"{uri!r} is not a URI; write file:///folder/{name} or s3://bucket/key")
    if uri.endswith("/"):
        raise LandingRefused(f"{showable(uri)!r} names a folder; name the object that the results shall become")


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


def showable(uri: str, path: str | None = None) -> str:
    """Without what may be a secret: a password and its user, a query. A file's name may hold anything, a key most."""
    scheme, _, rest = uri.partition("://")
    if scheme == "file":
        return uri if path is None else f"file://{path}"
    place, slash, key = (rest if scheme in KEYED else rest.partition("?")[0]).partition("/")
    user, _, host = place.rpartition("@")
    return f"{scheme}://{host if ':' in user else place}{slash}{key}"
