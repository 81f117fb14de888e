"""A job of rows: they become requests, and the answers become their columns (needs `pyarrow`, extra `parquet`).

    _job/rows-<job>.parquet    the columns to publish of each row, and its request (`tables.rows_object`)
    _job/reused-<job>.jsonl    answers of an earlier job (`reuse`)
    part-00000.parquet …       each row with its answer, in the order of the rows (`tables.parts`)

The rows are read once, when the job is planned; from then on they may change or vanish. A later run compares them all
the same, unless it is given none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any

from airflow_batches._row_options import RowOptions
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.jobs.errors import JobError
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.planning import ROWS, JobRequests
from airflow_batches.jobs.publish import Lines, PublishedParts
from airflow_batches.jobs.reuse import EarlierAnswers, TakenAnswers
from airflow_batches.jobs.rounds import OutputCheck, Repeats
from airflow_batches.landing.answer_lines import AnswerMessage, decode_answers
from airflow_batches.landing.blocks import joined
from airflow_batches.landing.formats import Uncompressed
from airflow_batches.landing.output import Output
from airflow_batches.submission.source import Source
from airflow_batches.submission.stores import OpenStore, fsspec_store
from airflow_batches.tables.answer_columns import answer_fields
from airflow_batches.tables.answers import BLOCK_BYTES, AnswerSpool
from airflow_batches.tables.output_type import OutputType
from airflow_batches.tables.parts import write_parts
from airflow_batches.tables.requests import Answered, RowRequests
from airflow_batches.tables.rows import RowSource
from airflow_batches.tables.rows_object import RowsWriter, kept_schema, read_rows


class AskedRows:
    """Rows that a job answers; see `JobRows`.

    :param rows: what `RowSource.of` accepts.
    :param options: how they become requests.
    :param model: the model of requests that name none.
    :param defaults: params for every request.
    :param open_store: finds the store of a URI.
    :param open_folder: makes the folder of the earlier job that `reuse` names.
    :param resend_truncated: answers that `max_tokens` stopped are sent again, so none is taken of the earlier job.
    :param now: the time, for `max_age`.
    :raises InvalidRequest: the options do not fit each other.

    Example::

        rows = AskedRows("s3://lake/reviews/", RowOptions(prompt="Classify: ${text}", key="id"), now=now)
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
        open_folder: Callable[[str], JobFolder] = JobFolder,
        resend_truncated: bool = False,
        now: datetime,
    ) -> None:
        if options.prompt is None:
            raise InvalidRequest("rows need a prompt: a text with ${column} places, or a function of the row")
        self.output = None if options.output_type is None else OutputType.of(options.output_type)
        self._make_requests: Callable[[], RowRequests] = lambda: RowRequests(
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
        self._options = options
        self._open_folder = open_folder
        self._resend_truncated = resend_truncated
        self._now = now
        self._job_id = ""
        self._reused_sha256 = ""

    @cached_property
    def _requests(self) -> RowRequests:
        """The rows, which are opened only once it is known whether the folder holds a job."""
        return self._make_requests()

    def source(self, job_id: str, folder: JobFolder | None) -> Source:
        """Return the requests. Reading them also stores the rows in the folder, if one is given.

        :raises InvalidRequest: a column to publish has the name of one of the answer's, or the options do not fit the
            rows.
        :raises EmptySource: there are no rows.
        """
        answer_fields(self.output, self._requests.kept)
        self._job_id = job_id
        return _RowsAsRequests(self._requests.name, lambda: self._blocks(job_id, folder))

    def settings(self) -> Mapping[str, Any]:
        """Return what the plan keeps of the rows that were read."""
        found = self._requests
        return {
            "object": f"rows-{self._job_id}.parquet", "rows": found.rows, "distinct": found.distinct,
            "shared": found.shared, "skipped": found.skipped, "reused": found.reused,
            "reused_object": f"reused-{self._job_id}.jsonl" if found.reused else "",
            "reused_sha256": self._reused_sha256 if found.reused else "",
            "fingerprint": found.fingerprint, "output": None if self.output is None else dict(self.output.answer),
        }  # fmt: skip

    def _blocks(self, job_id: str, folder: JobFolder | None) -> Iterator[bytes]:
        if folder is None:
            yield from self._requests.requests(job_id)
            return
        with RowsWriter(folder.internal(f"rows-{job_id}.parquet")) as rows, ExitStack() as stack:
            answered = stack.enter_context(self._answered(job_id, folder)) if self._options.reuse else None
            yield from self._requests.requests(job_id, rows.write, answered)

    @contextmanager
    def _answered(self, job_id: str, folder: JobFolder) -> Iterator[Answered]:
        """Take answers of the earlier job into the folder; they are visible once the block ends without an error."""
        earlier = self._open_folder(self._options.reuse or "")
        output = Output(folder.internal(f"reused-{job_id}.jsonl"), "jsonl", Uncompressed())
        try:
            with EarlierAnswers(
                earlier, max_age=self._options.max_age, now=self._now, once=not self._options.dedupe,
                repeats=Repeats(truncated=self._resend_truncated, check=output_check(self.output)),
            ) as answers:  # fmt: skip

                def answered(new: Sequence[tuple[int, bytes]]) -> Collection[int]:
                    lines = answers.take(new, job_id)
                    output.write(b"".join(lines.values()), len(lines))
                    return lines.keys()

                yield answered
            self._reused_sha256 = output.finish().sha256
            output.commit()
        finally:
            output.discard()


class _RowsAsRequests(Source):
    def __init__(self, name: str, blocks: Callable[[], Iterator[bytes]]) -> None:
        self.name = name
        self._blocks = blocks

    def blocks(self) -> Iterator[bytes]:
        """Yield the requests as JSONL."""
        return self._blocks()


def output_of(ledger: JobLedger, asked: JobRequests) -> OutputType | None:
    """Return the output type of a job; None: its answers are texts.

    It is the one given to this run if its schema was sent, so that its own validators apply; otherwise the plan's.
    """
    schema = ledger.plan.settings[ROWS]["output"]
    if schema is None:
        return None
    planned = OutputType.of(schema)
    if asked.output_type is None:
        return planned
    given = OutputType.of(asked.output_type)
    return given if given.schema == planned.schema else planned


def output_check(output: OutputType | None) -> OutputCheck | None:
    """Return a check of result lines against an output type."""
    if output is None:
        return None

    def check(lines: Sequence[bytes]) -> list[str | None]:
        messages = [line.result.message or AnswerMessage() for line in decode_answers(lines)]
        return output.check([each.text for each in messages], [each.stop_reason for each in messages])

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
        self._rows: Mapping[str, Any] = ledger.plan.settings[ROWS]
        self._spool = AnswerSpool(self._rows["distinct"], output)
        self._held: list[bytes] = []
        self._held_bytes = 0

    def add(self, data: bytes, lines: Lines, total: int) -> None:
        """Take final lines."""
        self._held.append(joined([raw for raw, _ in lines]))
        self._held_bytes += len(self._held[-1])
        if self._held_bytes >= BLOCK_BYTES:
            self._add_held()

    def end_batch(self) -> None:
        """Do nothing: the lines of all batches are published together."""

    def finish(self) -> PublishedParts:
        """Join the rows with the answers, and publish them.

        :raises JobError: the stored rows, or the answers of an earlier job, are not those that were planned.
        """
        self._add_held()
        self._spool.add_landed(TakenAnswers(self._folder, self._rows), self._plan.job_id)
        location = self._folder.internal(self._rows["object"])
        written = write_parts(
            read_rows(location), self._spool, self._folder.at, kept=kept_schema(location), job_id=self._plan.job_id,
            format_name=self._plan.settings["format"],
        )  # fmt: skip
        if written.rows != self._rows["rows"]:
            raise JobError(f"{location.uri} holds {written.rows:,} rows instead of {self._rows['rows']:,}")
        numbers = {"rows": written.rows, **written.counts}
        numbers |= {name: self._rows[name] for name in ("shared", "reused") if self._rows[name]}
        return PublishedParts([*written.parts], written.failed, self._spool.invalid, numbers)

    def _add_held(self) -> None:
        if self._held_bytes:
            self._spool.add_block(b"".join(self._held), self._plan.job_id)
        self._held, self._held_bytes = [], 0

    def discard(self) -> None:
        """Free the disk space."""
        self._spool.close()
