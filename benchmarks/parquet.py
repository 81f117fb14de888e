"""Results as Parquet: ours from the API, DuckDB from the landed file.

    python -m benchmarks.parquet                    # 100,000 lines, with the emulator's texts and with different ones
    python -m benchmarks.parquet --lines 10000 --texts different --repeat 5

Each figure is the median run of several, each in a process of its own; the contestants take turns. Ours reads the
results from a server (`_recorded`), counts, verifies, hashes, syncs and publishes them, with all columns and each line
unchanged. DuckDB reads the same lines from a file, with two threads and the types of all columns given, and writes the
same columns with the same compression (zstd, level 1). "with the lines" also writes each line unchanged. The floor
copies the response to a file (`landing.raw_copy`), and "as JSONL" is our landing without a table.

The emulator's texts repeat, so they compress to a hundredth; "different" are random words, with quotes, newlines and
letters beyond ASCII, that compress to a half.

Ends with the project's own bounds, and with status 1 if one is missed: at most DuckDB's time with the lines, and at
most 96 MB more memory than before.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks._measure import MEGABYTE, Measurement, in_turns, measure, table
from benchmarks._recorded import record, served
from benchmarks.landing import SMALL, raw_copy
from benchmarks.landing import Job as Landing
from benchmarks.landing import ours as land_as_named

LINES: Final = 100_000
WORDS: Final = 5_000
OURS: Final = "airflow-batches"
PEER: Final = "DuckDB with the lines"
DUCKDB_TIMES: Final = 1.0
GROWTH: Final = 96.0

ERROR: Final = {"type": "VARCHAR", "message": "VARCHAR"}
USAGE: Final = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
MESSAGE: Final = {
    "content": [{"type": "VARCHAR", "text": "VARCHAR"}],
    "stop_reason": "VARCHAR",
    "model": "VARCHAR",
    "usage": dict.fromkeys(USAGE, "BIGINT"),
}
SHAPE: Final = {
    "custom_id": "VARCHAR",
    "result": {"type": "VARCHAR", "message": MESSAGE, "error": {**ERROR, "error": ERROR}},
}
COLUMNS: Final = f"""
    line.custom_id as custom_id, line.result.type as type,
    array_to_string(list_transform(list_filter(line.result.message.content, lambda block: block.type = 'text'),
        lambda block: block.text), '') as text,
    line.result.message.stop_reason as stop_reason, line.result.message.model as model,
    {", ".join(f"line.result.message.usage.{name} as {name}" for name in USAGE)},
    coalesce(line.result.error.error.type, line.result.error.type) as error_type,
    coalesce(line.result.error.error.message, line.result.error.message) as error_message"""


@dataclass(frozen=True)
class Job:
    """The arguments of every contestant: the results at a server and in a file, and where the table goes."""

    landing: Landing
    file: str

    @property
    def path(self) -> str:
        """The path of the table."""
        return self.landing.uri.removeprefix("file://")


def ours(job: Job) -> int:
    return land_as_named(job.landing)


def as_jsonl(job: Job) -> int:
    return land_as_named(replace(job.landing, uri=f"{job.landing.uri}.jsonl"))


def floor(job: Job) -> int:
    return raw_copy(job.landing)


def duckdb_with_lines(job: Job) -> int:
    shape = json.dumps(SHAPE)
    lines = f"read_json_objects('{job.file}', format = 'newline_delimited')"
    return _duckdb(
        job,
        f"select {COLUMNS}, json from (select json::varchar as json, from_json(json, '{shape}') as line from {lines})",
    )


def duckdb_without_lines(job: Job) -> int:
    types = "{custom_id: 'VARCHAR', result: '" + _sql_type(SHAPE["result"]) + "'}"
    lines = f"read_json('{job.file}', format = 'newline_delimited', columns = {types})"
    return _duckdb(job, f"select {COLUMNS} from (select {{custom_id: custom_id, result: result}} as line from {lines})")


def _duckdb(job: Job, query: str) -> int:
    import duckdb

    with duckdb.connect(config={"threads": 2}) as connection:
        options = "format parquet, compression zstd, compression_level 1"
        copied = connection.execute(f"copy ({query}) to '{job.path}' ({options})").fetchone()
    return int(copied[0]) if copied else 0


def _sql_type(shape: Any) -> str:
    if isinstance(shape, dict):
        return f"STRUCT({', '.join(f'{name} {_sql_type(inner)}' for name, inner in shape.items())})"
    return f"{_sql_type(shape[0])}[]" if isinstance(shape, list) else str(shape)


CONTESTANTS: Final[dict[str, Callable[[Job], int]]] = {
    "raw copy": floor,
    f"{OURS}, as JSONL": as_jsonl,
    OURS: ours,
    PEER: duckdb_with_lines,
    "DuckDB without the lines": duckdb_without_lines,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--texts", nargs="+", choices=TEXTS, default=[*TEXTS])
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", help="where everything is written (default: the system's temporary one)")
    args = parser.parse_args(argv)
    recorded = record(SMALL), record(args.lines)
    missed = False
    for texts in args.texts:
        small, large = [(batch_id, TEXTS[texts](body)) for batch_id, body in recorded]
        with _jobs(args.folder, small, large, args.lines) as jobs:
            runs = in_turns(args.contestants, partial(_run, *jobs), args.repeat)
        _print(f"{args.lines:,} lines, {len(large[1]) / MEGABYTE:,.1f} MB, {texts} texts", runs)
        missed |= _misses(runs)
    if missed:
        raise SystemExit(1)


def different(body: bytes) -> bytes:
    """Give each answer a text of its own, as long as the text that it has."""
    rng = random.Random(16)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 10))) for _ in range(WORDS)]
    words[10:40:5] = ['"so"', "end.\n\n-", "é", "—", "then.\n", "a\\b"]
    chances = [1 / (rank + 1) for rank in range(WORDS)]
    pool = rng.choices(words, chances, k=500_000)
    return b"".join(_with_text(json.loads(line), pool, rng) + b"\n" for line in body.splitlines())


def _with_text(line: Any, pool: Sequence[str], rng: random.Random) -> bytes:
    block = line["result"]["message"]["content"][0]
    at = rng.randrange(len(pool) // 2)
    block["text"] = " ".join(pool[at : at + len(block["text"]) // 4])[: len(block["text"])]
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()


def _as_recorded(body: bytes) -> bytes:
    return body


TEXTS: Final[dict[str, Callable[[bytes], bytes]]] = {"repeated": _as_recorded, "different": different}


@contextmanager
def _jobs(
    folder: str | None, small: tuple[str, bytes], large: tuple[str, bytes], lines: int
) -> Iterator[tuple[Job, Job]]:
    with tempfile.TemporaryDirectory(dir=folder) as path, served(dict([small, large])) as base_url:
        yield _job(base_url, small, SMALL, path), _job(base_url, large, lines, path)


def _job(base_url: str, batch: tuple[str, bytes], lines: int, folder: str) -> Job:
    batch_id, body = batch
    file = Path(folder) / f"{lines}.jsonl"
    file.write_bytes(body)
    return Job(Landing(base_url, batch_id, lines, f"file://{folder}/{lines}.parquet", {}, ""), str(file))


def _run(rehearsal: Job, job: Job, name: str) -> Measurement:
    with tempfile.TemporaryDirectory(dir=Path(job.file).parent) as folder:
        first, second = (_into(each, f"{folder}/{at}.parquet") for at, each in enumerate([rehearsal, job]))
        run = measure(CONTESTANTS[name], second, rehearsal=[first])
    if run.result != job.landing.lines:
        raise RuntimeError(f"{name} wrote {run.result} of {job.landing.lines} lines")
    return run


def _into(job: Job, path: str) -> Job:
    return replace(job, landing=replace(job.landing, uri=f"file://{path}"))


def _print(title: str, runs: Mapping[str, Measurement]) -> None:
    peer = runs.get(PEER)
    head = ["", "seconds", "CPU s", "peak RSS MB", "RSS growth MB", "x DuckDB"]
    rows = [
        [
            name,
            f"{run.seconds:.2f}",
            f"{run.cpu_seconds:.2f}",
            f"{run.peak / MEGABYTE:,.0f}",
            f"{run.growth / MEGABYTE:,.0f}",
            f"{run.seconds / peer.seconds:.2f}" if peer else "",
        ]
        for name, run in runs.items()
    ]
    print(f"\n{title}\n\n{table(head, rows)}\n", flush=True)


def _misses(runs: Mapping[str, Measurement]) -> bool:
    """Compare with the bounds; return whether one is missed."""
    ours, peer = runs.get(OURS), runs.get(PEER)
    found = []
    if ours and peer:
        found.append((ours.seconds / peer.seconds, DUCKDB_TIMES, "of DuckDB's time"))
    if ours:
        found.append((ours.growth / MEGABYTE, GROWTH, "MB more"))
    for value, bound, what in found:
        print(f"{'kept' if value <= bound else 'MISSED'}: {value:.3g} {what} (at most {bound:g})")
    return any(value > bound for value, bound, _ in found)


if __name__ == "__main__":
    main()
