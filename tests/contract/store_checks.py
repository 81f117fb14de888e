"""What a job must be able to do in an object store: one script, run in a process that has the store's packages.

`python store_checks.py` with EMULATOR_URL, EMULATOR_KEY, BUCKET (`gs://bucket`) and fsspec's configuration of the store
in the environment runs every check and prints a JSON object: check -> "ok" or a traceback.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any, Final

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.jobs import JobManifest, run_job
from airflow_batches.landing import LandingRefused, land
from airflow_batches.tables import read_results

BUCKET: Final = os.environ["BUCKET"]
ROWS: Final = 100
CHECKS: Final[list[Callable[[BatchesClient], None]]] = []


def check(function: Callable[[BatchesClient], None]) -> Callable[[BatchesClient], None]:
    CHECKS.append(function)
    return function


def answer(client: BatchesClient, **options: Any) -> JobManifest:
    """Have a folder of Parquet files answered in another one."""
    return run_job(
        client, path=f"{BUCKET}/answers/", rows=f"{BUCKET}/rows/", prompt="About ${text}", key="id",
        model="claude-haiku-4-5", defaults={"max_tokens": 20}, max_requests=40, poll_interval=0.1, **options,
    )  # fmt: skip


@check
def rows_of_a_folder_are_answered_once(client: BatchesClient) -> None:
    store, bucket = fsspec.url_to_fs(BUCKET)
    if not store.exists(bucket):
        store.mkdir(bucket)
    for number in range(2):
        start = number * ROWS // 2
        table = pa.table({"id": range(start, start + ROWS // 2), "text": [f"text {n}" for n in range(ROWS // 2)]})
        with fsspec.open(f"{BUCKET}/rows/{number}.parquet", "wb") as file:
            pq.write_table(table, file)
    first = answer(client, dedupe=False)
    assert first.counts["succeeded"] == ROWS, first.counts
    assert answer(client, dedupe=False) == first
    assert len([*client.list_all()]) == 3


@check
def the_answers_are_read_in_the_order_of_the_rows(client: BatchesClient) -> None:
    found = read_results(f"{BUCKET}/answers/").to_arrow()
    assert found["id"].to_pylist() == [*range(ROWS)]
    assert found["answer"].null_count == 0


@check
def requests_of_an_object_are_answered_compressed(client: BatchesClient) -> None:
    with fsspec.open(f"{BUCKET}/requests.jsonl", "wb") as file:
        file.writelines(json.dumps({"custom_id": f"r{n}", "prompt": "Hello"}).encode() + b"\n" for n in range(30))
    manifest = run_job(
        client, f"{BUCKET}/requests.jsonl", f"{BUCKET}/lines/", model="claude-haiku-4-5", defaults={"max_tokens": 20},
        format="jsonl.gz", poll_interval=0.1,
    )  # fmt: skip
    assert manifest.counts["succeeded"] == 30, manifest.counts
    with fsspec.open(manifest.results[0].uri, compression="gzip") as file:
        assert {json.loads(line)["custom_id"] for line in file} == {f"r{n}" for n in range(30)}


@check
def a_folder_is_no_object(client: BatchesClient) -> None:
    batch = next(client.list_all())
    with pytest.raises(LandingRefused, match="is a folder"):
        land(client, batch.id, f"{BUCKET}/answers")


def main() -> None:
    outcome = {}
    with BatchesClient(os.environ["EMULATOR_KEY"], base_url=os.environ["EMULATOR_URL"]) as client:
        for function in CHECKS:
            try:
                function(client)
            except Exception:  # noqa: BLE001 - reported to the caller
                outcome[function.__name__] = traceback.format_exc()
            else:
                outcome[function.__name__] = "ok"
    print(json.dumps({"checks": outcome}))  # noqa: T201


if __name__ == "__main__":
    main()
