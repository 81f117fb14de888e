"""Open requests as a source: JSONL that can be read twice and is never whole in memory.

| given                                            | read                                                     |
|--------------------------------------------------|----------------------------------------------------------|
| list or tuple of `{"custom_id", "params"}`       | encoded again at each reading                            |
| other iterable, generator                        | once; spooled to an unnamed file on local disk           |
| callable without arguments                       | its return value, one of the other kinds                 |
| `file` URI or absolute path of JSONL             | at each reading; `.gz` and `.zst` by suffix              |
| URI or `ObjectStoragePath` of JSONL in a store   | streamed once, kept on local disk for later readings     |
| shard descriptor (`split_requests`)              | the same, for the shard's range of the decoded bytes     |

A URI is opened through Airflow's `ObjectStoragePath`, so `s3://conn_id@bucket/key` names its connection. The files on
local disk (in the folder for temporary files, `TMPDIR`) have no name: the system deletes them when the process ends,
even after a kill. An iterable is read to its end, in the caller's thread, before anything is sent. Its errors reach the
caller unchanged.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from airflow_batches._extras import cure
from airflow_batches._uri import conn_id_for, is_path, redact_uri, to_uri
from airflow_batches.api.errors import BatchesError, InvalidRequest
from airflow_batches.submission.ahead import ahead
from airflow_batches.submission.encode import Requests, encode_requests
from airflow_batches.submission.errors import PreflightError, SourceError
from airflow_batches.submission.formats import checked, wrong_suffix

if TYPE_CHECKING:
    from airflow_batches.submission.shards import Shard

READ_BYTES: Final = 1 << 20
"""Bytes of one read. Chosen: large enough for few calls, and small beside a worker's memory."""
COMPRESSED: Final[Mapping[str, str]] = {".gz": ".gz", ".zst": ".zst", ".zstd": ".zst"}
"""Suffixes of objects that are decompressed, and the usual form of each."""


class Source(ABC):
    """Requests as JSONL. `name` is for messages and receipts; it holds no credentials."""

    name: str

    @abstractmethod
    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes from the beginning, in blocks of any size."""

    def check(self, requests: int, ids_digest: str) -> None:  # noqa: B027  # only shards have a plan
        """Raise `PreflightError` if these are not the requests of the plan."""


@contextmanager
def open_source(requests: Any, *, conn_id: str | None = None, spool_dir: str | None = None) -> Iterator[Source]:
    """Open requests as a source. The end of the block frees its disk space.

    Errors of a callable or a generator reach the caller unchanged.

    :param requests: requests in one of the forms of the table.
    :param conn_id: the Airflow connection of a URI that names none.
    :param spool_dir: the folder for unnamed files; by default the one for temporary files.
    :raises InvalidRequest: when this is not a source.

    Example::

        with open_source("s3://bucket/requests.jsonl") as source:
            receipt = submit(client, source)
    """
    given = requests() if callable(requests) else requests
    if isinstance(given, str) and given.lstrip().startswith(("[", "{")):
        raise InvalidRequest(
            "requests is a text that looks like JSON (a template makes text of them, an XComArg does not)"
        )
    if isinstance(given, str) or is_path(given):
        with _fetched(UriSource(given, conn_id), spool_dir) as source:
            yield source
    elif isinstance(given, Mapping):
        with _fetched(ShardSource(_shard(given), conn_id), spool_dir) as source:
            yield source
    elif isinstance(given, list | tuple):
        yield ListSource(given)
    elif isinstance(given, Iterable) and not isinstance(given, bytes | bytearray):
        with tempfile.TemporaryFile(dir=spool_dir) as spool:
            yield SpooledSource(given, spool)
    else:
        raise InvalidRequest(f"requests must be a list, an iterable, a callable or a URI, not {type(given).__name__}")


def source_uri(place: object) -> str:
    """Convert a place to read from to a URI.

    Unlike in `to_uri`, an absolute path needs no scheme.

    :raises InvalidRequest: when it is not a place.
    """
    return to_uri(Path(place) if isinstance(place, str) and place.startswith("/") else place)


def is_compressed(uri: str) -> bool:
    """Whether the object is decompressed, so that reading must start at its beginning."""
    return Path(uri).suffix.lower() in COMPRESSED


@contextmanager
def open_uri(uri: str, conn_id: str | None = None) -> Iterator[IO[bytes]]:
    """Open a URI and yield a stream of its decoded bytes.

    :param uri: the object.
    :param conn_id: the Airflow connection of a URI that names none.
    :raises SourceError: when it cannot be opened.
    """
    with reading(redact_uri(uri)):
        raw = _open(uri, conn_id)
    with raw:
        yield _decoded(raw, uri)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Convert any failure in the block to a `SourceError` that names the source."""
    try:
        yield
    except BatchesError:
        raise
    except Exception as exc:
        raise SourceError(f"cannot read {name}: {type(exc).__name__}: {exc}{cure(name)}") from exc


class ListSource(Source):
    """Requests in memory."""

    name = "requests"

    def __init__(self, requests: Sequence[Mapping[str, Any]]) -> None:
        self._requests = requests
        self._checked = False

    def blocks(self) -> Iterator[bytes]:
        """Yield the requests as JSONL, several in one block."""
        yield from encode_requests(self._requests, checked=self._checked)
        self._checked = True


class SpooledSource(Source):
    """Requests that can be read only once, kept in the file `spool`."""

    name = "requests"

    def __init__(self, requests: Requests, spool: IO[bytes]) -> None:
        self._spool = spool
        for block in encode_requests(requests):
            spool.write(block)

    def blocks(self) -> Iterator[bytes]:
        """Yield the spooled bytes."""
        self._spool.seek(0)
        yield from iter(lambda: self._spool.read(READ_BYTES), b"")


class UriSource(Source):
    """JSONL in object storage or on a local path."""

    def __init__(self, place: object, conn_id: str | None = None) -> None:
        if isinstance(place, str) and not place.strip():
            raise InvalidRequest("the URI of the requests is empty")
        self.uri = source_uri(place)
        self.name = redact_uri(self.uri)
        self._conn_id = conn_id

    def blocks(self) -> Iterator[bytes]:
        """Yield the object's decoded bytes."""
        with open_uri(self.uri, self._conn_id) as stream:
            yield from checked(_soon(stream, _read(stream, self.name)), self.name)


class ShardSource(Source):
    """One shard of a JSONL object. A compressed object is decoded from its beginning."""

    def __init__(self, shard: Shard, conn_id: str | None = None) -> None:
        self.shard = shard
        self.uri = source_uri(shard.uri)
        self._conn_id = conn_id
        self.name = f"{redact_uri(self.uri)}, bytes {shard.start:,} to {shard.end:,}"

    def blocks(self) -> Iterator[bytes]:
        """Yield the shard's lines."""
        with open_uri(self.uri, self._conn_id) as stream:
            with reading(self.name):
                stream.seek(self.shard.start)
            blocks = _soon(stream, _read(stream, self.name, self.shard.end - self.shard.start))
            yield from checked(blocks, self.name)

    def check(self, requests: int, ids_digest: str) -> None:
        """Raise `PreflightError` if the shard does not hold the requests of the plan."""
        if (requests, ids_digest) != (self.shard.requests, self.shard.ids_digest):
            raise PreflightError(
                f"{self.name} holds other requests ({requests:,}) than when it was planned ({self.shard.requests:,})"
            )


class FetchedSource(Source):
    """A remote source.

    Its first reading is kept in the file `spool`, so every reading yields the same bytes.
    """

    def __init__(self, remote: Source, spool: IO[bytes]) -> None:
        self.name = remote.name
        self._remote = remote
        self._spool = spool
        self._complete = False

    def blocks(self) -> Iterator[bytes]:
        """Yield the kept bytes; fetch them first if that has not been done completely."""
        self._spool.seek(0)
        if self._complete:
            yield from iter(lambda: self._spool.read(READ_BYTES), b"")
            return
        self._spool.truncate()
        for block in self._remote.blocks():
            self._spool.write(block)
            yield block
        self._complete = True

    def check(self, requests: int, ids_digest: str) -> None:
        """Raise what the remote source's `check` raises."""
        self._remote.check(requests, ids_digest)


@contextmanager
def _fetched(source: UriSource | ShardSource, spool_dir: str | None) -> Iterator[Source]:
    """Keep a remote source on local disk; yield a local one unchanged."""
    if _local_path(source.uri) is not None:
        yield source
    else:
        with tempfile.TemporaryFile(dir=spool_dir) as spool:
            yield FetchedSource(source, spool)


def _local_path(uri: str) -> Path | None:
    scheme, _, path = uri.partition("://")
    return Path(path) if scheme == "file" else None


def _read(stream: IO[bytes], name: str, length: int | None = None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        with reading(name):
            block = stream.read(READ_BYTES if left is None else min(READ_BYTES, left))
        if not block:
            return
        left = None if left is None else left - len(block)
        yield block


def _soon(stream: IO[bytes], blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Read ahead in a thread, except from a plain local file, where passing blocks on takes longer than reading."""
    return blocks if isinstance(stream, FileIO) else ahead(blocks)


def _open(uri: str, conn_id: str | None) -> IO[bytes]:
    if (path := _local_path(uri)) is not None:
        # Airflow would search all providers for one of local files, and import boto3 for that.
        return path.open("rb", buffering=0)
    from airflow.sdk import ObjectStoragePath

    from airflow_batches.submission.remote import open_object

    remote = ObjectStoragePath(uri, conn_id=conn_id_for(uri, conn_id))
    # Not remote.open(): Airflow's wrapper reports each read as a lineage event.
    return open_object(remote.fs, remote.path)


def _decoded(raw: IO[bytes], uri: str) -> IO[bytes]:
    suffix = COMPRESSED.get(Path(uri).suffix.lower())
    if suffix is None:
        return raw
    with reading(redact_uri(uri)):
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


def _shard(given: Mapping[str, Any]) -> Shard:
    from airflow_batches.submission.shards import Shard

    if "custom_id" in given:
        raise InvalidRequest("requests is a single request; give a list of them")
    return Shard.from_dict(given)
