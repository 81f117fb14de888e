"""A batch that has ended, its results according to the API, and the objects that landed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Final

import msgspec

from airflow_batches.api import BatchesClient, RetryPolicy
from airflow_batches.emulator import Emulator
from airflow_batches.landing import Manifest, land
from tests.samples import some_requests

QUICK: Final = RetryPolicy(attempts=3, base=0.001, cap=0.01)
ONCE: Final = RetryPolicy(attempts=1)
COUNT: Final = 20
IDS: Final = [f"r-{number}" for number in range(COUNT)]
"""The custom_ids of a batch of `COUNT`."""


def client_of(emulator: Emulator, **options: Any) -> BatchesClient:
    """A client that retries nothing."""
    return BatchesClient(emulator.api_key, base_url=emulator.url, retry=ONCE, **options)


def ended_batch(client: BatchesClient, count: int = COUNT, **params: Any) -> str:
    """The id of a batch of requests `r-0` on."""
    return client.create(some_requests(count, **params)).id


def landed(client: BatchesClient, batch_id: str, folder: Path, **options: Any) -> Manifest:
    """The manifest of results at `out.jsonl` in a folder."""
    return land(client, batch_id, f"file://{folder}/out.jsonl", **{"retry": QUICK, **options})


def lines_of_the_api(client: BatchesClient, batch_id: str) -> list[bytes]:
    """The result lines as the API sends them, sorted, without newlines."""
    with client.open_results(batch_id) as response:
        return sorted(response.content.split(b"\n"))


def landed_lines(path: Path) -> list[bytes]:
    """The landed lines, sorted, without newlines."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert not data or data.endswith(b"\n")
    return sorted(data.splitlines())


def ids_in(path: Path) -> list[str]:
    """The custom_ids of the landed lines, sorted."""
    return sorted(msgspec.json.decode(line)["custom_id"] for line in landed_lines(path))


def names_in(folder: Path) -> set[str]:
    """Everything in a folder, hidden files too."""
    return {entry.name for entry in folder.iterdir()}


def assert_whole(client: BatchesClient, batch_id: str, folder: Path) -> None:
    """A folder holds the results as the API sends them, and nothing beside them and the manifest."""
    assert landed_lines(folder / "out.jsonl") == lines_of_the_api(client, batch_id)
    assert names_in(folder) == {"out.jsonl", "out.jsonl.manifest.json"}
