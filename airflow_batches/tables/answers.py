"""Keep answers on local disk by the number of their request, and take them in the order of the rows.

Rules:
- Answers are written in the order in which they arrive, in blocks; nothing is sorted. An index holds the position of
  each request's answer. A later answer of a request replaces an earlier one.
- Position 0 is the answer of a row without a request.
- The file has no name: the system deletes it when the process ends, even after a kill.
- A thread decodes a block of lines while the next one is read.
- Memory: 12 bytes for each request, two blocks, and a bounded part of the file's pages (`block_file`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from airflow_batches._thread import WorkerThread
from airflow_batches.landing.blocks import whole_lines
from airflow_batches.landing.columns import result_columns
from airflow_batches.landing.quick_columns import block_columns
from airflow_batches.tables.answer_columns import INVALID_OUTPUT, STATUS, answer_columns, answer_schema, skipped_row
from airflow_batches.tables.block_file import BlockFile, one_batch
from airflow_batches.tables.errors import AnswersMissing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_batches.submission.source import Source
    from airflow_batches.tables.output_type import OutputType

BLOCK_ROWS: Final = 4096
"""Answers of one block, at least. Chosen: about 1 MB of short answers, so that a take reads few blocks."""
BLOCK_BYTES: Final = 2 * 2**20
"""Bytes of result lines that are decoded at once. Chosen: Arrow's reader parses 1 MiB on each of two cores. Measured:
blocks of 4 MiB are as fast, and need 15 MB more."""
MISSING: Final = -1


class AnswerSpool:
    """Answers of a job's requests, for use in a `with`.

    `invalid` counts the answers so far that are not of their type.

    :param requests: how many there are; they have the numbers 1, 2, …
    :param output: the type of the answers; None: text.
    :param directory: the folder for the unnamed file; None: the one for temporary files.

    Example::

        with AnswerSpool(ledger.plan.requests, output) as spool:
            for _, landed in ledger.landed:
                spool.add_landed(StoredRequests(folder.internal(landed.results)), job_id)
            answers = spool.take(rows["_request"])
    """

    def __init__(self, requests: int, output: OutputType | None = None, directory: Path | None = None) -> None:
        self.schema: pa.Schema = answer_schema(output)
        self._requests = requests
        self._output = output
        self._index: NDArray[np.int64] = np.full(requests + 1, MISSING, np.int64)
        self._bytes: NDArray[np.int32] = np.zeros(requests + 1, np.int32)
        self._file = BlockFile(directory)
        self._file.append(skipped_row(output))
        self._index[0] = 0
        self._pending: list[pa.RecordBatch] = []
        self._rows = 1
        self._thread = WorkerThread("answers")
        self._decoding: Future[tuple[pa.RecordBatch, NDArray[np.int64]]] | None = None
        self.invalid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the disk space, and end the thread."""
        self._thread.finish()
        self._file.close()

    def add(self, numbers: Sequence[int], lines: Sequence[bytes]) -> None:
        """Add answers; they replace earlier ones of the same requests.

        :param numbers: the requests' numbers.
        :param lines: their result lines, in the same order.
        :raises DecodeError: a line is not a result.
        """
        self._end_decoding()
        self._append(result_columns(lines), np.asarray(numbers, np.int64))

    def add_landed(self, landed: Source, job_id: str) -> None:
        """Add the answers of a landed object.

        :param landed: its result lines.
        :param job_id: the custom_ids are `<job id>-<number>`.
        :raises DecodeError: a line is not a result.
        :raises AnswersMissing: a line is of another job.
        """
        for block in whole_lines(landed.blocks(), BLOCK_BYTES, max_delay_s=inf):
            self.add_block(block, job_id)
        self._end_decoding()

    def add_block(self, lines: bytes, job_id: str) -> None:
        """Add the answers of whole lines, some `BLOCK_BYTES` of them.

        They are decoded while the next ones are read, so a later call raises the errors of `add_landed`.
        """
        self._end_decoding()
        self._decoding = self._thread.submit(_decoded, lines, job_id)

    def take(self, numbers: pa.Int64Array) -> pa.RecordBatch:
        """Return the answer of each number, in the same order.

        :param numbers: the requests' numbers, in any order and as often as they are needed; null: no request.
        :raises AnswersMissing: a request has no answer.
        """
        self._end_decoding()
        self._flush()
        positions = self._index[_indices(numbers)]
        if (positions == MISSING).any():
            missing = numbers[int(np.argmax(positions == MISSING))]
            raise AnswersMissing(f"no result line of request {missing} has landed. Nothing more was published")
        return self._file.take(positions)

    def steps(self, numbers: pa.Int64Array, max_rows: int, max_bytes: int) -> Iterator[slice]:
        """Cut numbers into ranges whose answers fit in memory.

        :param max_rows: most numbers of a range.
        :param max_bytes: most bytes of the texts of a range's answers, unless a single one has more.
        """
        self._end_decoding()
        ends = np.cumsum(self._bytes[_indices(numbers)], dtype=np.int64)
        start = 0
        while start < len(ends):
            before = int(ends[start - 1]) if start else 0
            end = int(np.searchsorted(ends, before + max_bytes, side="right"))
            end = max(start + 1, min(end, start + max_rows))
            yield slice(start, end)
            start = end

    def _end_decoding(self) -> None:
        """Append the answers that are being decoded."""
        decoding, self._decoding = self._decoding, None
        if decoding is not None:
            self._append(*decoding.result())

    def _append(self, results: pa.RecordBatch, numbers: NDArray[np.int64]) -> None:
        if not len(numbers):
            return
        if numbers.min() < 1 or numbers.max() > self._requests:
            raise AnswersMissing(f"the landed lines hold other requests than the {self._requests:,} of the job")
        self._index[numbers] = np.arange(self._rows, self._rows + len(numbers))
        self._bytes[numbers] = pc.binary_length(results["text"]).fill_null(0)
        self._rows += len(numbers)
        answers = answer_columns(results, self._output)
        self.invalid += pc.sum(pc.equal(answers[STATUS], INVALID_OUTPUT)).as_py()
        self._pending.append(answers)
        if self._rows - self._file.rows >= BLOCK_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._file.append(one_batch(self._pending))
            self._pending = []


def _decoded(lines: bytes, job_id: str) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
    """Return the columns of a job's lines, and the numbers of their requests."""
    results = block_columns(lines)
    return results, request_numbers(results["custom_id"], job_id)


def _indices(numbers: pa.Int64Array) -> NDArray[np.int64]:
    """Return the numbers, with 0 for null."""
    found: NDArray[np.int64] = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    return found


def request_numbers(custom_ids: pa.StringArray, job_id: str) -> NDArray[np.int64]:
    """Return the numbers of a job's requests.

    :raises AnswersMissing: a custom_id is not `<job id>-<number>`.
    """
    prefix = f"{job_id}-"
    try:
        if not pc.all(pc.starts_with(custom_ids, prefix)).as_py():
            raise pa.ArrowInvalid
        numbers = pc.cast(pc.utf8_slice_codeunits(custom_ids, len(prefix)), pa.int64())
    except pa.ArrowInvalid:
        raise AnswersMissing(f"the landed lines hold custom_ids that are not of job {job_id}") from None
    found: NDArray[np.int64] = numbers.to_numpy(zero_copy_only=False)
    return found
