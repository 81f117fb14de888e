"""Cut requests into shards: ranges of one object, none over the limits. The first one may be the canary.

One reading cuts, checks every request, finds duplicates, and takes a sample for the estimate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from airflow_batches.api.digest import MODULUS
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.api.limits import MAX_BODY_BYTES, MAX_REQUESTS
from airflow_batches.jobs.ledger import ModelShare, PlannedShard
from airflow_batches.submission.envelope import ENVELOPE_BYTES
from airflow_batches.submission.errors import EmptySource, PreflightError
from airflow_batches.submission.inspector import Inspector
from airflow_batches.submission.lines import RequestLine
from airflow_batches.submission.preflight import Preflight
from airflow_batches.submission.scan import Totals
from airflow_batches.submission.source import Source

SAMPLE: Final = 50
"""Requests whose tokens are counted for the estimate. Chosen: a count takes about 0.2 s, and token counts have rate
limits of their own (docs, "Token counting")."""


@dataclass(frozen=True, kw_only=True)
class CutLimits:
    """How large shards may be, and how requests are checked.

    :param model: the default for requests that name none.
    :param version: the API version that the requests are checked against.
    """

    max_requests: int = MAX_REQUESTS
    max_bytes: int = MAX_BODY_BYTES
    model: str | None = None
    version: str
    preflight: Preflight = "error"

    def __post_init__(self) -> None:
        if not 1 <= self.max_requests <= MAX_REQUESTS or not ENVELOPE_BYTES < self.max_bytes <= MAX_BODY_BYTES:
            raise InvalidRequest(f"shards hold 1 to {MAX_REQUESTS:,} requests in at most {MAX_BODY_BYTES:,} bytes")


@dataclass
class Sample:
    """Some requests, each with the same chance (reservoir sampling; always the same for the same source).

    `first` is the source's first request.
    """

    first: RequestLine | None = None
    requests: list[RequestLine] = field(default_factory=list)
    seen: int = 0
    random: Random = field(default_factory=lambda: Random(0))

    def add(self, request: RequestLine) -> None:
        """Perhaps keep a request."""
        self.seen += 1
        self.first = self.first or request
        if len(self.requests) < SAMPLE:
            self.requests.append(request)
        elif (place := self.random.randrange(self.seen)) < SAMPLE:
            self.requests[place] = request


class _Params(msgspec.Struct):
    max_tokens: Any = 0


class _Limits(msgspec.Struct):
    params: _Params


_limits = msgspec.json.Decoder(_Limits)


class _OpenShard:
    """The shard that is being filled."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self.size = ENVELOPE_BYTES
        self.requests = 0
        self.models: dict[str, list[int]] = {}
        self._totals = Totals()
        self._new: list[RequestLine] = []

    def add(self, request: RequestLine, end: int) -> None:
        length = len(request.data)
        self.size += length + (1 if self.requests else 0)
        self.requests += 1
        self.end = end
        max_tokens = _limits.decode(request.data).params.max_tokens
        share = self.models.setdefault(request.model or "", [0, 0, 0])
        share[0] += 1
        share[1] += length
        share[2] += max_tokens if isinstance(max_tokens, int) else 0
        self._new.append(request)

    def totals(self) -> Totals:
        """Return the digests; requests are added to them in runs, which takes a fifth less time (measured)."""
        self._totals.add(self._new)
        self._new.clear()
        return self._totals

    def shares(self) -> dict[str, ModelShare]:
        return {
            model: ModelShare(requests=requests, bytes=size, max_tokens=tokens)
            for model, (requests, size, tokens) in self.models.items()
        }


def cut(
    source: Source, name: str, limits: CutLimits, *, first: int = 0, round_: int = 1, canary: int = 0
) -> tuple[list[PlannedShard], Sample]:
    """Cut a source.

    :param source: the requests.
    :param name: the object's name in the ledger.
    :param limits: how large shards may be.
    :param first: the number of the first shard.
    :param round_: the round that sends them.
    :param canary: requests of the canary; 0: there is none.
    :return: the shards, without prices, and a sample of the requests.
    :raises EmptySource: there are no requests.
    :raises PreflightError: requests have problems, or one alone exceeds the limits.
    """
    inspector = Inspector(source, model=limits.model, preflight=limits.preflight, version=limits.version)
    sample = Sample()
    filled = [*_filled(inspector, limits, canary, sample)]
    inspector.problems.refuse_or_warn(source, limits.preflight)
    if not filled:
        raise EmptySource(source.name)
    for shard in filled:
        if shard.size > limits.max_bytes:
            raise PreflightError(
                f"{source.name}: one request alone makes a body of {shard.size:,} bytes; a shard takes "
                f"{limits.max_bytes:,}"
            )
    is_canary = canary > 0 and len(filled) > 1
    shards = [_planned(shard, name, first + number, round_) for number, shard in enumerate(filled)]
    if is_canary:
        shards[0] = msgspec.structs.replace(shards[0], canary=True)
    return shards, sample


def _filled(inspector: Inspector, limits: CutLimits, canary: int, sample: Sample) -> Iterator[_OpenShard]:
    shard, most = _OpenShard(0), canary or limits.max_requests
    for requests, ends in inspector.requests():
        for request, end in zip(requests, ends, strict=True):
            sample.add(request)
            over = shard.size + len(request.data) + 1 > limits.max_bytes
            if shard.requests == min(most, limits.max_requests) or (shard.requests and over):
                shard.totals()
                yield shard
                shard, most = _OpenShard(shard.end), limits.max_requests
            shard.add(request, end)
        shard.totals()
    if shard.requests:
        yield shard


def _planned(shard: _OpenShard, name: str, number: int, round_: int) -> PlannedShard:
    totals = shard.totals()
    return PlannedShard(
        number=number, round=round_, object=name, start=shard.start, end=shard.end, requests=shard.requests,
        bytes=shard.size, ids_digest=totals.ids_digest, fingerprint=totals.fingerprint,
        models=shard.shares(),
    )  # fmt: skip


def fingerprint_of(shards: Sequence[PlannedShard]) -> str:
    """Return the fingerprint of all requests, whatever their order."""
    return _sum(shard.fingerprint for shard in shards)


def ids_digest_of(shards: Sequence[PlannedShard]) -> str:
    """Return the digest of all custom_ids."""
    return _sum(shard.ids_digest for shard in shards)


def _sum(digests: Any) -> str:
    return f"{sum(int(digest, 16) for digest in digests) % MODULUS:032x}"
