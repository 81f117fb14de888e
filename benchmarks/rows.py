"""Make requests of the rows of a Parquet folder: `python -m benchmarks.rows`.

Each row has an id and a text of 1 KB; the files have one row group each. The floor reads the text column with pyarrow
and does nothing else: streamed through buffers, and by pyarrow's own dataset scanner. Ours reads, writes the prompt,
digests, finds equal requests and repeated keys, encodes, and stores the kept columns in another Parquet object.
Prints which bounds are kept (100,000 rows/s, at most 128 MB more), and fails if one is not.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.dataset as ds  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from airflow_batches.landing import Location
from airflow_batches.tables.distinct import DistinctDigests
from airflow_batches.tables.requests import RowRequests
from airflow_batches.tables.rows_object import RowsWriter
from benchmarks._measure import MEGABYTE, Measurement, in_turns, measure, table

LEAST_ROWS: Final = 100_000
MOST_GROWTH: Final = 128 * MEGABYTE
ROW_BYTES: Final = 1_000
FILES: Final = 2
PROMPT: Final = "Classify: ${text}"
IMPORTS: Final = ["airflow_batches.tables.requests", "fsspec.implementations.local"]


def main() -> None:
    """Measure and print."""
    args = _arguments()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rows = Path(folder, "rows")
        _write(rows, args.rows)
        small = Path(folder, "small")
        _write(small, 1_000)
        runs = in_turns(WHO, lambda who: measure(WHO[who], rows, imports=IMPORTS, rehearsal=[small]), args.repeat)
        growth = measure(distinct_digests, args.rows, imports=IMPORTS).growth / args.rows
    print(f"{args.rows:,} rows of {ROW_BYTES:,} bytes, {args.repeat} runs\n")
    print(
        table(["who", "seconds", "CPU s", "rows/s", "RSS growth MB"], [_row(*each, args.rows) for each in runs.items()])
    )
    print(f"\n{growth:.0f} bytes for each distinct request")
    ours = runs["text prompt, key kept"]
    kept = {
        f"at least {LEAST_ROWS:,} rows/s": args.rows / ours.seconds >= LEAST_ROWS,
        f"at most {MOST_GROWTH // MEGABYTE} MB more": max(run.growth for run in _ours(runs)) <= MOST_GROWTH,
    }
    for bound, holds in kept.items():
        print(f"{'kept' if holds else 'MISSED'}: {bound}")
    sys.exit(0 if all(kept.values()) else 1)


def scanned(folder: Path) -> int:
    """Read the texts with pyarrow's dataset scanner."""
    dataset = ds.dataset(folder)
    return sum(len(batch) for batch in dataset.to_batches(columns=["text"], batch_readahead=1, fragment_readahead=1))


def streamed(folder: Path) -> int:
    """Read the texts with pyarrow through buffers."""
    files = [pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) for file in sorted(folder.iterdir())]
    return sum(len(batch) for file in files for batch in file.iter_batches(2048, columns=["text"], use_threads=False))


def text_prompt(folder: Path) -> int:
    """Make requests with a text prompt; keep the key."""
    return _requests(folder, PROMPT, key="id")


def function_prompt(folder: Path) -> int:
    """Make requests with a function; keep the key."""
    return _requests(folder, _prompt, key="id")


def all_columns(folder: Path) -> int:
    """Make requests with a text prompt; keep all columns."""
    return _requests(folder, PROMPT, key="id", keep="all")


def _requests(folder: Path, prompt: Any, **options: Any) -> int:
    made = RowRequests(folder, prompt, model="claude-opus-4-8", defaults={"max_tokens": 100}, **options)
    with RowsWriter(Location.parse(f"file://{folder.parent}/_job/rows.parquet")) as writer:
        deque(made.requests("0a1b2c3d4e5f", writer.write), 0)
    return made.distinct


def _prompt(row: dict[str, Any]) -> str:
    return f"Classify: {row['text']}"


def distinct_digests(rows: int) -> int:
    """Number so many distinct digests."""
    digests, source = DistinctDigests(), random.Random(1)
    for _ in range(0, rows, 2_000):
        digests.number([source.randbytes(16) for _ in range(2_000)])
    return digests.count


WHO: Final = {
    "pyarrow, streamed": streamed,
    "pyarrow, dataset": scanned,
    "text prompt, key kept": text_prompt,
    "text prompt, all kept": all_columns,
    "function, key kept": function_prompt,
}


def _ours(runs: dict[str, Measurement]) -> list[Measurement]:
    return [run for who, run in runs.items() if not who.startswith("pyarrow")]


def _row(who: str, run: Measurement, rows: int) -> list[str]:
    speed, growth = rows / run.seconds, run.growth / MEGABYTE
    return [who, f"{run.seconds:.2f}", f"{run.cpu_seconds:.2f}", f"{speed:,.0f}", f"{growth:.0f}"]


def _write(folder: Path, rows: int) -> None:
    """Write files of texts of some thousand different words."""
    folder.mkdir()
    source = random.Random(1)
    words = ["".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=source.randint(3, 9))) for _ in range(5_000)]
    texts = [" ".join(source.choices(words, k=200))[:ROW_BYTES] for _ in range(2_000)]
    each = rows // FILES
    for number in range(FILES):
        ids = range(number * each, (number + 1) * each)
        column = pa.chunked_array(
            [pa.array([f"{n} {texts[n * 7 % 2_000]}"[:ROW_BYTES] for n in part]) for part in _parts(ids)]
        )
        pq.write_table(
            pa.table({"id": pa.array(ids), "text": column}), folder / f"{number}.parquet", row_group_size=each
        )


def _parts(numbers: range) -> list[range]:
    return [numbers[start : start + 50_000] for start in range(0, len(numbers), 50_000)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--folder", help="where the files are written; by default the folder for temporary files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
