"""Read an object as a stream of decoded bytes, from a local file or a store.

`.gz` and `.zst` are decompressed by suffix. Every failure becomes a `SourceError` that names the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO, Final, cast

from airflow_batches._extras import install_hint
from airflow_batches._uri import redact_uri
from airflow_batches.api.errors import BatchesError
from airflow_batches.submission.background import read_ahead
from airflow_batches.submission.errors import PreflightError, SourceError
from airflow_batches.submission.formats import wrong_suffix
from airflow_batches.submission.remote import open_object
from airflow_batches.submission.stores import OpenStore, local_path

READ_BYTES: Final = 1 << 20
"""Bytes of one read. Chosen: large enough for few calls, and small beside a worker's memory."""
COMPRESSED: Final[Mapping[str, str]] = {".gz": ".gz", ".zst": ".zst", ".zstd": ".zst"}
"""Suffixes of objects that are decompressed, and the usual form of each."""


def is_compressed(uri: str) -> bool:
    """Whether the object is decompressed, so that reading must start at its beginning."""
    return Path(uri).suffix.lower() in COMPRESSED


def read_object(
    uri: str, open_store: OpenStore, name: str, *, start: int = 0, length: int | None = None
) -> Iterator[bytes]:
    """Yield an object's decoded bytes, in blocks.

    :param uri: the object.
    :param open_store: finds the store of a URI.
    :param name: what errors call the object; it holds no credentials.
    :param start: offset of the first decoded byte.
    :param length: the number of bytes; by default all that follow.
    :raises SourceError: when the object cannot be read.
    """
    with reading(name):
        raw = _open(uri, open_store)
    with raw:
        stream = _decoded(raw, uri, name)
        if start:
            with reading(name):
                stream.seek(start)
        blocks = _blocks(stream, name, length)
        # Passing blocks of a plain local file to a thread takes longer than reading them.
        yield from blocks if isinstance(stream, FileIO) else read_ahead(blocks)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Convert any failure in the block to a `SourceError` that names the source."""
    try:
        yield
    except BatchesError:
        raise
    except Exception as exc:  # each store has its own exception types
        raise SourceError(f"cannot read {name}: {type(exc).__name__}: {exc}{install_hint(name)}") from exc


def _open(uri: str, open_store: OpenStore) -> IO[bytes]:
    # Airflow would search all providers for one of local files, and import boto3 for that.
    if (path := local_path(uri)) is not None:
        return path.open("rb", buffering=0)
    return open_object(*open_store(uri))


def _blocks(stream: IO[bytes], name: str, length: int | None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        with reading(name):
            block = stream.read(READ_BYTES if left is None else min(READ_BYTES, left))
        if not block:
            return
        left = None if left is None else left - len(block)
        yield block


def _decoded(raw: IO[bytes], uri: str, name: str) -> IO[bytes]:
    suffix = COMPRESSED.get(Path(uri).suffix.lower())
    if suffix is None:
        return raw
    with reading(name):
        head = raw.read(4)
    if reason := wrong_suffix(head, suffix):
        raise PreflightError(f"{redact_uri(uri)} {reason}")
    packed = cast("IO[bytes]", _Rejoined(head, raw))
    if suffix == ".gz":
        import gzip

        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed, mode="rb"))
    import zstandard

    return cast("IO[bytes]", zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True))


class _Rejoined:
    """A stream whose first bytes were read before."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        """Return the first bytes, then those that follow."""
        if not self._head:
            return self._rest.read(size)
        head, self._head = self._head, b""
        if 0 <= size < len(head):
            head, self._head = head[:size], head[size:]
        return head if size >= 0 else head + self._rest.read()
