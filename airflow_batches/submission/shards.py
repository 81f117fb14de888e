"""A source too large for one batch, cut into shards that are none.

A shard is a range of the decoded bytes of a JSONL object; the ranges of a plan cover its lines exactly once, in
order, and none is over the limits. A plan is small JSON: five values for each shard, whatever the data.

One reading cuts, checks every request and finds duplicates across shards. Memory: one block, one line, and eight
bytes a request. Submitting a shard checks that its requests are still the ones that were planned.

A compressed object can only be decoded from its beginning: to submit N shards of it decodes about N/2 times all of it.
With `shards_path` a second reading stores each shard uncompressed (`shard_files`), and the work stays linear.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import msgspec

from airflow_batches._uri import to_uri
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.api.limits import MAX_BODY_BYTES, MAX_REQUESTS
from airflow_batches.submission.body import ENVELOPE_BYTES
from airflow_batches.submission.errors import EmptySource, PreflightError
from airflow_batches.submission.lines import RequestLine
from airflow_batches.submission.preflight import STRICT_SINCE, Preflight
from airflow_batches.submission.scan import Inspector, Tally, warn_or_refuse
from airflow_batches.submission.shard_files import Hashed, store_shards
from airflow_batches.submission.source import UriSource, is_compressed

logger = logging.getLogger(__name__)


class Shard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes `start` to `end` of what `uri` decodes to, which hold `requests` lines with these custom_ids."""

    uri: str
    start: int
    end: int
    requests: int
    ids_digest: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON: what `MessageBatchSubmitOperator` takes as `requests`."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From plain JSON. Raises `InvalidRequest` for what is no shard."""
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError as exc:
            raise InvalidRequest(f"neither a list of requests nor a shard descriptor: {exc}") from exc


def split_requests(
    uri: object,
    *,
    conn_id: str | None = None,
    model: str | None = None,
    max_requests: int = MAX_REQUESTS,
    max_bytes: int = MAX_BODY_BYTES,
    preflight: Preflight = "error",
    anthropic_version: str = STRICT_SINCE,
    shards_path: object = None,
) -> list[Shard]:
    """The shards of a URI's JSONL, in order, each at most `max_requests` requests and `max_bytes` bytes of body.

    `uri` may be a path object too. `conn_id` is the Airflow connection of a URI that names none; `model` is the default
    that will be submitted with, since it counts. `shards_path` is a folder (URI or path) where each shard is stored
    uncompressed; without it shards are ranges of the object itself.

    Raises `EmptySource` for an object without requests, `PreflightError` for problems of the requests (once all of them
    are known) and for a request that fits no shard; `SourceError`.
    """
    if not 1 <= max_requests <= MAX_REQUESTS or not ENVELOPE_BYTES < max_bytes <= MAX_BODY_BYTES:
        raise InvalidRequest(f"shards hold 1 to {MAX_REQUESTS:,} requests in at most {MAX_BODY_BYTES:,} bytes")
    folder = None if shards_path is None else to_uri(shards_path)
    source = UriSource(uri, conn_id)
    hashed = Hashed(source)
    inspector = Inspector(
        source if folder is None else hashed, model=model, preflight=preflight, version=anthropic_version
    )
    cutter = _Cutter(source, max_requests, max_bytes)
    planned = [*cutter.shards(inspector.requests())]
    warn_or_refuse(source, inspector.findings, preflight)
    if not planned:
        raise EmptySource(source.name)
    if folder is not None:
        return store_shards(hashed, planned, folder, conn_id)
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
    """Fills one shard after the other, each as far as it goes."""

    def __init__(self, source: UriSource, max_requests: int, max_bytes: int) -> None:
        self._source = source
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._open(0)

    def shards(self, runs: Iterable[tuple[Sequence[RequestLine], Sequence[int]]]) -> Iterator[tuple[Shard, str]]:
        """The shards of requests, some given at once with the offsets of their lines' ends, and their fingerprints."""
        for requests, ends in runs:
            for request, line_end in zip(requests, ends, strict=True):
                if self._is_full(request):
                    yield self._close()
                    self._open(self._end)
                self._add(request, line_end)
            self._count()
        if self._tally.requests:
            yield self._close()

    def _open(self, start: int) -> None:
        self._start = self._end = start
        self._tally = Tally()
        self._new: list[RequestLine] = []
        self._size = ENVELOPE_BYTES

    @property
    def _requests(self) -> int:
        return self._tally.requests + len(self._new)

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
        self._tally.add(self._new)
        self._new.clear()

    def _close(self) -> tuple[Shard, str]:
        self._count()
        tally = self._tally
        shard = Shard(
            uri=self._source.uri,
            start=self._start,
            end=self._end,
            requests=tally.requests,
            ids_digest=tally.ids_digest,
        )
        return shard, tally.fingerprint
