"""Split a source that is too large for one batch into shards.

A shard is a range of the decoded bytes of a JSONL object. The ranges of a plan cover its lines exactly once, in order,
and none exceeds the limits. A plan is small JSON: five values for each shard, for data of any size.

One reading splits the source, checks every request and finds duplicates across shards. Memory: one block, one line, and
eight bytes for each request. Submitting a shard checks that its requests are still those of the plan.

A compressed object can only be decoded from its beginning: submitting N shards of it decodes the whole object about N/2
times. With `shards_path` a second reading stores each shard uncompressed (`shard_files`), and the work stays linear.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from airflow_batches._uri import to_uri
from airflow_batches.api.defaults import NEWEST
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.api.limits import MAX_BODY_BYTES, MAX_REQUESTS
from airflow_batches.submission.envelope import ENVELOPE_BYTES
from airflow_batches.submission.errors import EmptySource, PreflightError
from airflow_batches.submission.inspector import Inspector
from airflow_batches.submission.lines import RequestLine
from airflow_batches.submission.objects import is_compressed
from airflow_batches.submission.preflight import Preflight
from airflow_batches.submission.scan import Totals
from airflow_batches.submission.shard import Shard
from airflow_batches.submission.shard_files import HashedSource, store_shards
from airflow_batches.submission.source import UriSource
from airflow_batches.submission.stores import OpenStore, fsspec_store

logger = logging.getLogger(__name__)


def split_requests(
    uri: object,
    *,
    open_store: OpenStore = fsspec_store,
    model: str | None = None,
    max_requests: int = MAX_REQUESTS,
    max_bytes: int = MAX_BODY_BYTES,
    preflight: Preflight = "error",
    anthropic_version: str = NEWEST,
    shards_path: object = None,
) -> list[Shard]:
    """Split a JSONL object into shards, in order.

    :param uri: the object's URI or path.
    :param open_store: finds the store of a URI; by default fsspec's, with its own configuration.
    :param model: the default model, the same as for the submission: it counts toward the size.
    :param max_requests: most requests in one shard; by default the API's limit.
    :param max_bytes: most bytes of one create's body; by default the API's limit.
    :param preflight: what to do with requests that the API would refuse.
    :param anthropic_version: the API version that the requests are checked against.
    :param shards_path: a folder (URI or path) for the shards, uncompressed. None: shards are ranges of the object.
    :return: the shards.
    :raises EmptySource: when the object holds no requests.
    :raises PreflightError: when requests have problems, after all were checked, or when a request exceeds `max_bytes`.
    :raises SourceError: when the object cannot be read, or a shard cannot be written.

    Example::

        shards = split_requests("s3://bucket/requests.jsonl", max_requests=50_000)
        MessageBatchSubmitOperator.partial(task_id="submit").expand(requests=[shard.to_dict() for shard in shards])
    """
    if not 1 <= max_requests <= MAX_REQUESTS or not ENVELOPE_BYTES < max_bytes <= MAX_BODY_BYTES:
        raise InvalidRequest(f"shards hold 1 to {MAX_REQUESTS:,} requests in at most {MAX_BODY_BYTES:,} bytes")
    folder = None if shards_path is None else to_uri(shards_path)
    source = UriSource(uri, open_store)
    hashed = HashedSource(source)
    inspector = Inspector(
        source if folder is None else hashed, model=model, preflight=preflight, version=anthropic_version
    )
    cutter = _Cutter(source, max_requests, max_bytes)
    planned = [*cutter.shards(inspector.requests())]
    inspector.problems.refuse_or_warn(source, preflight)
    if not planned:
        raise EmptySource(source.name)
    if folder is not None:
        return store_shards(hashed, planned, folder, open_store)
    if len(planned) > 1 and is_compressed(source.uri):
        logger.warning(
            "%s is compressed: submitting its %d shards decodes all of it about %d times. Give shards_path, a folder "
            "where the shards are stored uncompressed, or store the object uncompressed",
            source.name,
            len(planned),
            len(planned) / 2 + 1,
        )
    return [shard for shard, _ in planned]


class _Cutter:
    """Fills one shard after the other up to the limits."""

    def __init__(self, source: UriSource, max_requests: int, max_bytes: int) -> None:
        self._source = source
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._open(0)

    def shards(self, runs: Iterable[tuple[Sequence[RequestLine], Sequence[int]]]) -> Iterator[tuple[Shard, str]]:
        """Yield the shards and their fingerprints.

        :param runs: runs of requests, with the offsets of their lines' ends.
        """
        for requests, ends in runs:
            for request, line_end in zip(requests, ends, strict=True):
                if self._is_full(request):
                    yield self._close()
                    self._open(self._end)
                self._add(request, line_end)
            self._count()
        if self._totals.requests:
            yield self._close()

    def _open(self, start: int) -> None:
        self._start = self._end = start
        self._totals = Totals()
        self._new: list[RequestLine] = []
        self._size = ENVELOPE_BYTES

    @property
    def _requests(self) -> int:
        return self._totals.requests + len(self._new)

    def _is_full(self, request: RequestLine) -> bool:
        size = self._size + len(request.data) + 1
        return self._requests == self._max_requests or (self._requests > 0 and size > self._max_bytes)

    def _add(self, request: RequestLine, line_end: int) -> None:
        self._size += len(request.data) + (1 if self._requests else 0)
        self._new.append(request)
        self._end = line_end
        if self._size > self._max_bytes:
            raise PreflightError(
                f"{self._source.name}: request {request.custom_id!r} alone makes a body of {self._size:,} bytes; "
                f"a shard takes {self._max_bytes:,}"
            )

    def _count(self) -> None:
        self._totals.add(self._new)
        self._new.clear()

    def _close(self) -> tuple[Shard, str]:
        self._count()
        totals = self._totals
        shard = Shard(
            uri=self._source.uri,
            start=self._start,
            end=self._end,
            requests=totals.requests,
            ids_digest=totals.ids_digest,
        )
        return shard, totals.fingerprint
