"""Read a source for the first time, to collect what must be known before it is sent.

One pass yields the description of the requests (`Sent`) and their problems.

The fingerprint does not depend on the order of the requests, because a query without ORDER BY may return the same rows
in another order. It is the sum, modulo 2**128, of the SHA-256 of each request's canonical JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Final

from airflow_batches.api.digest import IdsDigest
from airflow_batches.api.limits import MAX_BODY_BYTES, MAX_REQUESTS
from airflow_batches.submission.background import BackgroundSha256
from airflow_batches.submission.canonical import canonical
from airflow_batches.submission.envelope import body_blocks
from airflow_batches.submission.errors import EmptySource, PreflightError
from airflow_batches.submission.inspector import Inspector, Problems
from airflow_batches.submission.lines import RequestLine
from airflow_batches.submission.preflight import Preflight
from airflow_batches.submission.receipt import Sent
from airflow_batches.submission.source import Source

MAX_MODELS: Final = 20
"""Models that a receipt names. Chosen: a batch has a few, and the receipt must stay small."""


@dataclass(frozen=True)
class Scan:
    """The result of the first reading of a source.

    `plain` says that every line is sent unchanged and that the source holds nothing else, not even blank lines.
    """

    sent: Sent
    plain: bool
    problems: Problems


class Totals:
    """Count, digests and models of the requests of one body."""

    def __init__(self) -> None:
        self.requests = 0
        self.models: set[str] = set()
        self._ids = IdsDigest()
        self._contents = 0

    def add(self, requests: Sequence[RequestLine]) -> None:
        """Add requests."""
        self.requests += len(requests)
        self._ids.update([request.custom_id for request in requests])
        contents = [sha256(request.canonical or canonical(request.data)).digest() for request in requests]
        self._contents += sum([int.from_bytes(content, "big") for content in contents])
        models = {request.model for request in requests if request.model is not None} - self.models
        self.models.update(islice(models, MAX_MODELS - len(self.models)))

    @property
    def ids_digest(self) -> str:
        """The digest of the custom_ids."""
        return self._ids.hexdigest()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the whole requests."""
        return f"{self._contents % (1 << 128):032x}"


def scan(source: Source, *, model: str | None, preflight: Preflight, version: str) -> Scan:
    """Read a source once. Its problems are in the result.

    :param source: the requests.
    :param model: the default for requests that name none.
    :param preflight: "off" skips the check of params.
    :param version: the API version that the requests are checked against.
    :raises PreflightError: when the source is not JSONL, or a line is too long for any body.
    :raises SourceError: when the source cannot be read.
    """
    inspector = Inspector(source, model=model, preflight=preflight, version=version)
    totals = Totals()
    size = 0
    with BackgroundSha256() as body:
        for block in body_blocks(_counted(inspector, totals)):
            body.update(block)
            size += len(block)
    sent = Sent(
        requests=totals.requests,
        bytes=size,
        sha256=body.hexdigest(),
        ids_digest=totals.ids_digest,
        fingerprint=totals.fingerprint,
        models=tuple(sorted(totals.models)),
        source=source.name,
    )
    return Scan(sent, inspector.plain, inspector.problems)


def refuse_over_limits(sent: Sent) -> None:
    """Refuse requests that are not one batch.

    :raises EmptySource: when there are none.
    :raises PreflightError: when they are too large for one batch.
    """
    if not sent.requests:
        raise EmptySource(sent.source)
    if sent.requests > MAX_REQUESTS or sent.bytes > MAX_BODY_BYTES:
        raise PreflightError(
            f"{sent.source} holds {sent.requests:,} requests in {sent.bytes:,} bytes; a batch takes "
            f"{MAX_REQUESTS:,} requests in {MAX_BODY_BYTES:,} bytes. Cut it into shards: MessageBatchPlanOperator"
        )


def _counted(inspector: Inspector, totals: Totals) -> Iterator[list[bytes]]:
    for requests, _ in inspector.requests():
        totals.add(requests)
        yield [request.data for request in requests]
