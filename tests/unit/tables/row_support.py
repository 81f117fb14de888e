"""Files of rows, and what is read of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from airflow_batches.tables.requests import RowRequests
from airflow_batches.tables.rows import RowSource


def parquet(path: Path, **columns: Any) -> Path:
    """Write a Parquet file of these columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def jsonl(path: Path, rows: Iterable[Any]) -> Path:
    """Write a JSONL file of these rows."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def rows_of(given: Any, columns: Sequence[str] | None = None, **options: Any) -> list[dict[str, Any]]:
    """Return all rows of a source."""
    source = RowSource.of(given, **options)
    return [row for batch in source.batches(columns) for row in batch.data.to_pylist()]


def requests_of(made: RowRequests, job_id: str = "job") -> list[Mapping[str, Any]]:
    """Return the requests of rows."""
    return [json.loads(line) for line in b"".join(made.requests(job_id)).splitlines()]


def texts_of(made: RowRequests) -> list[str]:
    """Return the text of each request's last turn."""
    return [request["params"]["messages"][-1]["content"] for request in requests_of(made)]
