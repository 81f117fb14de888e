"""What the tests of the submission share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator
from airflow_batches.submission import Receipt, open_source
from airflow_batches.submission.receipt import MemoryStore
from airflow_batches.submission.submit import submit

SOON = timedelta(seconds=0.2)


def client_of(emulator: Emulator) -> BatchesClient:
    return BatchesClient(emulator.api_key, base_url=emulator.url)


class Task:
    """A task with its store: each `try_` is one try of it."""

    def __init__(self, emulator: Emulator, **options: Any) -> None:
        self.client = client_of(emulator)
        self.store = MemoryStore()
        self.options: dict[str, Any] = {"settle_for": SOON, **options}

    def try_(self, requests: Any, **options: Any) -> Receipt:
        with open_source(requests) as source:
            return submit(self.client, source, **{"store": self.store, **self.options, **options})


def jsonl(path: Path, requests: Iterable[Any]) -> str:
    """A JSONL file, as its URI."""
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return f"file://{path}"


def one_by_one(data: bytes) -> Iterator[bytes]:
    """Bytes cut into the smallest blocks there are."""
    return (data[i : i + 1] for i in range(len(data)))
