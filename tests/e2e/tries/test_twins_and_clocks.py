"""Batches of earlier runs with the same custom_ids, and clocks that differ: no try takes a batch but its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from airflow_batches.emulator import Fault
from tests.e2e.tries.one_try import ANSWERED, BEFORE_ANY_BATCH, COUNT, LAST_PIECE
from tests.e2e.tries.task import Task
from tests.samples import some_requests

DEATHS = {**BEFORE_ANY_BATCH, LAST_PIECE: LAST_PIECE, **ANSWERED}
LOST = "before the answer"


@dataclass
class Twins:
    """Batches of an earlier run with the same custom_ids: one has ended, one runs."""

    ended: str
    running: str

    @classmethod
    def of(cls, task: Task) -> Twins:
        requests = some_requests(COUNT)
        with task.client() as client:
            twins = cls(client.create(requests).id, client.create(requests).id)
        task.emulator.end(twins.ended)
        return twins


def die(task: Task, death: str, **changes: object) -> None:
    """Let a try die at a point, or after its create was accepted and before the answer."""
    if death != LOST:
        task.dies(DEATHS[death], **changes)
        return
    batches = len(task.batch_ids)
    task.emulator.fault(Fault(endpoint="create", action="stall", seconds=60))
    task.dies_when(lambda: len(task.batch_ids) > batches, **changes)


@pytest.mark.parametrize("death", [*DEATHS, LOST])
def test_older_twins_are_neither_adopted_nor_canceled_nor_in_the_way(task: Task, death: str) -> None:
    twins = Twins.of(task)
    die(task, death)
    batch_id = task.submits()
    assert task.batch_ids == [batch_id, twins.running, twins.ended]
    assert task.record["receipt"]["batch_id"] == batch_id
    assert task.canceled == []


@pytest.mark.parametrize("death", ["before the id was stored", LOST])
def test_without_a_store_older_twins_are_neither_adopted_nor_canceled_nor_in_the_way(task: Task, death: str) -> None:
    """They were created some minutes before the run, which is no more than clocks may differ by."""
    twins = Twins.of(task)
    task.emulator.clock.advance(180)
    began = datetime.now(UTC)
    die(task, death, stored=False, run_started=began)
    batch_id = task.submits(stored=False, run_started=began)
    assert task.batch_ids == [batch_id, twins.running, twins.ended]
    assert task.canceled == []


CLOCKS: dict[str, tuple[float, tuple[float, float]]] = {
    "the API's is ahead": (600, (0, 0)),
    "the workers' are ahead": (0, (600, 600)),
    "the workers' are behind": (0, (-600, -600)),
    "the first worker's is ahead, the second's behind": (0, (600, -600)),
    "the first worker's is behind, the second's ahead": (0, (-600, 600)),
}
"""By how many seconds the clocks of the API, and of the workers of the first and second try, are ahead."""


@pytest.mark.parametrize("clocks", CLOCKS)
@pytest.mark.parametrize("death", ["within the body", "after the intent was stored", "before the id was stored", LOST])
def test_clocks_that_are_ten_minutes_off_make_no_second_batch(task: Task, clocks: str, death: str) -> None:
    api, (first, second) = CLOCKS[clocks]
    twins = Twins.of(task)
    task.emulator.clock.advance(api)
    die(task, death, clock_ahead_s=first)
    batch_id = task.submits(clock_ahead_s=second)
    assert task.batch_ids == [batch_id, twins.running, twins.ended]
    assert task.canceled == []


@pytest.mark.parametrize(
    ("api", "airflow", "worker", "found"),
    [
        (600, 0, 0, True),
        (0, 600, 600, False),
        (0, -600, -600, True),
        (0, 0, 600, True),
        (0, 0, -600, False),
    ],
    ids=["the API's", "Airflow's", "Airflow's, behind", "the worker's", "the worker's, behind"],
)
def test_without_a_store_a_clock_that_is_ten_minutes_ahead_makes_no_second_batch(
    task: Task, api: float, airflow: float, worker: float, found: bool
) -> None:
    """Airflow's clock dates the run. Where it cannot be known whether the run had begun, a person decides."""
    twins = Twins.of(task)
    task.emulator.clock.advance(180 + api)
    own = {
        "stored": False,
        "run_started": datetime.now(UTC) + timedelta(seconds=180 + airflow),
        "clock_ahead_s": 180 + worker,
    }
    die(task, LOST, **own)
    (batch_id, *_) = task.batch_ids
    task.emulator.end(batch_id)
    if found:
        assert task.submits(**own) == batch_id
    else:
        task.emulator.end(twins.running)
        assert f"may be that of another run: {batch_id}" in task.fails(**own)
    assert task.batch_ids == [batch_id, twins.running, twins.ended]
    assert task.canceled == []
