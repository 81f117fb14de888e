"""Answers of an earlier job of rows, found by the digest of their request.

    _job/reused-<job>.jsonl    the lines that a job took, under its own custom_ids, each with `answered_at`; their hash
                               is in the plan, and compared whenever they are read

| a line of the earlier job                               | is taken                                                  |
|---------------------------------------------------------|-----------------------------------------------------------|
| the last one of its request: succeeded, of the output   | yes, for the request with the same params, model included |
| type, not older than `max_age`                          |                                                           |
| was itself taken from an earlier job                    | likewise; it keeps its time                               |
| was cut by `max_tokens`, with `max_tokens_growth`       | no: the job would send it again                           |
| any other                                               | no                                                        |

Without `dedupe`, rows with equal requests want an answer each, so one request takes an answer and the others are sent.

The earlier job's lines are copied to an unnamed local file, and found there by the number of their digest. Memory: some
44 bytes for each of its requests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import msgspec
import numpy as np

from airflow_batches.jobs.errors import JobError, JobRefused
from airflow_batches.jobs.folder import JobFolder, StoredRequests
from airflow_batches.jobs.landed import require_landed, result_lines
from airflow_batches.jobs.ledger import FOLDER, SUCCEEDED, JobLedger
from airflow_batches.jobs.planning import ROWS
from airflow_batches.jobs.rounds import Judged, Repeats
from airflow_batches.jobs.store import LedgerFile
from airflow_batches.landing.lines import ResultLine
from airflow_batches.submission.shard_files import HashedSource
from airflow_batches.submission.source import Source
from airflow_batches.tables.distinct import DistinctDigests
from airflow_batches.tables.rows_object import DIGEST, REQUEST, read_rows


class TakenLine(msgspec.Struct):
    """A result line that was taken from an earlier job.

    :param answered_at: when the line landed first.
    """

    custom_id: str
    result: msgspec.Raw
    answered_at: datetime | None = None


REPEATS: Final = Repeats()
"""A job without an output type that sends no cut answers again."""
_decoder = msgspec.json.Decoder(TakenLine)
_encoder = msgspec.json.Encoder()


class EarlierAnswers:
    """The answers of an earlier job, for use in a `with`.

    :param folder: its folder.
    :param max_age: answers that landed longer ago are not taken; None: any are.
    :param now: the time.
    :param repeats: which answers the new job would send again.
    :param once: each answer is taken by one request only.
    :raises JobRefused: the folder holds no job of rows.
    :raises JobError: a landed object is not the one that landed.

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
        repeats: Repeats = REPEATS,
        once: bool = False,
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
        self._repeats = repeats
        self._once = once
        self._digests = DistinctDigests()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # `__exit__` closes it
        rows = self._ledger.plan.settings[ROWS]
        self._of_request = np.zeros(rows["distinct"] + 1, np.uint32)
        self._read_digests(rows["object"])
        self._places = np.zeros((self._digests.count + 1, 2), np.int64)
        self._times = np.zeros(self._digests.count + 1, "datetime64[s]")
        self._givers = np.zeros(self._digests.count + 1, np.uint32)
        for landed_at, lines in self._landed():
            self._add(lines, landed_at)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def take(self, new: Sequence[tuple[int, bytes]], job_id: str) -> Mapping[int, bytes]:
        """Return the lines of requests that were answered.

        :param new: numbers of requests, and their digests.
        :param job_id: the new job; the lines' custom_ids are `<job id>-<number>`.
        """
        distinct = {digest: None for _, digest in new}
        found = dict(zip(distinct, self._digests.find([*distinct]), strict=True)) if distinct else {}
        lines: dict[int, bytes] = {}
        for number, digest in new:
            index = found[digest]
            if index and self._places[index][1]:
                lines[number] = self._line(index, f"{job_id}-{number}")
                if self._once:
                    self._places[index] = 0
        return lines

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
        taken = TakenAnswers(self._folder, self._ledger.plan.settings[ROWS])
        yield from ((None, lines) for lines in _results(taken))
        for _, landed in self._ledger.landed:
            source = HashedSource(StoredRequests(self._folder.internal(landed.results)))
            yield from ((landed.landed_at, lines) for lines in _results(source))
            require_landed(source, landed)

    def _add(self, lines: list[tuple[bytes, ResultLine]], landed_at: datetime | None) -> None:
        """Keep the lines that may be taken; forget earlier ones of the same requests."""
        for (raw, line), judged in zip(lines, self._repeats.judge(lines), strict=True):
            number = int(line.custom_id.rpartition("-")[2])
            index = self._of_request[number]
            at = landed_at or _decoder.decode(raw).answered_at
            if line.result.type == SUCCEEDED and judged == Judged(None) and at and self._is_young(at):
                self._places[index] = self._file.tell(), self._file.write(raw)
                self._times[index] = np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s")
                self._givers[index] = number
            elif self._givers[index] == number:
                self._places[index] = 0

    def _is_young(self, at: datetime) -> bool:
        return self._oldest is None or at >= self._oldest


class TakenAnswers(Source):
    """The lines that a job took from an earlier one; none if it took none.

    :param folder: the job's folder.
    :param rows: the rows' settings in its plan.

    Example::

        spool.add_landed(TakenAnswers(folder, ledger.plan.settings[ROWS]), job_id)
    """

    def __init__(self, folder: JobFolder, rows: Mapping[str, Any]) -> None:
        self.name = f"{folder.name}/{FOLDER}/{rows['reused_object']}"
        self._folder = folder
        self._rows = rows

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes.

        :raises JobError: at their end, if they are not those that were stored.
        """
        if not self._rows["reused_object"]:
            return
        stored = HashedSource(StoredRequests(self._folder.internal(self._rows["reused_object"])))
        yield from stored.blocks()
        if stored.sha256 != self._rows["reused_sha256"]:
            raise JobError(
                f"{self.name} is not the object that was stored there (sha256 {stored.sha256} instead of "
                f"{self._rows['reused_sha256']}). Nothing was published. Restore the object if the store keeps "
                "versions; otherwise plan the job again in another folder"
            )


def _results(source: Source) -> Iterator[list[tuple[bytes, ResultLine]]]:
    for _, pairs in result_lines(source):
        yield [(raw, line) for raw, line in pairs if line]
