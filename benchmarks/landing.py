"""Landing a batch's results: ours, a raw copy, the official SDK, common-ai's `stream_results_to_jsonl`.

    python -m benchmarks.landing                    # all sizes, file:// and S3
    python -m benchmarks.landing --lines 100000 --stores file --repeat 5

Each figure is the median run of several, each in a process of its own that has landed a small batch before; the
contestants take turns. Results are recorded from the emulator and served by another process from memory, in chunks of
64 KiB (`_recorded`). The raw copy reads 1 MB at a time from `requests` and writes what it gets: no line is decoded,
nothing is hashed, nothing is synced to the disk. "decode, hash, write" is the raw copy with each line decoded as
ours does, and the object's sha256: what a few plain lines take for it. Ours decodes, counts, verifies, hashes, syncs
and publishes atomically. SDK and common-ai write one JSON line a result.

"x 10" lands ten such batches in one process, for the memory; its seconds are those of all ten. "with receipt" compares
the ids with the digest of a submission's receipt too.

Ends with the project's own bounds, and with status 1 if one is missed: the time of 100,000 lines at `file://`, and
everywhere the memory beyond that of the fewest lines.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from fsspec.core import url_to_fs  # type: ignore[import-untyped]

from airflow_batches.api.digest import ids_digest
from benchmarks._measure import MEGABYTE, Measurement, in_turns, measure, table
from benchmarks._recorded import ID_PREFIX, record, served
from tests.servers import S3Server, s3_server

SIZES: Final = (1_000, 10_000, 100_000)
SMALL: Final = 10
OURS: Final = "airflow-batches"
PROVEN: Final = f"{OURS} with receipt"
TIMED_LINES: Final = 100_000
RAW_COPIES: Final = 4.0
SDK_SPEED: Final = 20.0
GROWTH: Final = 64.0
BUCKET: Final = "landing"


@dataclass(frozen=True)
class Job:
    """The arguments of every contestant."""

    base_url: str
    batch_id: str
    lines: int
    uri: str
    storage_options: dict[str, Any]
    ids_digest: str


def ours(job: Job, receipt: str | None = None) -> int:
    from airflow_batches.api import BatchesClient
    from airflow_batches.landing import land

    with BatchesClient("sk-ant-bench", base_url=job.base_url) as client:
        manifest = land(client, job.batch_id, job.uri, storage_options=job.storage_options, receipt=receipt)
        return manifest.lines


def ours_with_receipt(job: Job) -> int:
    return ours(job, job.ids_digest)


def ours_ten_times(job: Job) -> int:
    """Land ten batches one after the other in one process, so that leaked memory shows."""
    return sum(ours(replace(job, uri=f"{job.uri}-{turn}")) for turn in range(10)) // 10


def raw_copy(job: Job) -> int:
    import fsspec  # type: ignore[import-untyped]
    import requests

    url = f"{job.base_url}/v1/messages/batches/{job.batch_id}/results"
    with requests.get(url, stream=True, timeout=60) as response, _written(fsspec, job, "wb") as file:
        for block in response.iter_content(MEGABYTE):
            file.write(block)
    return job.lines


def decode_hash_write(job: Job) -> int:
    from hashlib import sha256

    import fsspec
    import requests

    from airflow_batches.landing.lines import decode_block

    url = f"{job.base_url}/v1/messages/batches/{job.batch_id}/results"
    digest, lines, rest = sha256(), 0, b""
    with requests.get(url, stream=True, timeout=60) as response, _written(fsspec, job, "wb") as file:
        for block in response.iter_content(MEGABYTE):
            end = block.rfind(b"\n") + 1
            whole, rest = rest + block[:end], block[end:]
            digest.update(whole)
            file.write(whole)
            lines += len(decode_block(whole) or ())
        digest.update(rest)
        file.write(rest)
    return lines + len(decode_block(rest) or ())


def official_sdk(job: Job) -> int:
    import anthropic
    import fsspec

    client = anthropic.Anthropic(api_key="sk-ant-bench", base_url=job.base_url)
    with client, _written(fsspec, job, "wb") as file:
        return sum(1 for item in client.messages.batches.results(job.batch_id) if _put(file, item))


def common_ai(job: Job) -> int:
    from airflow.providers.common.ai.batch.anthropic import AnthropicBatchAdapter  # type: ignore[import-not-found,unused-ignore]
    from airflow.providers.common.ai.batch.output_schema import build_output_spec  # type: ignore[import-not-found,unused-ignore]
    from airflow.providers.common.ai.batch.results import stream_results_to_jsonl  # type: ignore[import-not-found,unused-ignore]
    from airflow.sdk import ObjectStoragePath

    counts, _ = stream_results_to_jsonl(
        adapter=AnthropicBatchAdapter(api_key="sk-ant-bench", base_url=job.base_url),
        batch_id=job.batch_id,
        output_spec=build_output_spec(str),
        request_count=job.lines,
        custom_id_prefix=ID_PREFIX,
        destination=ObjectStoragePath(job.uri, conn_id="aws_default" if job.storage_options else None),
    )
    return int(counts["success"])


CONTESTANTS: Final[dict[str, Callable[[Job], int]]] = {
    "raw copy": raw_copy,
    "decode, hash, write": decode_hash_write,
    OURS: ours,
    PROVEN: ours_with_receipt,
    f"{OURS} x 10": ours_ten_times,
    "official SDK": official_sdk,
    "common-ai": common_ai,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=SIZES)
    parser.add_argument("--stores", nargs="+", choices=("file", "s3"), default=("file", "s3"))
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", help="where file:// and the S3 server write (default: the system's temporary one)")
    args = parser.parse_args(argv)
    bounds = Bounds()
    with _stores(args.stores, args.folder) as stores:
        for lines in sorted(args.lines):
            (small_id, small), (batch_id, body) = record(SMALL), record(lines)
            with served({small_id: small, batch_id: body}) as base_url:
                for store, (prefix, options) in stores.items():
                    rehearsal = Job(base_url, small_id, SMALL, prefix, options, _digest(SMALL))
                    job = Job(base_url, batch_id, lines, prefix, options, _digest(lines))
                    runs = in_turns(args.contestants, partial(_run, rehearsal, job), args.repeat)
                    _print(store, lines, len(body), runs)
                    bounds.check(store, lines, runs)
    bounds.report()


class Bounds:
    """The project's own bounds, and whether a run keeps them."""

    def __init__(self) -> None:
        self._results: list[str] = []
        self._missed = False
        self._least: dict[str, int] = {}

    def check(self, store: str, lines: int, runs: Mapping[str, Measurement]) -> None:
        """Compare these runs with the bounds."""
        ours = runs.get(OURS)
        if ours is None:
            return
        floor, peer = runs.get("raw copy"), runs.get("official SDK")
        for name in sorted(runs.keys() & {OURS, PROVEN}) if (store, lines) == ("file", TIMED_LINES) else ():
            if floor:
                self._at_most(f"times the raw copy, {name}", runs[name].seconds / floor.seconds, RAW_COPIES)
            if peer:
                self._at_most(f"of the SDK's time, {name}", runs[name].seconds / peer.seconds, 1 / SDK_SPEED)
        least = self._least.setdefault(store, ours.peak)
        for name, run in runs.items():
            if name.startswith(OURS):
                self._at_most(f"MB more for {lines:,} lines, {store}, {name}", (run.peak - least) / MEGABYTE, GROWTH)

    def _at_most(self, what: str, value: float, bound: float) -> None:
        self._missed |= value > bound
        self._results.append(f"{'kept' if value <= bound else 'MISSED'}: {value:.3g} {what} (at most {bound:g})")

    def report(self) -> None:
        """Print the results; end the process with status 1 if a bound is missed."""
        print("\n" + "\n".join(self._results))
        if self._missed:
            raise SystemExit(1)


def _run(rehearsal: Job, job: Job, name: str) -> Measurement:
    fs, path = url_to_fs(f"{job.uri}/run", **job.storage_options)
    fs.makedirs(path, exist_ok=True)
    folder = fs.unstrip_protocol(path)
    first, second = replace(rehearsal, uri=f"{folder}/first.jsonl"), replace(job, uri=f"{folder}/results.jsonl")
    run = measure(CONTESTANTS[name], second, rehearsal=[first])
    if run.result != job.lines:
        raise RuntimeError(f"{name} landed {run.result} of {job.lines} lines")
    fs.rm(path, recursive=True)
    return run


def _digest(lines: int) -> str:
    return ids_digest(f"{ID_PREFIX}-{number}" for number in range(lines))


def _print(store: str, lines: int, size: int, runs: dict[str, Measurement]) -> None:
    floor, peer = runs.get("raw copy"), runs.get("official SDK")
    head = ["", "seconds", "CPU s", "lines/s", "MB/s", "peak RSS MB", "RSS growth MB", "x raw copy", "SDK / it"]
    rows = [
        [
            name,
            f"{run.seconds:.2f}",
            f"{run.cpu_seconds:.2f}",
            f"{lines / run.seconds:,.0f}",
            f"{size / MEGABYTE / run.seconds:,.0f}",
            f"{run.peak / MEGABYTE:,.0f}",
            f"{run.growth / MEGABYTE:,.0f}",
            f"{run.seconds / floor.seconds:.1f}" if floor else "",
            f"{peer.seconds / run.seconds:.1f}" if peer else "",
        ]
        for name, run in runs.items()
    ]
    print(f"\n{store}: {lines:,} lines, {size / MEGABYTE:,.1f} MB\n\n{table(head, rows)}", flush=True)


def _put(file: Any, item: Any) -> bool:
    file.write(item.to_json(indent=None).encode() + b"\n")
    return True


def _written(fsspec: Any, job: Job, mode: str) -> Any:
    return fsspec.open(job.uri, mode, **job.storage_options)


@contextmanager
def _stores(names: Sequence[str], within: str | None) -> Iterator[dict[str, tuple[str, dict[str, Any]]]]:
    folder = Path(tempfile.mkdtemp(prefix="landing-", dir=within))
    try:
        with s3_server(within) as s3:
            s3.make_bucket(BUCKET)
            _connect_airflow(s3)
            all_stores = {"file": (f"file://{folder}", {}), "s3": (f"s3://{BUCKET}", s3.storage_options)}
            yield {name: all_stores[name] for name in names}
    finally:
        shutil.rmtree(folder)


def _connect_airflow(s3: S3Server) -> None:
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(s3.airflow_connection)


if __name__ == "__main__":
    main()
