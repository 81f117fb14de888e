"""Read a source for the first time, to collect what must be known before it is sent.

One pass yields the number of requests, the body's length and sha256, the digest of the custom_ids, the fingerprint, the
models and the problems. Memory: one block, one line, the first problems, and a hash of eight bytes for each request to
find duplicates. Two ids with the same hash may differ. Only then is the source read once more, to name the duplicates.

The fingerprint does not depend on the order of the requests, because a query without ORDER BY may return the same rows
in another order. It is the sum, modulo 2**128, of the SHA-256 of each request's canonical JSON.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final

from airflow_batches.api.digest import IdsDigest
from airflow_batches.api.limits import MAX_BODY_BYTES, MAX_REQUESTS
from airflow_batches.submission.aside import HashedAside
from airflow_batches.submission.body import body_blocks
from airflow_batches.submission.canonical import canonical
from airflow_batches.submission.errors import EmptySource, PreflightError
from airflow_batches.submission.ids import numbered_ids
from airflow_batches.submission.lines import LineRun, RequestLine, Unreadable, line_runs, request_line
from airflow_batches.submission.preflight import Preflight, Problem, judge, plain_requests
from airflow_batches.submission.receipt import Sent

if TYPE_CHECKING:
    from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

FIRST_PROBLEMS: Final = 20
"""Problems that are reported in full; the others are only counted. Chosen: a log shows them on one screen."""
MAX_MODELS: Final = 20
"""Models that a receipt names. Chosen: a batch has a few, and the receipt must stay small."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The result of the first reading of a source.

    `size` is the length of the create's body in bytes. `plain` says that every line is sent unchanged and that the
    source holds nothing else, not even blank lines.
    """

    requests: int
    size: int
    sha256: str
    ids_digest: str
    fingerprint: str
    models: tuple[str, ...]
    plain: bool
    findings: Findings

    def sent(self, source: str) -> Sent:
        """Return the description of these requests for the record.

        :param source: the source's name.
        """
        return Sent(
            requests=self.requests,
            bytes=self.size,
            sha256=self.sha256,
            ids_digest=self.ids_digest,
            fingerprint=self.fingerprint,
            models=self.models,
            source=source,
        )


class Findings:
    """Problems of a source: the first in full, the others counted.

    `broken`: a line cannot be part of any body.
    """

    def __init__(self) -> None:
        self.first: list[Problem] = []
        self.count = 0
        self.broken = False

    def add(self, problems: Iterable[Problem]) -> None:
        """Count problems, and keep the first ones."""
        for problem in problems:
            self.count += 1
            if len(self.first) < FIRST_PROBLEMS:
                self.first.append(problem)

    def __str__(self) -> str:
        more = self.count - len(self.first)
        lines = [*map(str, self.first), *([f"and {more:,} more"] if more else [])]
        return f"{self.count:,} problem{'s' if self.count > 1 else ''}:\n" + "\n".join(lines)


class Inspector:
    """Reads the requests of a batch, or of all shards of a source; collects their problems.

    `plain` says that every line so far is sent unchanged, and that there was nothing else.

    :param source: the requests.
    :param model: the default for requests that name none.
    :param preflight: "off" skips the check of params.
    :param version: the API version that the requests are checked against.
    """

    def __init__(self, source: Source, *, model: str | None, preflight: Preflight, version: str) -> None:
        self.findings = Findings()
        self.plain = True
        self._source = source
        self._model = model
        self._preflight = preflight
        self._version = version
        self._suspects = _Suspects()

    def requests(self) -> Iterator[tuple[list[RequestLine], list[int]]]:
        """Yield the readable requests in runs, with the offset of each line's end.

        Then find the duplicates.
        """
        for run in line_runs(self._source.blocks()):
            requests, ends = self._read(run)
            marked = run.start and not run.before  # a byte order mark came before the first line
            self.plain = self.plain and not marked and [request.data for request in requests] == run.lines
            self._suspects.add([request.custom_id for request in requests])
            yield requests, ends
        if self._preflight != "off":
            self._find_duplicates()

    def _read(self, run: LineRun) -> tuple[list[RequestLine], list[int]]:
        requests = plain_requests(run.data, run.lines, self._model)
        if requests is not None:
            return requests, run.ends()
        found = [(self._inspected(number, raw), end) for number, end, raw in run.numbered()]
        readable = [(request, end) for request, end in found if request is not None]
        return [request for request, _ in readable], [end for _, end in readable]

    def _inspected(self, number: int, raw: bytes) -> RequestLine | None:
        """Read one line of a run that may have problems; None if it is not a request."""
        if plain := plain_requests(raw, [raw], self._model):
            return plain[0]
        try:
            request = request_line(raw, self._model)
        except Unreadable as exc:
            self.findings.broken = True
            self.findings.add([Problem(number, None, str(exc))])
            return None
        if self._preflight != "off":
            reasons = judge(raw, default_model=self._model, version=self._version)
            self.findings.add(Problem(number, request.custom_id, reason) for reason in reasons)
        return request

    def _find_duplicates(self) -> None:
        repeated = self._suspects.repeated()
        if not repeated:
            return
        marks = [*repeated]
        self.findings.add(self._duplicates({*marks[:FIRST_PROBLEMS]}))
        self.findings.count += sum(repeated[mark] - 1 for mark in marks[FIRST_PROBLEMS:])

    def _duplicates(self, marks: Set[int]) -> Iterator[Problem]:
        first_line: dict[str, int] = {}
        for number, custom_id in numbered_ids(self._source):
            if hash(custom_id) not in marks:
                continue
            if custom_id in first_line:
                yield Problem(number, custom_id, f"custom_id is that of line {first_line[custom_id]:,}")
            else:
                first_line[custom_id] = number


class Tally:
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


class _Suspects:
    """A hash of eight bytes for each custom_id, in buckets that are checked for duplicates one by one at the end."""

    HEAPS: Final = 64
    """Buckets. Chosen: the set that finds the duplicates of one bucket stays small."""

    def __init__(self) -> None:
        self._heaps = [array("q") for _ in range(self.HEAPS)]

    def add(self, custom_ids: Iterable[str]) -> None:
        for mark in map(hash, custom_ids):
            self._heaps[mark % self.HEAPS].append(mark)

    def repeated(self) -> dict[int, int]:
        """Return the hashes that occur more than once, and how often."""
        found: dict[int, int] = {}
        for heap in self._heaps:
            if len(set(heap)) < len(heap):
                found.update((mark, times) for mark, times in Counter(heap).items() if times > 1)
        return found


def scan(source: Source, *, model: str | None, preflight: Preflight, version: str) -> Scan:
    """Read a source once. Its problems are in the result's `findings`.

    :param source: the requests.
    :param model: the default for requests that name none.
    :param preflight: "off" skips the check of params.
    :param version: the API version that the requests are checked against.
    :raises PreflightError: when the source is not JSONL, or a line is too long for any body.
    :raises SourceError: when the source cannot be read.
    """
    inspector = Inspector(source, model=model, preflight=preflight, version=version)
    tally = Tally()
    size = 0
    with HashedAside() as body:
        for block in body_blocks(_tallied(inspector, tally)):
            body.update(block)
            size += len(block)
    return Scan(
        requests=tally.requests,
        size=size,
        sha256=body.hexdigest(),
        ids_digest=tally.ids_digest,
        fingerprint=tally.fingerprint,
        models=tuple(sorted(tally.models)),
        plain=inspector.plain,
        findings=inspector.findings,
    )


def warn_or_refuse(source: Source, findings: Findings, preflight: Preflight) -> None:
    """Raise `PreflightError` for problems that prevent sending; log the others."""
    if findings.broken or (findings.count and preflight == "error"):
        raise PreflightError(f"{source.name}: {findings}", problems=findings.first, count=findings.count)
    if findings.count:
        logger.warning("%s: %s", source.name, findings)


def refuse_over_limits(source: Source, weighed: Scan) -> None:
    """Refuse a source that is not one batch.

    :raises EmptySource: when it holds no requests.
    :raises PreflightError: when it is too large for one batch.
    """
    if not weighed.requests:
        raise EmptySource(source.name)
    if weighed.requests > MAX_REQUESTS or weighed.size > MAX_BODY_BYTES:
        raise PreflightError(
            f"{source.name} holds {weighed.requests:,} requests in {weighed.size:,} bytes; a batch takes "
            f"{MAX_REQUESTS:,} requests in {MAX_BODY_BYTES:,} bytes. Cut it into shards: MessageBatchPlanOperator"
        )


def _tallied(inspector: Inspector, tally: Tally) -> Iterator[list[bytes]]:
    for requests, _ in inspector.requests():
        tally.add(requests)
        yield [request.data for request in requests]
