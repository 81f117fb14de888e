"""A source that is no JSONL is named once, as what it is."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import zstandard

from airflow_batches.emulator import Emulator
from airflow_batches.submission import PreflightError, split_requests
from airflow_batches.submission.encode import encode_requests
from airflow_batches.submission.formats import foreign_format
from tests.samples import some_requests
from tests.unit.submission.helpers import Task

REQUESTS = some_requests(50)
JSONL = b"".join(encode_requests(REQUESTS))
ROWS = "id,prompt\n" + "".join(f"{number},Hello\n" for number in range(50))


def parquet() -> bytes:
    sink = BytesIO()
    pq.write_table(pa.table({"id": [1, 2]}), sink)
    return sink.getvalue()


def archive() -> bytes:
    sink = BytesIO()
    with zipfile.ZipFile(sink, "w") as packed:
        packed.writestr("r.jsonl", JSONL)
    return sink.getvalue()


FOREIGN: dict[str, tuple[Callable[[], bytes], str]] = {
    "gzip": (lambda: gzip.compress(JSONL), "holds gzip data where JSONL is expected: give its name the suffix .gz"),
    "zstd": (
        lambda: zstandard.compress(JSONL),
        "holds zstd data where JSONL is expected: give its name the suffix .zst",
    ),
    "bzip2": (lambda: bz2.compress(JSONL), "is bzip2 data"),
    "xz": (lambda: lzma.compress(JSONL), "is xz data"),
    "a ZIP archive": (archive, "is a ZIP archive"),
    "Parquet": (parquet, "is a Parquet file; write JSONL"),
    "UTF-16": (lambda: JSONL.decode().encode("utf-16"), "is UTF-16 text; write UTF-8: iconv -f UTF-16"),
    "UTF-16 without a mark": (lambda: JSONL.decode().encode("utf-16-le"), "is UTF-16 text"),
    "UTF-32": (lambda: JSONL.decode().encode("utf-32"), "is UTF-32 text"),
    "a JSON array": (lambda: json.dumps(REQUESTS).encode(), r"is a JSON array, not JSONL; .*: jq -c '\.\[\]'"),
    "an indented array": (lambda: json.dumps(REQUESTS, indent=2).encode(), "is a JSON array"),
    "a body": (
        lambda: json.dumps({"requests": REQUESTS}).encode(),
        r"is the body of a create call.*jq -c '\.requests\[\]'",
    ),
    "pretty-printed": (
        lambda: "\n".join(json.dumps(request, indent=2) for request in REQUESTS).encode(),
        r"is pretty-printed JSON; write one request per line: jq -c \.",
    ),
    "CSV": (ROWS.encode, "looks like CSV"),
    "CSV of another editor": (ROWS.replace(",", ";").replace("\n", "\r\n").encode, "looks like CSV"),
    "a marked CSV": (lambda: ROWS.encode("utf-8-sig"), "looks like CSV"),
    "a page": (b"\n<!DOCTYPE html><html></html>".strip, "is HTML or XML"),
    "text": (b"Hello\nWorld\nagain\n".lower, "is not JSONL: its lines are not JSON objects"),
}


@pytest.mark.parametrize("preflight", ["error", "off"])
@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_no_jsonl_is_named_once(emulator: Emulator, tmp_path: Path, what: str, preflight: str) -> None:
    content, name = FOREIGN[what]
    path = tmp_path / "requests.jsonl"
    path.write_bytes(content())
    with pytest.raises(PreflightError, match=rf"^file://.*/requests\.jsonl {name}") as error:
        Task(emulator).try_(path, preflight=preflight)
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(PreflightError, match=name):
        split_requests(path, preflight=preflight)  # type: ignore[arg-type]  # one of them
    assert emulator.counters["create"] == 0


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\n \r\n",
        JSONL,
        b"\xef\xbb\xbf" + JSONL,
        b"\r\n\r\n" + JSONL.replace(b"\n", b"\r\n"),
        b"# one comment\n" + JSONL,
        b"not json\n",
        b'{"custom_id":"a","params":{"mod\n' + JSONL,
        JSONL + b"[]\n1,2\n3,4\n",
        b'{"custom_id": "' + b"a" * 100_000,
    ],
    ids=range(10),
)
def test_what_may_be_jsonl_with_a_wrong_line_is_left_to_its_lines(head: bytes) -> None:
    assert foreign_format(head) is None


def test_one_wrong_line_is_told_with_its_number(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(b"# one comment\n" + JSONL)
    with pytest.raises(PreflightError, match=r"1 problem:\nline 1: not a request"):
        Task(emulator).try_(path)
