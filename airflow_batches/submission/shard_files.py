"""Store each shard as a separate uncompressed object, which is read without decoding.

    <folder>/00000-<fingerprint>.jsonl
    <folder>/00001-<fingerprint>.jsonl

The source is read once more from beginning to end, and must be the same as in the plan. A name contains the fingerprint
of its requests, so a repeated plan writes nothing, and plans of other requests may share the folder. The objects are
never deleted here; delete them after their batches have been submitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256

from airflow_batches._extras import install_hint
from airflow_batches._uri import redact_uri
from airflow_batches.api.errors import BatchesError
from airflow_batches.submission.errors import SourceChanged, SourceError
from airflow_batches.submission.shard import Shard
from airflow_batches.submission.source import Source
from airflow_batches.submission.stores import ObjectStore, OpenStore, local_path


class HashedSource(Source):
    """A source with the SHA-256 of its last complete reading."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.sha256 = ""
        self._source = source

    def blocks(self) -> Iterator[bytes]:
        """Yield the source's blocks."""
        digest = sha256()
        for block in self._source.blocks():
            digest.update(block)
            yield block
        self.sha256 = digest.hexdigest()


def store_shards(
    source: HashedSource, planned: Sequence[tuple[Shard, str]], folder: str, open_store: OpenStore
) -> list[Shard]:
    """Store each shard in a separate object.

    :param source: the source, after its first reading.
    :param planned: the shards, each with the fingerprint of its requests.
    :param folder: the URI of the folder for the objects.
    :param open_store: finds the store of a URI.
    :return: the same shards, as ranges of the new objects.
    :raises SourceChanged: when the source is no longer the same as in the plan.
    :raises SourceError: when it cannot be read, or an object cannot be written. After an error, the objects that this
        call wrote are removed.
    """
    expected = source.sha256
    written: list[tuple[ObjectStore, str]] = []
    reader = _Reader(source)
    try:
        shards = [
            _stored(shard, f"{folder.rstrip('/')}/{number:05d}-{fingerprint[:16]}.jsonl", reader, open_store, written)
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
    shard: Shard, uri: str, reader: _Reader, open_store: OpenStore, written: list[tuple[ObjectStore, str]]
) -> Shard:
    size = shard.end - shard.start
    pieces = reader.take(size)
    with _writing(uri):
        fs, path = _destination(uri, open_store)
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
    """Reads a source's bytes in the amounts that are needed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._blocks = source.blocks()
        self._rest = b""

    def take(self, length: int) -> Iterator[bytes]:
        """Yield the next `length` bytes. Raises `SourceChanged` if there are fewer."""
        while length:
            if not self._rest:
                self._rest = next(self._blocks, b"")
            if not self._rest:
                raise _changed(self._source)
            piece, self._rest = self._rest[:length], self._rest[length:]
            length -= len(piece)
            yield piece

    def finish(self) -> None:
        """Read the remaining bytes."""
        for _ in self._blocks:
            pass


def _changed(source: Source) -> SourceChanged:
    return SourceChanged(f"{source.name} changed while it was planned; nothing was sent")


def _destination(uri: str, open_store: OpenStore) -> tuple[ObjectStore, str]:
    if (path := local_path(uri)) is None:
        return open_store(uri)
    from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

    return LocalFileSystem(auto_mkdir=True), str(path)


def _size(fs: ObjectStore, path: str) -> int | None:
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
    except Exception as exc:  # each store has different exception types
        cause = f"{type(exc).__name__}: {exc}{install_hint(uri)}"
        raise SourceError(f"cannot write the shard {redact_uri(uri)}: {cause}; nothing was sent") from exc
