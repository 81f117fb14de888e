"""When a deferred job is killed: its batches are canceled only if no other runner has the job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator
from airflow_batches.jobs.ledger import PUBLISHED, Lease
from airflow_batches.triggers.job import JobTrigger
from tests.airflows import through_the_database
from tests.samples import some_requests
from tests.unit.jobs.samples import ledger
from tests.unit.triggers.quick import Quick
from tests.unit.triggers.supervisor import Supervisor, TaskInstance

pytestmark = pytest.mark.usefixtures("connection")


class QuickJobTrigger(Quick, JobTrigger):
    """Fires soon."""


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(processing_time=3600.0, cancel_time=3600.0, retry_after=0) as running:
        yield running


@pytest.fixture
def ids(emulator: Emulator) -> list[str]:
    """Three batches under way."""
    with BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        return [client.create(some_requests(2)).id for _ in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "_job").mkdir()
    return tmp_path


def lease(owner: str, *, minutes: int = 2) -> dict[str, Any]:
    """Of a ledger: a lease that expires so many minutes from now."""
    return {"lease": Lease(runner="r1", owner=owner, expires_at=datetime.now(UTC) + timedelta(minutes=minutes))}


def kill(ids: list[str], folder: Path, supervisor: Supervisor, state: str = "failed") -> None:
    supervisor.states = {"run": {"task": state}}
    trigger = QuickJobTrigger(
        conn_id="anthropic_default", batch_ids=ids, path=f"file://{folder}", owner="dag/task/run/-1"
    )
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]  # the stand-in's
    asyncio.run(trigger.on_kill())


@pytest.mark.parametrize(
    ("values", "cancels"),
    [
        (dict, 3),
        (lambda: lease("dag/task/run/-1"), 3),
        (lambda: lease("", minutes=-1), 3),
        (lambda: lease("") | {"state": PUBLISHED}, 3),
        (lambda: lease(""), 0),
        (lambda: lease("other/task/run/-1"), 0),
    ],
    ids=["no lease", "this task's", "an expired one", "published", "a terminal's", "another task's"],
)
def test_the_batches_are_left_to_another_runner_that_has_the_job(
    values: Callable[[], dict[str, Any]], cancels: int, ids: list[str], folder: Path, emulator: Emulator,
    supervisor: Supervisor, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    (folder / "_job/ledger.json").write_bytes(ledger(**values()).to_json())
    kill(ids, folder, supervisor)
    assert [batch["processing_status"] for batch in emulator.batches()].count("canceling") == cancels
    assert ("Runner r1" in caplog.text and "is left to it" in caplog.text) is (cancels == 0)


def test_without_a_ledger_no_other_runner_has_the_job(
    ids: list[str], folder: Path, emulator: Emulator, supervisor: Supervisor
) -> None:
    kill(ids, folder, supervisor)
    assert emulator.counters["cancel"] == 3


def test_a_ledger_that_cannot_be_read_cancels_nothing_and_each_batch_is_named(
    ids: list[str], folder: Path, emulator: Emulator, supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "_job/ledger.json").write_text("{")
    kill(ids, folder, supervisor)
    assert emulator.counters["cancel"] == 0
    assert all(f"no cancel of batch {batch_id} is confirmed" in caplog.text for batch_id in ids)


def test_a_task_that_goes_on_asks_no_store(
    ids: list[str], folder: Path, emulator: Emulator, supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "_job/ledger.json").write_text("{")
    kill(ids, folder, supervisor, "deferred")
    assert emulator.counters["cancel"] == 0
    assert "confirmed" not in caplog.text


def test_only_ids_times_and_uris_are_stored() -> None:
    trigger = JobTrigger(conn_id="c", batch_ids=["a"], wake_at=2.5, path="s3://b/k", storage_conn_id="s", owner="o")
    path, kwargs = trigger.serialize()
    assert path == "airflow_batches.triggers.job.JobTrigger"
    assert kwargs | {"path": "s3://b/k", "storage_conn_id": "s", "owner": "o"} == kwargs
    assert JobTrigger(**through_the_database(path, kwargs)).serialize() == (path, kwargs)
