"""Read all requests of a source, and collect their problems.

Most runs of lines are decoded at once (`plain`); only the others are checked line by line (`preflight`). Memory: one
run, the first problems, and a hash of eight bytes for each request to find duplicates. Two ids with the same hash may
differ. Only then is the source read once more, to name the duplicates.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from typing import Final

from airflow_batches.submission.errors import PreflightError, Problem
from airflow_batches.submission.lines import (
    LineRun,
    RequestLine,
    Unreadable,
    line_runs,
    numbered_ids,
    request_line,
)
from airflow_batches.submission.plain import plain_requests
from airflow_batches.submission.preflight import Preflight, judge
from airflow_batches.submission.source import Source

logger = logging.getLogger(__name__)

FIRST_PROBLEMS: Final = 20
"""Problems that are reported in full; the others are only counted. Chosen: a log shows them on one screen."""


class Problems:
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

    def refuse_or_warn(self, source: Source, preflight: Preflight) -> None:
        """Raise `PreflightError` for problems that prevent sending; log the others."""
        if self.broken or (self.count and preflight == "error"):
            raise PreflightError(f"{source.name}: {self}", problems=self.first, count=self.count)
        if self.count:
            logger.warning("%s: %s", source.name, self)

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
        self.problems = Problems()
        self.plain = True
        self._source = source
        self._model = model
        self._preflight = preflight
        self._version = version
        self._id_hashes = _IdHashes()

    def requests(self) -> Iterator[tuple[list[RequestLine], list[int]]]:
        """Yield the readable requests in runs, with the offset of each line's end.

        Then find the duplicates.
        """
        for run in line_runs(self._source.blocks()):
            requests, ends = self._read(run)
            marked = run.start and not run.before  # a byte order mark came before the first line
            self.plain = self.plain and not marked and [request.data for request in requests] == run.lines
            self._id_hashes.add([request.custom_id for request in requests])
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
            self.problems.broken = True
            self.problems.add([Problem(number, None, str(exc))])
            return None
        if self._preflight != "off":
            reasons = judge(raw, default_model=self._model, version=self._version)
            self.problems.add(Problem(number, request.custom_id, reason) for reason in reasons)
        return request

    def _find_duplicates(self) -> None:
        repeated = self._id_hashes.repeated()
        if not repeated:
            return
        hashes = [*repeated]
        self.problems.add(self._duplicates({*hashes[:FIRST_PROBLEMS]}))
        self.problems.count += sum(repeated[each] - 1 for each in hashes[FIRST_PROBLEMS:])

    def _duplicates(self, hashes: Set[int]) -> Iterator[Problem]:
        first_line: dict[str, int] = {}
        for number, custom_id in numbered_ids(self._source.blocks()):
            if hash(custom_id) not in hashes:
                continue
            if custom_id in first_line:
                yield Problem(number, custom_id, f"custom_id is that of line {first_line[custom_id]:,}")
            else:
                first_line[custom_id] = number


class _IdHashes:
    """A hash of eight bytes for each custom_id, in buckets that are checked for duplicates one by one at the end."""

    BUCKETS: Final = 64
    """Chosen: the set that finds the duplicates of one bucket stays small."""

    def __init__(self) -> None:
        self._buckets = [array("q") for _ in range(self.BUCKETS)]

    def add(self, custom_ids: Iterable[str]) -> None:
        for each in map(hash, custom_ids):
            self._buckets[each % self.BUCKETS].append(each)

    def repeated(self) -> dict[int, int]:
        """Return the hashes that occur more than once, and how often."""
        found: dict[int, int] = {}
        for bucket in self._buckets:
            if len(set(bucket)) < len(bucket):
                found.update((each, times) for each, times in Counter(bucket).items() if times > 1)
        return found
