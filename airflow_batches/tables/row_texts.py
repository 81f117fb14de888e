"""Read CSV and JSONL files in batches.

| format | rule                                                                                                     |
|--------|----------------------------------------------------------------------------------------------------------|
| both   | UTF-8; a byte order mark is dropped; `.gz` and `.zst` are decompressed                                   |
| CSV    | RFC 4180 with one header line; `.tsv` has tabs. Texts may hold newlines                                  |
|        | each column is text, as it is written: `007` stays `007`. An empty field is null, `""` is the empty text |
| JSONL  | one object in each line; blank lines are skipped. Types as in `row_values`; a missing member is null     |

Types are not guessed in CSV: a guess from the first lines changes values (`007`, `1.10`), and fails at a later line.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.csv as pacsv  # type: ignore[import-untyped]

from airflow_batches.submission.formats import UTF8_MARK, checked
from airflow_batches.submission.lines import line_runs
from airflow_batches.submission.objects import read_object
from airflow_batches.tables.row_batch import BATCH_BYTES, RowBatch
from airflow_batches.tables.row_columns import require_single
from airflow_batches.tables.row_errors import RowsError
from airflow_batches.tables.row_files import RowFile, RowFormat
from airflow_batches.tables.row_values import Collector

CSV_BLOCK: Final = 4 << 20
"""Bytes that are parsed at once; the longest row. Chosen: larger than any text of a row, small beside the memory."""
DELIMITERS: Final[dict[RowFormat, str]] = {"csv": ",", "tsv": "\t"}
SHOWN: Final = 100
"""Characters of a wrong row that an error shows. Chosen: enough to find it, and no more of the data in a log."""


def csv_header(file: RowFile, format: RowFormat) -> pa.Schema:  # noqa: A002  # the usual name, as in pandas and pyarrow
    """Return the columns of a CSV file: texts.

    :raises RowsError: there is no header, or a name stands in it twice.
    """
    names = _names(_utf8(file), file, format)[0]
    return pa.schema([(name, pa.string()) for name in names])


def csv_batches(file: RowFile, format: RowFormat, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:  # noqa: A002
    """Yield the rows of a CSV file.

    :raises RowsError: a row has another number of fields than the header.
    """
    names, blocks = _names(_utf8(file), file, format)
    wrong: list[Any] = []

    def refuse(row: Any) -> str:
        wrong.append(row)
        return "error"

    try:
        reader = pacsv.open_csv(
            pa.PythonFile(_Stream(blocks), mode="r"),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=CSV_BLOCK),
            parse_options=pacsv.ParseOptions(
                delimiter=DELIMITERS[format], newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=list(columns), check_utf8=False,
                null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False,
            ),
        )  # fmt: skip
        yield from reader
    except pa.ArrowInvalid as exc:
        if wrong:
            raise _wrong_fields(file, wrong[0]) from exc
        if "straddl" in str(exc):
            raise RowsError(
                f"{file.uri} has a row of more than {CSV_BLOCK:,} bytes, or a quotation mark that does not end; "
                "nothing was sent"
            ) from exc
        raise


def json_batches(file: RowFile) -> Iterator[RowBatch]:
    """Yield the rows of a JSONL file. Each batch has the columns and types that its rows have.

    :raises RowsError: a line is not a JSON object, or a column holds values of several types.
    """
    rows = Collector(file.uri)
    size = 0
    for run in line_runs(checked(_utf8(file), file.uri)):
        for number, _, raw in run.numbered():
            rows.add(_object(raw, file, number))
        size += len(run.data)
        if size >= BATCH_BYTES // 2 or rows.is_full:
            yield from rows.take()
            size = 0
    yield from rows.take()


def _object(raw: bytes, file: RowFile, line: int) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise RowsError(f"{file.uri}, line {line:,}, is not JSON: {exc}; nothing was sent") from exc
    if not isinstance(found, dict):
        raise RowsError(f"{file.uri}, line {line:,}, is no JSON object but {type(found).__name__}; nothing was sent")
    return found


def _utf8(file: RowFile) -> Iterator[bytes]:
    """Yield a file's decoded bytes.

    :raises RowsError: they are not UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    for block in chain(read_object(file.uri, file.open_store, file.uri), [b""]):
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as exc:
            line += bytes(exc.object[: exc.start]).count(b"\n")
            raise RowsError(
                f"{file.uri}, line {line:,}, is not UTF-8 (byte 0x{exc.object[exc.start]:02X}); nothing was sent. "
                "Convert it: iconv -f WINDOWS-1252 -t UTF-8 …"
            ) from exc
        line += block.count(b"\n")
        yield block


def _names(blocks: Iterator[bytes], file: RowFile, format: RowFormat) -> tuple[list[str], Iterable[bytes]]:  # noqa: A002
    """Read the header of a CSV file; return its names and all blocks."""
    first = next(blocks, b"").removeprefix(UTF8_MARK)
    # A block ends anywhere, so its last character may be cut; the header is far before it.
    text = io.StringIO(first.decode(errors="ignore"), newline="")
    names = next(csv.reader(text, delimiter=DELIMITERS[format]), [])
    if not names:
        raise RowsError(f"{file.uri} has no header line; nothing was sent")
    require_single(names, file.uri)
    return names, chain([first], blocks)


def _wrong_fields(file: RowFile, row: Any) -> RowsError:
    # pyarrow counts the header as the first row.
    where = f"row {row.number - 1:,}" if row.number else "a row"
    shown = row.text if len(row.text) <= SHOWN else f"{row.text[:SHOWN]}…"
    return RowsError(
        f"{file.uri}, {where}, has {row.actual_columns} fields where the header has {row.expected_columns}: {shown!r}; "
        "nothing was sent"
    )


class _Stream(io.RawIOBase):
    """Blocks as a file that pyarrow reads."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; fewer than `size` only at the end."""
        parts: list[bytes] = []
        missing = size
        while missing > 0 and (self._rest or self._next()):
            parts.append(bytes(self._rest[:missing]))
            self._rest = self._rest[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def _next(self) -> bool:
        self._rest = memoryview(next((block for block in self._blocks if block), b""))
        return bool(self._rest)
