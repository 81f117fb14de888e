"""Submitting requests: ours, a raw streamed POST, the official SDK.

    python -m benchmarks.submission                   # all sizes; a list, file:// and S3
    python -m benchmarks.submission --requests 100000 --sources file --repeat 5
    python -m benchmarks.submission --plan            # a million requests cut into shards

Each figure is the median run of several, each in a process of its own, with the imports done and a list in memory
before the clock starts, against the emulator in another process. A request is about 2 kB: 100,000 are 202 MB.

- raw POST: the ready body from where it lies, 256 kB at a time, with its length. Nothing is looked at.
- airflow-batches: JSONL (or the list) checked, counted, digested, then streamed.
- official SDK: JSONL loaded into a list, which is all that `messages.batches.create` takes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from benchmarks._measure import MEGABYTE, Measurement, in_turns, measure, table
from tests.servers import s3_server

SIZES: Final = (1_000, 10_000, 100_000)
SOURCES: Final = ("list", "file", "s3")
BUCKET: Final = "submission"
KEY: Final = "sk-ant-bench"
BLOCK: Final = 1 << 18
TEXT: Final = "The quick brown fox jumps over the lazy dog. " * 42
PLANNED: Final = 1_000_000


@dataclass(frozen=True)
class Job:
    """What every contestant is given: requests as a list or the URI of JSONL, their body as bytes or a URI.

    `connection` is the Airflow connection to what the URIs name.
    """

    api: str
    requests: list[dict[str, Any]] | str
    body: bytes | str
    count: int
    storage_options: Mapping[str, Any]
    connection: str | None = None


def ours(job: Job) -> int:
    from airflow_batches.api import BatchesClient
    from airflow_batches.hooks.stores import airflow_store
    from airflow_batches.submission import open_source
    from airflow_batches.submission.submit import submit

    open_store = airflow_store(job.connection)
    with BatchesClient(KEY, base_url=job.api) as client, open_source(job.requests, open_store=open_store) as source:
        return submit(client, source).requests


def raw_post(job: Job) -> int:
    headers = {"x-api-key": KEY, "anthropic-version": "2026-10-21", "content-type": "application/json"}
    url = f"{job.api}/v1/messages/batches"
    body = _InMemory(job.body) if isinstance(job.body, bytes) else _Stored(job.body, job.storage_options)
    answer = requests.post(url, data=body, headers=headers, timeout=600)  # type: ignore[arg-type]  # any iterable
    answer.raise_for_status()
    return sum(answer.json()["request_counts"].values())


def official_sdk(job: Job) -> int:
    import anthropic
    import fsspec  # type: ignore[import-untyped]

    loaded = job.requests
    if isinstance(loaded, str):
        with fsspec.open(loaded, "rb", **job.storage_options) as file:
            loaded = [json.loads(line) for line in file.read().splitlines()]
    with anthropic.Anthropic(api_key=KEY, base_url=job.api, timeout=600) as client:
        counts = client.messages.batches.create(requests=loaded).request_counts  # type: ignore[arg-type]  # plain dicts
    return counts.processing + counts.succeeded


def plan(uri: str) -> int:
    from airflow_batches.submission.shards import split_requests

    return sum(shard.requests for shard in split_requests(uri))


class _InMemory:
    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[memoryview]:
        return (self._body[start : start + BLOCK] for start in range(0, len(self), BLOCK))


class _Stored:
    def __init__(self, uri: str, storage_options: Mapping[str, Any]) -> None:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        self._fs, self._path = url_to_fs(uri, **storage_options)

    def __len__(self) -> int:
        return int(self._fs.size(self._path))

    def __iter__(self) -> Iterator[bytes]:
        with self._fs.open(self._path, "rb", block_size=16 << 20) as file:
            yield from iter(lambda: file.read(BLOCK), b"")


Contestant = Callable[[Job], int]
CONTESTANTS: Final[dict[str, tuple[Contestant, Sequence[str]]]] = {
    "raw POST": (raw_post, ("fsspec", "s3fs")),
    "airflow-batches": (ours, ("airflow_batches.submission.submit", "airflow_batches.submission.source", "s3fs")),
    "official SDK": (official_sdk, ("anthropic", "fsspec", "s3fs")),
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, nargs="+", default=SIZES)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=[*CONTESTANTS])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--plan", action="store_true", help=f"cut {PLANNED:,} requests into shards, and nothing else")
    parser.add_argument("--folder", help="where requests and the S3 server's objects lie (default: the temporary one)")
    args = parser.parse_args(argv)
    if args.plan:
        _plan(args.folder)
        return
    smallest: dict[tuple[str, str], Measurement] = {}
    with _places(args.folder) as places:
        for count in sorted(args.requests):
            for place in places.values():
                _write(place.folder, count)
            for source in args.sources:
                _compare(source, places, count, args, smallest)


@dataclass(frozen=True)
class _Place:
    folder: Path
    uri: str
    storage_options: Mapping[str, Any]


def _compare(
    source: str,
    places: Mapping[str, _Place],
    count: int,
    args: argparse.Namespace,
    smallest: dict[tuple[str, str], Measurement],
) -> None:
    runs = in_turns(args.contestants, lambda name: _run(name, source, places, count), args.repeat)
    for name, run in runs.items():
        smallest.setdefault((source, name), run)
    floor, peer = runs.get("raw POST"), runs.get("official SDK")
    size = (places["file"].folder / "body.json").stat().st_size
    head = ["", "seconds", "CPU s", "peak RSS MB", "RSS growth MB", "more than smallest MB", "x raw POST", "SDK / it"]
    rows = [
        [
            name,
            f"{run.seconds:.2f}",
            f"{run.cpu_seconds:.2f}",
            f"{run.peak / MEGABYTE:,.0f}",
            f"{run.growth / MEGABYTE:,.0f}",
            f"{(run.growth - smallest[source, name].growth) / MEGABYTE:,.0f}",
            f"{run.seconds / floor.seconds:.1f}" if floor else "",
            f"{peer.seconds / run.seconds:.1f}" if peer else "",
        ]
        for name, run in runs.items()
    ]
    print(f"\n{source}: {count:,} requests, {size / MEGABYTE:,.1f} MB\n\n{table(head, rows)}", flush=True)


def _run(name: str, source: str, places: Mapping[str, _Place], count: int) -> Measurement:
    contestant, imports = CONTESTANTS[name]
    with _emulator() as api:
        run = measure(contestant, _job(api, source, places, count), imports=imports)
    if run.result != count:
        raise RuntimeError(f"{name} submitted {run.result} of {count} requests")
    return run


def _job(api: str, source: str, places: Mapping[str, _Place], count: int) -> Job:
    if source == "list":
        return Job(api, [*_requests(count)], (places["file"].folder / "body.json").read_bytes(), count, {})
    place = places[source]
    uris = f"{place.uri}/requests.jsonl", f"{place.uri}/body.json"
    return Job(api, *uris, count, place.storage_options, "aws_default" if place.storage_options else None)


def _requests(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        messages = [{"role": "user", "content": f"{number} {TEXT}"}]
        params = {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": messages}
        yield {"custom_id": f"row-{number:07d}", "params": params}


def _write(folder: Path, count: int) -> None:
    with (folder / "requests.jsonl").open("w") as lines, (folder / "body.json").open("w") as body:
        body.write('{"requests":[')
        for number, request in enumerate(_requests(count)):
            text = json.dumps(request, separators=(",", ":"))
            lines.write(text + "\n")
            body.write("," * (number > 0) + text)
        body.write("]}")


def write_jsonl(path: Path, count: int) -> None:
    with path.open("w") as lines:
        lines.writelines(json.dumps(request) + "\n" for request in _requests(count))


def _plan(within: str | None) -> None:
    folder = Path(tempfile.mkdtemp(prefix="submission-", dir=within))
    try:
        rows = []
        for count in (1_000, PLANNED):
            write_jsonl(folder / "requests.jsonl", count)
            size = (folder / "requests.jsonl").stat().st_size
            run = measure(plan, f"file://{folder}/requests.jsonl", imports=["airflow_batches.submission.shards"])
            rows.append(
                [f"{count:,}", f"{size / MEGABYTE:,.0f}", f"{run.seconds:.2f}", f"{run.growth / MEGABYTE:,.0f}"]
            )
        print(table(["requests", "MB", "seconds", "RSS growth MB"], rows))
    finally:
        shutil.rmtree(folder)


@contextmanager
def _places(within: str | None) -> Iterator[dict[str, _Place]]:
    folder = Path(tempfile.mkdtemp(prefix="submission-", dir=within))
    try:
        with s3_server(within) as s3:
            bucket = s3.make_bucket(BUCKET)
            os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(s3.airflow_connection)
            yield {
                "file": _Place(folder, f"file://{folder}", {}),
                "s3": _Place(bucket, f"s3://{BUCKET}", s3.storage_options),
            }
    finally:
        shutil.rmtree(folder)


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
