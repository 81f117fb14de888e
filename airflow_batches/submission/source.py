"""Open requests as a source: JSONL that can be read twice and is never whole in memory.

| given                                            | read                                                     |
|--------------------------------------------------|----------------------------------------------------------|
| list or tuple of `{"custom_id", "params"}`       | encoded again at each reading                            |
| other iterable, generator                        | once; spooled to an unnamed file on local disk           |
| callable without arguments                       | its return value, one of the other kinds                 |
| `file` URI or absolute path of JSONL             | at each reading; `.gz` and `.zst` by suffix              |
| URI or `ObjectStoragePath` of JSONL in a store   | streamed once, kept on local disk for later readings     |
| shard descriptor (`split_requests`)              | the same, for the shard's range of the decoded bytes     |

A URI is opened by the caller's `open_store`. The files on local disk (in the folder for temporary files, `TMPDIR`) have
no name: the system deletes them when the process ends, even after a kill. An iterable is read to its end, in the
caller's thread, before anything is sent. Its errors reach the caller unchanged.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from airflow_batches._uri import is_path, redact_uri, to_uri
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.submission.encode import Requests, encode_requests
from airflow_batches.submission.errors import PreflightError
from airflow_batches.submission.formats import checked
from airflow_batches.submission.lines import numbered_ids
from airflow_batches.submission.objects import READ_BYTES, read_object
from airflow_batches.submission.shard import Shard
from airflow_batches.submission.stores import OpenStore, fsspec_store, local_path


class Source(ABC):
    """Requests as JSONL. `name` is for messages and receipts; it holds no credentials."""

    name: str

    @abstractmethod
    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes from the beginning, in blocks of any size."""

    def check(self, requests: int, ids_digest: str) -> None:  # noqa: B027  # only shards have a plan
        """Raise `PreflightError` if these are not the requests of the plan."""


@contextmanager
def open_source(
    requests: Any, *, open_store: OpenStore = fsspec_store, spool_dir: str | None = None
) -> Iterator[Source]:
    """Open requests as a source. The end of the block frees its disk space.

    Errors of a callable or a generator reach the caller unchanged.

    :param requests: requests in one of the forms of the table.
    :param open_store: finds the store of a URI; by default fsspec's, with its own configuration.
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
        with _fetched(UriSource(given, open_store), spool_dir) as source:
            yield source
    elif isinstance(given, Mapping):
        with _fetched(ShardSource(_shard(given), open_store), spool_dir) as source:
            yield source
    elif isinstance(given, list | tuple):
        yield ListSource(given)
    elif isinstance(given, Iterable) and not isinstance(given, bytes | bytearray):
        with tempfile.TemporaryFile(dir=spool_dir) as spool:
            yield SpooledSource(given, spool)
    else:
        raise InvalidRequest(f"requests must be a list, an iterable, a callable or a URI, not {type(given).__name__}")


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
    """JSONL in object storage or on a local path.

    :param place: a URI, a path object, or an absolute path as text.
    :param open_store: finds the store of a URI.
    """

    def __init__(self, place: object, open_store: OpenStore = fsspec_store) -> None:
        if isinstance(place, str) and not place.strip():
            raise InvalidRequest("the URI of the requests is empty")
        self.uri = to_uri(Path(place) if isinstance(place, str) and place.startswith("/") else place)
        self.name = redact_uri(self.uri)
        self._open_store = open_store

    def blocks(self) -> Iterator[bytes]:
        """Yield the object's decoded bytes."""
        yield from checked(read_object(self.uri, self._open_store, self.name), self.name)


class ShardSource(UriSource):
    """One shard of a JSONL object. A compressed object is decoded from its beginning."""

    def __init__(self, shard: Shard, open_store: OpenStore = fsspec_store) -> None:
        super().__init__(shard.uri, open_store)
        self.shard = shard
        self.name = f"{self.name}, bytes {shard.start:,} to {shard.end:,}"

    def blocks(self) -> Iterator[bytes]:
        """Yield the shard's lines."""
        start, end = self.shard.start, self.shard.end
        blocks = read_object(self.uri, self._open_store, self.name, start=start, length=end - start)
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
def _fetched(source: UriSource, spool_dir: str | None) -> Iterator[Source]:
    """Keep a remote source on local disk; yield a local one unchanged."""
    if local_path(source.uri) is not None:
        yield source
    else:
        with tempfile.TemporaryFile(dir=spool_dir) as spool:
            yield FetchedSource(source, spool)


def custom_ids(requests: Any, *, open_store: OpenStore = fsspec_store) -> Iterator[str]:
    """Yield the ids of requests, in order.

    :param requests: anything that `open_source` accepts.
    :param open_store: finds the store of a URI.
    :raises InvalidRequest: when this is not a source.
    :raises SourceError: when the source cannot be read.
    """
    with open_source(requests, open_store=open_store) as source:
        for _, custom_id in numbered_ids(source.blocks()):
            yield custom_id


def _shard(given: Mapping[str, Any]) -> Shard:
    if "custom_id" in given:
        raise InvalidRequest("requests is a single request; give a list of them")
    return Shard.from_dict(given)
