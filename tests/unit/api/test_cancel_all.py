"""Several batches are canceled at the same time, and each is confirmed or named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_batches.api import BatchesClient, CancelUnconfirmed
from airflow_batches.api.cancel_all import AT_ONCE, cancel_all
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from tests.samples import some_requests


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0, cancel_time=3600.0) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchesClient]:
    with BatchesClient(emulator.api_key, base_url=emulator.url, retry=ONCE) as running:
        yield running


@pytest.fixture
def ids(client: BatchesClient) -> list[str]:
    """More batches than are canceled at the same time."""
    return [client.create(some_requests(1)).id for _ in range(2 * AT_ONCE + 1)]


def running(emulator: Emulator) -> set[str]:
    return {batch["id"] for batch in emulator.batches() if batch["processing_status"] == "in_progress"}


def test_every_batch_is_canceled(emulator: Emulator, client: BatchesClient, ids: list[str]) -> None:
    assert cancel_all(client, ids, reason="a test") == {}
    assert running(emulator) == set()


def test_no_batch_is_nothing_to_do(client: BatchesClient) -> None:
    assert cancel_all(client, [], reason="a test") == {}


def test_a_cancel_that_hangs_delays_no_other_and_is_named_when_the_time_is_over(
    emulator: Emulator, client: BatchesClient, ids: list[str]
) -> None:
    emulator.fault(Fault(endpoint="cancel", action="stall", batch_id=ids[0], seconds=60, times=None))
    emulator.fault(Fault(endpoint="get", action="stall", batch_id=ids[0], seconds=60, times=None))
    found = cancel_all(client, ids, reason="a test", timeout_s=3.0, look_first=False)
    assert list(found) == [ids[0]]
    assert isinstance(found[ids[0]], CancelUnconfirmed)
    assert f"Canceling {ids[0]} is not confirmed after 3 s: it may run and be billed" in str(found[ids[0]])
    assert running(emulator) == set(), "the first one as well, unknown to the client"


def test_each_cancel_that_is_refused_is_named(emulator: Emulator, client: BatchesClient, ids: list[str]) -> None:
    for batch_id in ids[:2]:
        emulator.fault(Fault(endpoint="cancel", action="status", status=403, batch_id=batch_id, times=None))
    found = cancel_all(client, ids, reason="a test")
    assert set(found) == set(ids[:2]) == running(emulator)
    assert all(batch_id in str(error) for batch_id, error in found.items())
