"""What the tests of the submission share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator
from airflow_batches.submission import Attempt, Receipt, RecordStore, open_source
from airflow_batches.submission.record import KEY, STALLED_S, MemoryStore
from airflow_batches.submission.submit import submit
from tests.records import state_of

SOON = timedelta(seconds=0.2)


def client_of(emulator: Emulator) -> BatchesClient:
    return BatchesClient(emulator.api_key, base_url=emulator.url)


ATTEMPT = frozenset(Attempt.__dataclass_fields__)


class Task:
    """A task with its store: each `try_` is one try of it, `clear` is what a person does."""

    def __init__(self, emulator: Emulator, **options: Any) -> None:
        self.client = client_of(emulator)
        self.store = MemoryStore()
        self.options: dict[str, Any] = {"settle_for": SOON, "search_every_s": 0.05, "missing_after": SOON, **options}
        self.generation = 0

    def try_(self, requests: Any, **options: Any) -> Receipt:
        """Submit as the next try; options are those of `submit` and of `Attempt`."""
        given = {"generation": self.generation, **self.options, **options}
        attempt = Attempt(**{name: given.pop(name) for name in ATTEMPT & given.keys()})
        records = RecordStore(given.pop("store", self.store), stalled_s=given.pop("stalled_s", STALLED_S))
        with open_source(requests) as source:
            return submit(self.client, source, records=records, attempt=attempt, **given)

    def clear(self) -> None:
        """Ask for another run of the task."""
        self.generation += 1

    @property
    def state(self) -> str:
        """What the record says: `intent`, `submitted`, or `none`."""
        return state_of(self.store.get(KEY))


def jsonl(path: Path, requests: Iterable[Any]) -> str:
    """A JSONL file, as its URI."""
    path.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return f"file://{path}"


def one_by_one(data: bytes) -> Iterator[bytes]:
    """Bytes cut into the smallest blocks there are."""
    return (data[i : i + 1] for i in range(len(data)))
