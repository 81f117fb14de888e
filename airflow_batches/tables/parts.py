"""Write rows with their answers: parts, and the rows that failed.

    part-00000.parquet …     one row for each row, in their order: kept columns, then the answer's (`answer_columns`)
    failed.jsonl             each row whose request failed: kept columns, `_status`, `_error`, `_custom_id`

Rules:
- A row without a request (`skipped`) has no answer and did not fail.
- Each object is published whole. The same rows and answers give the same bytes, so that an interrupted publication
  is simply made again. The job's manifest comes last; it is not written here.
- Memory: two row groups (one is encoded and written while the next one is filled).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from airflow_batches._thread import WorkerThread
from airflow_batches.landing.formats import Uncompressed
from airflow_batches.landing.location import Location
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.output import Output
from airflow_batches.tables.answer import with_answer_names
from airflow_batches.tables.answer_columns import (
    CUSTOM_ID,
    ERROR,
    OUTCOME,
    SKIPPED,
    STATUS,
    SUCCEEDED,
)
from airflow_batches.tables.answers import AnswerSpool
from airflow_batches.tables.part_formats import json_lines, part_encoder, require_format
from airflow_batches.tables.rows_object import REQUEST

OpenPlace = Callable[[str], Location]
PART: Final = "part-"
FAILED: Final = "failed.jsonl"


@dataclass(frozen=True)
class PartLimits:
    """Bounds of parts, row groups, and of what is joined at once.

    A part ends with the row group that reaches `bytes`, or before the one that would exceed `rows`.
    """

    rows: int = 2**20
    """Chosen: a million rows of the usual size are one file."""
    bytes: int = 256 * 2**20
    """Of the encoded part. Chosen: within the 100 MB to 1 GB that query engines recommend for a file."""
    group_rows: int = 2**17
    """Chosen: near DuckDB's default of 122,880, which it reads in parallel."""
    group_bytes: int = 16 * 2**20
    """In memory, not encoded. Chosen: two of them, and what encoding needs, stay well within 256 MB."""
    take_rows: int = 2**14
    """Rows that are joined at once. Chosen: a few MB of short answers."""
    take_bytes: int = 8 * 2**20
    """Of the texts of their answers. Chosen: half a row group."""


@dataclass(frozen=True)
class WrittenParts:
    """What was written.

    :param rows: how many rows.
    :param counts: rows by `_status`.
    :param parts: the parts, in order.
    :param failed: the rows that failed.
    """

    rows: int
    counts: Counter[str]
    parts: tuple[LandedObject, ...]
    failed: LandedObject


def write_parts(
    rows: Iterable[pa.RecordBatch],
    spool: AnswerSpool,
    place: OpenPlace,
    *,
    kept: pa.Schema,
    job_id: str,
    format_name: str = "parquet",
    limits: PartLimits = PartLimits(),  # frozen
) -> WrittenParts:
    """Write all rows with their answers.

    :param rows: the kept columns, and `_request` with the number of each row's request.
    :param spool: the answers.
    :param place: makes the place of an object of the folder from its name.
    :param kept: the kept columns; `answer_fields` has checked their names.
    :param job_id: the requests' custom_ids are `<job id>-<number>`.
    :param format_name: of the parts, one of `PART_FORMATS`.
    :param limits: bounds of files and memory.
    :raises AnswersMissing: an answer is missing.
    :raises LandingError: the store failed.
    """
    answers = [name for name in spool.schema.names if name not in OUTCOME.names]
    schema = with_answer_names(pa.schema([*kept, *spool.schema]), answers)
    require_format(format_name)
    counts: Counter[str] = Counter()
    with (
        FailedRows(place(FAILED), kept.names, job_id) as failed,
        PartWriter(place, format_name, schema, limits) as parts,
    ):
        for numbers, joined in _joined(rows, spool, schema, limits):
            counts.update(_counts(joined))
            parts.add(joined)
            failed.add(joined, numbers)
        return WrittenParts(counts.total(), counts, parts.finish(), failed.finish())


def _joined(
    rows: Iterable[pa.RecordBatch], spool: AnswerSpool, schema: pa.Schema, limits: PartLimits
) -> Iterator[tuple[pa.Int64Array, pa.RecordBatch]]:
    """Yield rows with their answers, and the numbers of their requests."""
    kept = schema.names[: len(schema) - len(spool.schema)]
    most = min(limits.take_rows, limits.group_rows, limits.rows)
    for batch in rows:
        for step in spool.steps(batch[REQUEST], most, limits.take_bytes):
            some = batch.slice(step.start, step.stop - step.start)
            answers = spool.take(some[REQUEST])
            columns = [*(some[name] for name in kept), *answers.columns]
            yield some[REQUEST], pa.RecordBatch.from_arrays(columns, schema=schema)


def _counts(rows: pa.RecordBatch) -> dict[str, int]:
    return {pair["values"]: pair["counts"] for pair in pc.value_counts(rows[STATUS]).to_pylist()}


class OpenPart:
    """A part being written."""

    def __init__(self, place: Location, format_name: str, schema: pa.Schema) -> None:
        self.output = Output(place, format_name, Uncompressed())
        self.rows = 0
        self.bytes = 0
        self._encoder = part_encoder(format_name, schema, self._write)

    def add(self, group: pa.Table) -> None:
        """Write a row group."""
        self._encoder.encode(group)
        self.output.write(b"", group.num_rows)
        self.rows += group.num_rows

    def publish(self) -> LandedObject:
        """Write the end and publish the object."""
        self._encoder.finish()
        landed = self.output.finish()
        self.output.commit()
        return landed

    def _write(self, data: bytes) -> None:
        self.bytes += len(data)
        self.output.write(data, 0)


@dataclass
class PartWriter:
    """Collects row groups, and writes them in a thread while the next one is filled."""

    place: OpenPlace
    format_name: str
    schema: pa.Schema
    limits: PartLimits
    landed: list[LandedObject] = field(default_factory=list)
    _group: list[pa.RecordBatch] = field(default_factory=list)
    _rows: int = 0
    _bytes: int = 0
    _part: OpenPart | None = None
    _writing: Future[None] | None = None

    def __enter__(self) -> Self:
        self._thread = WorkerThread("parts")
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._thread.__exit__(kind, exc, tb)
        if self._part is not None:
            self._part.output.discard()

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows to the row group."""
        full = self._rows + rows.num_rows > self.limits.group_rows or self._bytes >= self.limits.group_bytes
        if self._group and full:
            self._queue_group()
        self._group.append(rows)
        self._rows += rows.num_rows
        self._bytes += rows.nbytes

    def finish(self) -> tuple[LandedObject, ...]:
        """Write and publish what is left; rows that are none make one empty part."""
        if self._group or not self.landed:
            self._queue_group()
        self._wait()
        self._publish()
        return tuple(self.landed)

    def _queue_group(self) -> None:
        self._wait()
        group = pa.Table.from_batches(self._group, self.schema)
        self._group, self._rows, self._bytes = [], 0, 0
        self._writing = self._thread.submit(self._write, group)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()

    def _write(self, group: pa.Table) -> None:
        if self._part and self._part.rows + group.num_rows > self.limits.rows:
            self._publish()
        self._part = self._part or self._begin()
        self._part.add(group)
        if self._part.bytes >= self.limits.bytes:
            self._publish()

    def _begin(self) -> OpenPart:
        name = f"{PART}{len(self.landed):05d}.{self.format_name}"
        return OpenPart(self.place(name), self.format_name, self.schema)

    def _publish(self) -> None:
        if self._part is not None:
            self.landed.append(self._part.publish())
            self._part = None


class FailedRows:
    """The object with the rows whose requests failed."""

    def __init__(self, place: Location, kept: list[str], job_id: str) -> None:
        self._names = [*kept, STATUS, ERROR]
        self._job_id = job_id
        self._output = Output(place, "jsonl", Uncompressed())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._output.discard()

    def add(self, rows: pa.RecordBatch, numbers: pa.Int64Array) -> None:
        """Add those of these rows that failed."""
        failed = pc.invert(pc.is_in(rows[STATUS], pa.array([SUCCEEDED, SKIPPED])))
        count = pc.sum(failed).as_py()
        if count:
            ids = pa.array([f"{self._job_id}-{number}" for number in numbers.filter(failed).to_pylist()])
            table = pa.Table.from_batches([rows.select(self._names).filter(failed)]).append_column(CUSTOM_ID, ids)
            self._output.write(json_lines(table), count)

    def finish(self) -> LandedObject:
        """Publish the object."""
        landed = self._output.finish()
        self._output.commit()
        return landed
