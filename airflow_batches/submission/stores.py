"""Find the store of a URI.

The caller may give another function than `fsspec_store`: a task opens stores with Airflow's connections.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class ObjectStore(Protocol):
    """The methods of an fsspec file system that are used here."""

    def open(self, path: str, mode: str, **kwargs: Any) -> Any: ...
    def info(self, path: str) -> dict[str, Any]: ...
    def rm_file(self, path: str) -> None: ...


OpenStore = Callable[[str], tuple[ObjectStore, str]]
"""Returns the file system of a URI, and the object's path there."""


def fsspec_store(uri: str) -> tuple[ObjectStore, str]:
    """Return a URI's file system with fsspec's own configuration, and the object's path there."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    fs, path = url_to_fs(uri)
    return fs, path


def local_path(uri: str) -> Path | None:
    """Return the path of a `file` URI; None for any other."""
    scheme, _, path = uri.partition("://")
    return Path(path) if scheme == "file" else None
