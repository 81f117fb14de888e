"""A job of rows: they become requests, and the answers become their columns (needs `pyarrow`, extra `parquet`).

    _job/rows-<job>.parquet    the columns to publish of each row, and the number of its request (`tables.rows_object`)
    part-00000.parquet …       each row with its answer, in the order of the rows (`tables.parts`)

The rows are read once, when the job is planned; from then on they may change or vanish. A later run compares them all
the same, unless it is given none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.jobs.errors import JobError
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.planning import ROWS, JobRequests
from airflow_batches.jobs.publish import Lines, PublishedParts
from airflow_batches.jobs.rounds import OutputCheck
from airflow_batches.jobs.row_options import RowOptions
from airflow_batches.landing.columns import result_columns
from airflow_batches.landing.location import Location
from airflow_batches.submission.source import Source
from airflow_batches.submission.stores import OpenStore, fsspec_store
from airflow_batches.tables.answer_columns import answer_fields
from airflow_batches.tables.answers import AnswerSpool
from airflow_batches.tables.output_type import OutputType
from airflow_batches.tables.parts import write_parts
from airflow_batches.tables.requests import RowRequests
from airflow_batches.tables.rows import RowSource
from airflow_batches.tables.rows_object import REQUEST, RowsWriter, read_rows, rows_schema


class AskedRows:
    """Rows that a job answers; see `JobRows`.

    :param rows: what `RowSource.of` accepts.
    :param options: how they become requests.
    :param model: the model of requests that name none.
    :param defaults: params for every request.
    :param open_store: finds the store of a URI.
    :raises InvalidRequest: the options do not fit each other or the rows.

    Example::

        rows = AskedRows("s3://lake/reviews/", RowOptions(prompt="Classify: ${text}", key="id"), model=MODEL)
        asked = JobRequests(rows=rows, cut=cut)
    """

    def __init__(
        self,
        rows: Any,
        options: RowOptions,
        *,
        model: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        open_store: OpenStore = fsspec_store,
    ) -> None:
        if options.prompt is None:
            raise InvalidRequest("rows need a prompt: a text with ${column} places, or a function of the row")
        self.output = None if options.output_type is None else OutputType.of(options.output_type)
        self._requests = RowRequests(
            RowSource.of(rows, columns=options.columns, open_store=open_store),
            options.prompt,
            key=options.keys,
            keep=options.keep,
            model=model,
            defaults=defaults,
            output_format=self.output.format() if self.output else None,
            dedupe=options.dedupe,
            on_empty_prompt=options.on_empty_prompt,
        )
        self._object = ""

    def source(self, job_id: str, folder: JobFolder | None) -> Source:
        """Return the requests. Reading them also stores the rows in the folder, if one is given.

        :raises InvalidRequest: a column to publish has the name of one of the answer's.
        """
        answer_fields(self.output, self._requests.kept)
        self._object = f"rows-{job_id}.parquet"
        return _RowsAsRequests(self._requests, job_id, folder.internal(self._object) if folder else None)

    def settings(self) -> Mapping[str, Any]:
        """Return what the plan keeps of the rows that were read."""
        found = self._requests
        return {
            "object": self._object, "rows": found.rows, "shared": found.shared, "skipped": found.skipped,
            "fingerprint": found.fingerprint, "output": None if self.output is None else dict(self.output.schema),
        }  # fmt: skip


class _RowsAsRequests(Source):
    def __init__(self, requests: RowRequests, job_id: str, location: Location | None) -> None:
        self.name = requests.name
        self._requests = requests
        self._job_id = job_id
        self._location = location

    def blocks(self) -> Iterator[bytes]:
        """Yield the requests as JSONL."""
        with ExitStack() as stack:
            writer = stack.enter_context(RowsWriter(self._location)) if self._location else None
            yield from self._requests.requests(self._job_id, writer and writer.write)


def output_of(ledger: JobLedger, asked: JobRequests) -> OutputType | None:
    """Return the output type of a job: the one given to this run, or the schema of the plan; None: texts."""
    schema = ledger.plan.settings[ROWS]["output"]
    return None if schema is None else OutputType.of(asked.output_type or schema)


def output_check(output: OutputType | None) -> OutputCheck | None:
    """Return a check of result lines against an output type."""
    if output is None:
        return None

    def check(lines: Sequence[bytes]) -> list[str | None]:
        if not lines:
            return []
        results = result_columns(lines)
        return output.check(results["text"].to_pylist(), results["stop_reason"].to_pylist())

    return check


class RowParts:
    """Writes the rows with their answers; see `Parts`.

    :param folder: the job's folder.
    :param ledger: its ledger.
    :param output: the type of the answers; None: they are texts.
    """

    def __init__(self, folder: JobFolder, ledger: JobLedger, output: OutputType | None) -> None:
        self._folder = folder
        self._plan = ledger.plan
        self._spool = AnswerSpool(ledger.plan.requests, output)

    def add(self, data: bytes, lines: Lines, total: int) -> None:
        """Take final lines."""
        if lines:
            start = len(self._plan.job_id) + 1
            self._spool.add([int(line.custom_id[start:]) for _, line in lines], [raw for raw, _ in lines])

    def end_batch(self) -> None:
        """Do nothing: the lines of all batches are published together."""

    def finish(self) -> PublishedParts:
        """Join the rows with the answers, and publish them.

        :raises JobError: the stored rows are not those that were planned.
        """
        planned = self._plan.settings[ROWS]
        location = self._folder.internal(planned["object"])
        kept = rows_schema(location)
        written = write_parts(
            read_rows(location), self._spool, self._folder.at, kept=kept.remove(kept.get_field_index(REQUEST)),
            job_id=self._plan.job_id, format_name=self._plan.settings["format"],
        )  # fmt: skip
        if written.rows != planned["rows"]:
            raise JobError(f"{location.uri} holds {written.rows:,} rows instead of {planned['rows']:,}")
        numbers = {"rows": written.rows, **written.counts, "shared": planned["shared"]}
        return PublishedParts([*written.parts], written.failed, self._spool.invalid, numbers)

    def discard(self) -> None:
        """Free the disk space."""
        self._spool.close()
