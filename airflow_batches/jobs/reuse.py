"""Answers of an earlier job of rows, found by the digest of their request.

    _job/reused-<job>.jsonl    the lines that a job took, under its own custom_ids, each with `answered_at`

| a line of the earlier job                               | is taken                                                  |
|---------------------------------------------------------|-----------------------------------------------------------|
| succeeded, of the output type, not older than `max_age` | yes, for the request with the same params, model included |
| was itself taken from an earlier job                    | likewise; it keeps its time                               |
| any other                                               | no                                                        |

The earlier job's lines are copied to an unnamed local file, and found there by the number of their digest. Memory: some
40 bytes for each of its requests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec
import numpy as np

from airflow_batches.jobs.errors import JobRefused
from airflow_batches.jobs.folder import JobFolder, StoredRequests
from airflow_batches.jobs.landed import result_lines
from airflow_batches.jobs.ledger import SUCCEEDED, JobLedger
from airflow_batches.jobs.planning import ROWS
from airflow_batches.jobs.rounds import OutputCheck
from airflow_batches.jobs.store import LedgerFile
from airflow_batches.landing.lines import ResultLine
from airflow_batches.tables.distinct import DistinctDigests
from airflow_batches.tables.rows_object import DIGEST, REQUEST, read_rows


class TakenLine(msgspec.Struct):
    """A result line that was taken from an earlier job.

    :param answered_at: when the line landed first.
    """

    custom_id: str
    result: msgspec.Raw
    answered_at: datetime | None = None


_decoder = msgspec.json.Decoder(TakenLine)
_encoder = msgspec.json.Encoder()


class EarlierAnswers:
    """The answers of an earlier job, for use in a `with`.

    :param folder: its folder.
    :param max_age: answers that landed longer ago are not taken; None: any are.
    :param now: the time.
    :param check: checks answers against the output type; None: there is none.
    :raises JobRefused: the folder holds no job of rows.

    Example::

        with EarlierAnswers(JobFolder("s3://lake/verdicts/yesterday"), now=now) as answers:
            line = answers.take([(1, digest)], job_id).get(1)
    """

    def __init__(
        self,
        folder: JobFolder,
        *,
        max_age: timedelta | None = None,
        now: datetime,
        check: OutputCheck | None = None,
    ) -> None:
        saved = LedgerFile(folder.ledger).load()
        if saved is None or ROWS not in saved.ledger.plan.settings:
            held = "no job" if saved is None else "a job without rows"
            raise JobRefused(
                f"reuse names {folder.name}, which holds {held}. Nothing was sent. Give the folder of an earlier job "
                "of rows, or leave reuse empty"
            )
        self._folder = folder
        self._ledger: JobLedger = saved.ledger
        self._oldest = None if max_age is None else now - max_age
        self._check = check
        self._digests = DistinctDigests()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # `__exit__` closes it
        rows = self._ledger.plan.settings[ROWS]
        self._of_request = np.zeros(rows["distinct"] + 1, np.uint32)
        self._read_digests(rows["object"])
        self._places = np.zeros((self._digests.count + 1, 2), np.int64)
        self._times = np.zeros(self._digests.count + 1, "datetime64[s]")
        for landed_at, lines in self._landed():
            self._add(lines, landed_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def take(self, new: Sequence[tuple[int, bytes]], job_id: str) -> Mapping[int, bytes]:
        """Return the lines of requests that were answered.

        :param new: numbers of requests, and their digests, none of them twice.
        :param job_id: the new job; the lines' custom_ids are `<job id>-<number>`.
        """
        distinct = {digest: None for _, digest in new}
        found = dict(zip(distinct, self._digests.find([*distinct]), strict=True)) if distinct else {}
        return {
            number: self._line(found[digest], f"{job_id}-{number}") for number, digest in new
            if self._places[found[digest]][1]
        }  # fmt: skip

    def _line(self, index: int, custom_id: str) -> bytes:
        start, size = self._places[index].tolist()
        self._file.seek(start)
        line = _decoder.decode(self._file.read(size))
        line.custom_id = custom_id
        line.answered_at = self._times[index].item().replace(tzinfo=UTC)
        return _encoder.encode(line) + b"\n"

    def _read_digests(self, name: str) -> None:
        for batch in read_rows(self._folder.internal(name), [REQUEST, DIGEST]):
            asked = batch.filter(batch[REQUEST].is_valid())
            numbers = asked[REQUEST].to_numpy()
            self._of_request[numbers] = self._digests.number(asked[DIGEST].to_pylist())

    def _landed(self) -> Iterator[tuple[datetime | None, list[tuple[bytes, ResultLine]]]]:
        """Yield runs of lines and when they landed, later rounds last; None: each line says so itself."""
        reused = self._ledger.plan.settings[ROWS]["reused_object"]
        places: list[tuple[datetime | None, str]] = [(None, reused)] if reused else []
        places += [(landed.landed_at, landed.results) for _, landed in self._ledger.landed]
        for landed_at, name in places:
            for _, pairs in result_lines(StoredRequests(self._folder.internal(name))):
                yield landed_at, [(raw, line) for raw, line in pairs if line and line.result.type == SUCCEEDED]

    def _add(self, lines: list[tuple[bytes, ResultLine]], landed_at: datetime | None) -> None:
        """Keep the lines that may be taken."""
        reasons: Sequence[Any] = self._check([raw for raw, _ in lines]) if self._check else [None] * len(lines)
        for (raw, line), reason in zip(lines, reasons, strict=True):
            at = landed_at or _decoder.decode(raw).answered_at
            if reason is None and at is not None and (self._oldest is None or at >= self._oldest):
                index = self._of_request[int(line.custom_id.rpartition("-")[2])]
                self._places[index] = self._file.tell(), self._file.write(raw)
                self._times[index] = np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s")
