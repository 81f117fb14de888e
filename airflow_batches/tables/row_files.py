"""Find the files of a URI, a folder or a glob, and notice that they change.

| given                        | files                                                                                 |
|------------------------------|---------------------------------------------------------------------------------------|
| URI of an object             | this one, whatever its name                                                           |
| URI of a folder              | all below it                                                                          |
| URI with `*`, `?` or `[`     | all that match, and all below folders that match, unless an object has this very name |

Rules: files are sorted by path. Names that begin with `.` or `_` (`_SUCCESS`, `_delta_log/`, `.crc`) are left out below
a folder or glob, as pyarrow does. The format is that of the suffix, or the one given, and the same for all files.
Files are listed once, and again after the last row: one that appeared, disappeared or changed is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from fsspec.core import has_magic  # type: ignore[import-untyped]

from airflow_batches._uri import redact_uri, to_uri
from airflow_batches.landing.version import ObjectVersion
from airflow_batches.submission.errors import EmptySource, SourceChanged
from airflow_batches.submission.objects import is_compressed, reading
from airflow_batches.submission.stores import OpenStore
from airflow_batches.tables.row_errors import RowsError

RowFormat = Literal["parquet", "csv", "tsv", "jsonl"]
"""Formats of rows."""

FORMATS: Final[Mapping[str, RowFormat]] = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".tsv": "tsv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
}  # fmt: skip
"""The format of each suffix. `.gz` and `.zst` may follow those of text."""


@dataclass(frozen=True)
class RowFile:
    """One file of rows.

    `uri` may be shown to people. `version` is compared to notice changes.
    """

    fs: Any
    path: str
    uri: str
    version: ObjectVersion
    modified: str

    def open_store(self, _: str) -> tuple[Any, str]:
        """Return the file system and the path, whatever URI is asked for."""
        return self.fs, self.path


@dataclass(frozen=True)
class RowFiles:
    """The files of one source, as they were listed.

    Example::

        files = RowFiles.find("s3://lake/reviews/*.parquet", fsspec_store)
        print(files.name, [file.uri for file in files.files])
    """

    uri: str
    name: str
    open_store: OpenStore
    files: Sequence[RowFile]

    @classmethod
    def find(cls, place: object, open_store: OpenStore) -> RowFiles:
        """List the files of a place.

        :param place: a URI, an absolute path or a path object: an object, a folder or a glob.
        :param open_store: finds the store of a URI.
        :raises EmptySource: there is no file.
        :raises SourceError: the store cannot be listed.
        """
        uri = to_uri(Path(place) if isinstance(place, str) and place.startswith("/") else place)
        name = redact_uri(uri)
        files = _listed(uri, name, open_store)
        if not files:
            raise EmptySource(name)
        return cls(uri, name, open_store, files)

    def require_unchanged(self) -> None:
        """Raise `SourceChanged` if a file has appeared, disappeared or changed since the listing."""
        before = {file.path: file for file in self.files}
        now = {file.path: file for file in _listed(self.uri, self.name, self.open_store)}
        for path in sorted(before.keys() | now.keys()):
            if path not in before:
                raise _changed(now[path], "appeared")
            if path not in now:
                raise _changed(before[path], "disappeared")
            if (before[path].version, before[path].modified) != (now[path].version, now[path].modified):
                raise _changed(before[path], "changed")

    def format(self, given: RowFormat | None) -> RowFormat:
        """Return the format of all files.

        :param given: the format, if it does not follow from the names.
        :raises RowsError: a name has no known suffix, or two formats are there.
        """
        if given is not None:
            return given
        formats = {_format_of(file): file for file in reversed(self.files)}
        if len(formats) > 1:
            first, second = (formats[name] for name in list(formats)[-1:-3:-1])
            raise RowsError(
                f"{self.name} holds files of several formats, {first.uri} and {second.uri}; nothing was sent. "
                "Give a glob that matches files of one format"
            )
        return next(iter(formats))


def _format_of(file: RowFile) -> RowFormat:
    path = PurePosixPath(file.path)
    plain = path.with_suffix("") if is_compressed(file.path) else path
    found = FORMATS.get(plain.suffix.lower())
    if found is None or (found == "parquet" and plain != path):
        raise RowsError(
            f"{file.uri} has no suffix of rows ({', '.join(FORMATS)}); nothing was sent. Give a glob that leaves it "
            "out, or its format"
        )
    return found


def _listed(uri: str, name: str, open_store: OpenStore) -> list[RowFile]:
    with reading(name):
        fs, path = open_store(uri)
        scheme = uri.partition("://")[0]
        found = [_row_file(fs, path, scheme, info) for path, info in _found(fs, path.rstrip("/"))]
    return sorted(found, key=lambda file: file.path)


def _found(fs: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the files of an object, a folder or a glob with what the store says of each."""
    fs.invalidate_cache()
    if has_magic(path) and not fs.exists(path):
        base = path[: min(path.find(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
        matches = fs.glob(path, detail=True).items()
    else:
        info = fs.info(path)
        if info["type"] != "directory":
            yield path, info
            return
        base, matches = path, [(path, info)]
    for each, info in matches:
        files = fs.find(each, detail=True) if info["type"] == "directory" else {each: info}
        yield from ((file, about) for file, about in files.items() if _is_data(file, about, base))


def _is_data(path: str, info: Mapping[str, Any], base: str) -> bool:
    """Whether this is a file whose path below the base has no hidden part. A store may list a folder as an object."""
    parts = path.removeprefix(base).strip("/").split("/")
    return info["type"] == "file" and not path.endswith("/") and not any(part.startswith((".", "_")) for part in parts)


def _row_file(fs: Any, path: str, scheme: str, info: Mapping[str, Any]) -> RowFile:
    uri = redact_uri(path if "://" in path else f"{scheme}://{path}")
    modified = next(
        (str(info[name]) for name in ("mtime", "LastModified", "last_modified", "updated") if info.get(name)), ""
    )
    return RowFile(fs, path, uri, ObjectVersion.of_info(info), modified)


def _changed(file: RowFile, how: str) -> SourceChanged:
    return SourceChanged(
        f"{file.uri} {how} while the rows were read; nothing was sent. A retry reads the rows again: run it when "
        "nothing writes there any more"
    )
