"""Shards as uncompressed objects of their own, so that none is reached by decoding what lies before it.

    <folder>/00000-<fingerprint>.jsonl
    <folder>/00001-<fingerprint>.jsonl

The source is read once more, from its beginning to its end, and must be what was planned. A name says which requests
it holds, so a plan that is repeated writes nothing anew, and plans of other requests may share the folder. Nothing is
removed later; the objects may go as soon as their batches have been submitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from airflow_batches._extras import cure
from airflow_batches._uri import conn_id_for, redact_uri
from airflow_batches.api.errors import BatchesError
from airflow_batches.submission.errors import SourceChanged, SourceError
from airflow_batches.submission.source import Source

if TYPE_CHECKING:
    from airflow_batches.submission.shards import Shard


class Hashed(Source):
    """A source whose last complete reading is known by its SHA-256."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.sha256 = ""
        self._source = source

    def blocks(self) -> Iterator[bytes]:
        """The source's blocks."""
        digest = sha256()
        for block in self._source.blocks():
            digest.update(block)
            yield block
        self.sha256 = digest.hexdigest()


class _FileSystem(Protocol):
    def open(self, path: str, mode: str) -> Any: ...
    def info(self, path: str) -> dict[str, Any]: ...
    def rm_file(self, path: str) -> None: ...


def store_shards(source: Hashed, planned: Sequence[tuple[Shard, str]], folder: str, conn_id: str | None) -> list[Shard]:
    """The same shards, each in an object of its own. `planned` are shards with the fingerprints of their requests,
    `folder` is a URI.

    Raises `SourceChanged` if the source is no longer what was planned, `SourceError` if it cannot be read or the
    objects cannot be written; then nothing that was written stays.
    """
    expected = source.sha256
    written: list[tuple[_FileSystem, str]] = []
    reader = _Reader(source)
    try:
        shards = [
            _stored(shard, f"{folder.rstrip('/')}/{number:05d}-{fingerprint[:16]}.jsonl", reader, conn_id, written)
            for number, (shard, fingerprint) in enumerate(planned)
        ]
        reader.finish()
        if source.sha256 != expected:
            raise _changed(source)
    except BaseException:
        for fs, path in written:
            with suppress(Exception):
                fs.rm_file(path)
        raise
    return shards


def _stored(
    shard: Shard, uri: str, reader: _Reader, conn_id: str | None, written: list[tuple[_FileSystem, str]]
) -> Shard:
    from airflow_batches.submission.shards import Shard

    size = shard.end - shard.start
    pieces = reader.take(size)
    with _writing(uri):
        fs, path = _destination(uri, conn_id)
        if _size(fs, path) == size:
            for _ in pieces:
                pass
        else:
            written.append((fs, path))
            with fs.open(path, "wb") as file:
                for piece in pieces:
                    file.write(piece)
    return Shard(uri=uri, start=0, end=size, requests=shard.requests, ids_digest=shard.ids_digest)


class _Reader:
    """A source's bytes, as many at once as are asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._blocks = source.blocks()
        self._rest = b""

    def take(self, length: int) -> Iterator[bytes]:
        """The next so many bytes. Raises `SourceChanged` if there are fewer."""
        while length:
            if not self._rest:
                self._rest = next(self._blocks, b"")
            if not self._rest:
                raise _changed(self._source)
            piece, self._rest = self._rest[:length], self._rest[length:]
            length -= len(piece)
            yield piece

    def finish(self) -> None:
        """Read what is left."""
        for _ in self._blocks:
            pass


def _changed(source: Source) -> SourceChanged:
    return SourceChanged(f"{source.name} changed while it was planned; nothing was sent")


def _destination(uri: str, conn_id: str | None) -> tuple[_FileSystem, str]:
    if uri.startswith("file://"):
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        return LocalFileSystem(auto_mkdir=True), uri.removeprefix("file://")
    from airflow.sdk import ObjectStoragePath

    remote = ObjectStoragePath(uri, conn_id=conn_id_for(uri, conn_id))
    return remote.fs, remote.path


def _size(fs: _FileSystem, path: str) -> int | None:
    try:
        return int(fs.info(path)["size"])
    except FileNotFoundError:
        return None


@contextmanager
def _writing(uri: str) -> Iterator[None]:
    try:
        yield
    except BatchesError:
        raise
    except Exception as exc:  # each store has exception types of its own
        raise SourceError(
            f"cannot write the shard {redact_uri(uri)}: {type(exc).__name__}: {exc}{cure(uri)}; nothing was sent"
        ) from exc
