"""Joining answers to their rows: ours beside DuckDB, from the same files.

    python -m benchmarks.tables                             # 1,000,000 rows
    python -m benchmarks.tables --rows 100000 --repeat 3

The files are a job's rows object (an id, a title, a text of 150 bytes, the number of the request), and landed result
lines of short answers, 100,000 in each object, in any order within it; a hundredth of them are errors. Both write the
rows with their answers, token counts, model, stop reason and error as Parquet (zstd).

- airflow-batches: `AnswerSpool` and `write_parts`. The rows keep their order, and the objects are hashed, synced
  and published atomically, with the failed rows in an object of their own.
- DuckDB: `read_json` with explicit columns, joined by the custom_id, with 2 threads. It does not keep the rows' order.
- DuckDB in order: the same, sorted by the id.

Each figure is of the run of median time, in a process of its own that has joined a hundred rows before. The run
ends with the project's bounds, and with status 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks._measure import MEGABYTE, Measurement, in_turns, measure, table

ROWS: Final = 1_000_000
SMALL: Final = 100
SHARD: Final = 100_000
JOB: Final = "job-0123456789abcdef"
TOKENS: Final = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
DUCKDB_TIMES: Final = 2.0
GROWTH: Final = 256.0
OURS: Final = "airflow-batches"
PEER: Final = "DuckDB"


def ours(folder: str) -> int:
    from airflow_batches.jobs.folder import JobFolder, StoredRequests
    from airflow_batches.tables.answers import AnswerSpool
    from airflow_batches.tables.parts import write_parts
    from airflow_batches.tables.row_parquet import parquet_schema
    from airflow_batches.tables.rows_object import REQUEST, read_rows

    files, place = JobFolder(f"file://{folder}"), JobFolder(f"file://{folder}/ours")
    rows = files.at("rows.parquet")
    landed = sorted(path.name for path in Path(folder).glob("landed-*.jsonl"))
    schema = parquet_schema(rows.fs, rows.path)
    kept = schema.remove(schema.get_field_index(REQUEST))
    with AnswerSpool(len(landed) * SHARD, directory=Path(folder)) as spool:
        for name in landed:
            spool.add_landed(StoredRequests(files.at(name)), JOB)
        return write_parts(read_rows(rows), spool, place.at, kept=kept, job_id=JOB).rows


def duckdb_join(folder: str, order: str = "") -> int:
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    usage = ", ".join(f"{name} BIGINT" for name in TOKENS)
    message = f"content STRUCT(type VARCHAR, text VARCHAR)[], stop_reason VARCHAR, model VARCHAR, usage STRUCT({usage})"
    result = f"type VARCHAR, message STRUCT({message}), error STRUCT(error STRUCT(type VARCHAR, message VARCHAR))"
    tokens = ", ".join(f"m.usage.{name} AS _{name}" for name in TOKENS)
    connection.execute(f"""
        COPY (
            SELECT id, title, body,
                   list_aggregate(list_transform(m.content, lambda block: block.text), 'string_agg', '') AS answer,
                   type AS _status, e.type || ': ' || e.message AS _error, m.stop_reason AS _stop_reason,
                   m.model AS _model, {tokens}
            FROM read_parquet('{folder}/rows.parquet') LEFT JOIN (
                SELECT custom_id, result.type AS type, result.message AS m, result.error.error AS e
                FROM read_json('{folder}/landed-*.jsonl', format = 'newline_delimited',
                               columns = {{'custom_id': 'VARCHAR', 'result': 'STRUCT({result})'}})
            ) ON custom_id = '{JOB}-' || _request {order}
        ) TO '{folder}/duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)
    """)
    found = connection.execute(f"SELECT count(answer) + count(_error) FROM '{folder}/duckdb.parquet'").fetchall()
    return int(found[0][0])


def duckdb_in_order(folder: str) -> int:
    return duckdb_join(folder, "ORDER BY id")


CONTESTANTS: Final[dict[str, Callable[[str], int]]] = {
    OURS: ours,
    PEER: duckdb_join,
    f"{PEER} in order": duckdb_in_order,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", help="where the files lie (default: the temporary folder)")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="tables-", dir=args.folder))
    try:
        for name, rows in (("small", SMALL), ("large", args.rows)):
            measure(make_files, str(folder / name), rows)
        runs = in_turns(CONTESTANTS, partial(_run, folder, args.rows), args.repeat)
        _report(runs, args.rows, sum(path.stat().st_size for path in (folder / "large").glob("landed-*")))
    finally:
        shutil.rmtree(folder)


def make_files(folder: str, rows: int) -> None:
    """Write rows as a job does, and landed lines."""
    import pyarrow as pa  # type: ignore[import-untyped]

    from airflow_batches.jobs.folder import JobFolder
    from airflow_batches.tables.rows_object import RowsWriter

    Path(folder).mkdir()
    some = random.Random(1)
    words = [f"{some.getrandbits(40):x}" for _ in range(5_000)]
    schema = pa.schema([("id", pa.int64()), ("title", pa.string()), ("body", pa.string()), ("_request", pa.int64())])
    with RowsWriter(JobFolder(f"file://{folder}").at("rows.parquet")) as writer:
        for start in range(0, rows, SHARD):
            numbers = [*range(start + 1, min(rows, start + SHARD) + 1)]
            titles = [" ".join(some.choices(words, k=2)) for _ in numbers]
            bodies = [" ".join(some.choices(words, k=14)) for _ in numbers]
            for batch in pa.table([numbers, titles, bodies, numbers], schema=schema).to_batches(10_000):
                writer.write(batch)
            some.shuffle(numbers)
            with Path(f"{folder}/landed-{start // SHARD:05}.jsonl").open("w") as file:
                file.writelines(_line(number, " ".join(some.choices(words, k=6))) for number in numbers)


def _line(number: int, text: str) -> str:
    usage = {
        "input_tokens": 80, "cache_creation_input_tokens": 0, "cache_read_input_tokens": number % 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 20, "service_tier": "batch",
    }  # fmt: skip
    message = {
        "model": "claude-haiku-4-5-20251001", "id": f"msg_01{number:022d}", "type": "message", "role": "assistant",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    error = {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}, "request_id": None}
    failed = number % 100 == 0
    result = {"type": "errored", "error": error} if failed else {"type": "succeeded", "message": message}
    return json.dumps({"custom_id": f"{JOB}-{number}", "result": result}, separators=(",", ":")) + "\n"


def _run(folder: Path, rows: int, name: str) -> Measurement:
    run = measure(CONTESTANTS[name], str(folder / "large"), rehearsal=[str(folder / "small")])
    if run.result != rows:
        raise RuntimeError(f"{name} joined {run.result:,} of {rows:,} rows")
    return run


def _report(runs: dict[str, Measurement], rows: int, size: int) -> None:
    peer = runs[PEER]
    lines = [
        [
            name, f"{run.seconds:.2f}", f"{run.cpu_seconds:.2f}", f"{rows / run.seconds:,.0f}",
            f"{run.peak / MEGABYTE:,.0f}", f"{run.growth / MEGABYTE:,.0f}", f"{run.seconds / peer.seconds:.2f}",
        ]
        for name, run in runs.items()
    ]  # fmt: skip
    print(f"{rows:,} rows, landed lines of {size / MEGABYTE:,.0f} MB\n")
    print(table(["", "seconds", "CPU s", "rows/s", "peak RSS MB", "RSS growth MB", "x DuckDB"], lines) + "\n")
    missed = False
    for what, value, bound in (
        ("times DuckDB", runs[OURS].seconds / peer.seconds, DUCKDB_TIMES),
        ("MB more", runs[OURS].growth / MEGABYTE, GROWTH),
    ):
        missed |= value > bound
        print(f"{'kept' if value <= bound else 'MISSED'}: {value:.3g} {what} (at most {bound:g})")
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
