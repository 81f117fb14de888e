"""A whole job through the terminal, beside ten batches made by hand with the client.

    python -m benchmarks.job                               # 1,000,000 requests, batches of 100,000
    python -m benchmarks.job --requests 20000 --repeat 3

Each figure is of a whole process, from its start to its end, with its imports; of the run of median time. The emulator
runs in another process, and its batches end at once. A request has about 150 bytes. Peak memory is the kernel's
`ru_maxrss`.

- airflow-batches run: checks, cuts, sends, waits, lands, verifies, publishes; it survives a kill at any point.
- rows, typed: the same prompts as a table of Parquet, through `run_job`; each row is published with its answer, which
  is checked against an output type, as a Parquet table.
- by hand: reads a tenth of the lines, creates a batch of them, for each tenth; then waits for each, and copies its
  results to a file. Nothing is checked, and a kill loses the batches' ids.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from benchmarks._measure import MEGABYTE, table

REQUESTS: Final = 1_000_000
BATCHES: Final = 10
KEY: Final = "sk-ant-bench"
POLL_S: Final = 1.0
"""Seconds between two looks of both; chosen short, because the emulator's batches end at once."""
BLOCK: Final = 1 << 18
PRIME: Final = {
    "type": "object",
    "properties": {"prime": {"type": "boolean"}, "why": {"type": "string", "enum": ["divisor", "none"]}},
    "required": ["prime", "why"],
    "additionalProperties": False,
}
"""The type of the answers about rows."""


@dataclass(frozen=True)
class Run:
    """One process: wall clock, CPU, most resident memory, and the lines that it published."""

    seconds: float
    cpu_seconds: float
    peak: int
    lines: int


def by_hand(url: str, requests: Path, folder: Path, count: int) -> None:
    """Make ten batches with the client."""
    from airflow_batches.api import BatchesClient

    with BatchesClient(KEY, base_url=url) as client, requests.open("rb") as lines:
        tenths = iter(lambda: [json.loads(line) for line in islice(lines, count // BATCHES)], [])
        ids = [client.create(tenth).id for tenth in tenths]
        for number, batch_id in enumerate(ids):
            client.wait_for(batch_id, poll_interval=POLL_S)
            with client.open_results(batch_id) as response, (folder / f"results-{number:05}.jsonl").open("wb") as file:
                for block in response.iter_content(BLOCK):
                    file.write(block)
                file.write(b"\n")  # the API ends the last line without one


def by_rows(url: str, table: Path, folder: Path, count: int) -> None:
    """Have a table answered with typed columns."""
    from airflow_batches.api import BatchesClient
    from airflow_batches.jobs import run_job

    with BatchesClient(KEY, base_url=url) as client:
        run_job(
            client, path=folder, rows=table, prompt="Is number ${id} prime?", key="id", output_type=PRIME,
            model="claude-haiku-4-5", defaults={"max_tokens": 50}, max_requests=count // BATCHES, poll_interval=POLL_S,
        )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"a multiple of {BATCHES}")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--folder", help="where requests and answers lie (default: the temporary one)")
    for name in SCRIPTS:
        parser.add_argument(f"--{name}", nargs=3, metavar=("URL", "FILE", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for name, script in SCRIPTS.items():
        if (places := getattr(args, name.replace("-", "_"))) is not None:
            script(places[0], Path(places[1]), Path(places[2]), args.requests)
            return
    folder = Path(tempfile.mkdtemp(prefix="job-", dir=args.folder))
    try:
        _compare(folder, args.requests, args.repeat)
    finally:
        shutil.rmtree(folder)


def _compare(folder: Path, count: int, repeat: int) -> None:
    requests = folder / "requests.jsonl"
    with requests.open("w") as file:
        file.writelines(_request(number) for number in range(count))
    pq.write_table(pa.table({"id": range(count)}), requests.with_suffix(".parquet"))
    turns = [{name: _run(name, requests, folder / "answers", count) for name in COMMANDS} for _ in range(repeat)]
    runs = {name: sorted((turn[name] for turn in turns), key=lambda run: run.seconds)[repeat // 2] for name in COMMANDS}
    peer = runs["by hand"]
    rows = [
        [
            name, f"{run.seconds:.1f}", f"{run.cpu_seconds:.1f}", f"{run.peak / MEGABYTE:,.0f}",
            f"{count / run.seconds:,.0f}", f"{run.seconds / peer.seconds:.2f}",
        ]
        for name, run in runs.items()
    ]  # fmt: skip
    size = requests.stat().st_size / MEGABYTE
    print(f"{count:,} requests, {size:,.1f} MB, {BATCHES} batches\n")
    print(table(["", "seconds", "CPU s", "peak RSS MB", "requests/s", "x by hand"], rows))


def _request(number: int) -> str:
    messages = [{"role": "user", "content": f"Is number {number} prime?"}]
    params = {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": messages}
    return json.dumps({"custom_id": f"row-{number:07d}", "params": params}) + "\n"


def _by_terminal(url: str, requests: Path, folder: Path, count: int) -> list[str]:
    limits = ["--max-requests", str(count // BATCHES), "--poll-interval", str(POLL_S), "--base-url", url]
    return ["airflow_batches.cli", "run", str(requests), str(folder), *limits]


def _by_hand(url: str, requests: Path, folder: Path, count: int) -> list[str]:
    return ["benchmarks.job", "--requests", str(count), "--by-hand", url, str(requests), str(folder)]


def _by_rows(url: str, requests: Path, folder: Path, count: int) -> list[str]:
    table = requests.with_suffix(".parquet")
    return ["benchmarks.job", "--requests", str(count), "--by-rows", url, str(table), str(folder)]


SCRIPTS: Final = {"by-hand": by_hand, "by-rows": by_rows}
COMMANDS: Final = {"airflow-batches run": _by_terminal, "rows, typed": _by_rows, "by hand": _by_hand}


def _run(name: str, requests: Path, folder: Path, count: int) -> Run:
    folder.mkdir()
    with _emulator() as url:
        command = [sys.executable, "-m", *COMMANDS[name](url, requests, folder, count)]
        os.sync()
        began = perf_counter()
        with (folder.parent / "log").open("wb") as log:
            process = subprocess.Popen(command, env={**os.environ, "ANTHROPIC_API_KEY": KEY}, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
        seconds = perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    lines = sum(_lines(part) for part in folder.glob("results-*.jsonl"))
    lines += sum(pq.read_metadata(part).num_rows for part in folder.glob("part-*.parquet"))
    shutil.rmtree(folder)
    if process.returncode or lines != count:
        log_text = (folder.parent / "log").read_text()
        raise RuntimeError(f"{name} ended with {process.returncode} and {lines:,} of {count:,} answers:\n{log_text}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, lines)


def _lines(part: Path) -> int:
    with part.open("rb") as file:
        return sum(1 for _ in file)


@contextmanager
def _emulator() -> Iterator[str]:
    """The base URL of a fresh emulator, in another process."""
    command = [sys.executable, "-m", "airflow_batches.emulator", "--port", "0", "--api-key", KEY]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=10)


if __name__ == "__main__":
    main()
