"""A seeded simulation of one task whose tries die, whose answers get lost and whose ids other tasks use as well.

Each seed is a schedule of events against the emulator. A failure names its seed, which replays it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any, Final

import pytest

from airflow_batches.api import BatchesClient, BatchesError
from airflow_batches.api.retry import ONCE
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.submission import Receipt, ReconcilePending, UncertainSubmit
from airflow_batches.submission.record import KEY, MemoryStore
from airflow_batches.submission.sender import ACCEPTED_WITHIN, SETTLE_FOR
from tests.samples import some_requests
from tests.unit.submission.helpers import Task, client_of

SCHEDULES: Final = 150
EVENTS: Final = 8
FOREIGN: Final = "claude-sonnet-4-6"
"""The model of other tasks' requests, which have the same custom_ids: results name the model."""
INPUTS: Final = {"first": "claude-haiku-4-5-20251001", "edited": "claude-opus-4-6"}
LOST: Final = (
    Fault(endpoint="create", action="reset"),
    Fault(endpoint="create", action="drop_after_accept"),
    Fault(endpoint="create", action="error_after_accept"),
    Fault(endpoint="create", action="status", status=502),
    Fault(endpoint="create", action="status", status=409),
)
REFUSED: Final = (
    Fault(endpoint="create", action="status", status=402),
    Fault(endpoint="create", action="drop_in_body", after_bytes=50),
    Fault(endpoint="cancel", action="status", status=403),
    Fault(endpoint="list", action="status", status=403),
)


class Died(BaseException):
    """The process was killed."""


class MortalStore(MemoryStore):
    """A store in whose operations the process may die, before or after they took effect."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self.deaths = 0

    def set(self, key: str, value: Any) -> None:
        self._die_perhaps()
        super().set(key, value)
        self._die_perhaps()

    def _die_perhaps(self) -> None:
        if self.deaths and self._random.random() < 0.3:
            self.deaths -= 1
            raise Died


class Life:
    """One schedule: the task, the others, and what the outside world does to them."""

    def __init__(self, emulator: Emulator, seed: int) -> None:
        self.emulator = emulator
        self.random = Random(seed)
        self.store = MortalStore(self.random)
        self.task = Task(emulator, settle_for=SETTLE_FOR, search_for=timedelta())
        self.task.store = self.store
        self.input = "first"
        self.allowed = Counter({"first": 1})
        self.foreign: set[str] = set()

    def run(self) -> None:
        events = [self.try_, self.try_, self.try_, self.others_submit, self.batches_end, self.clear, self.edit]
        for _ in range(EVENTS):
            self.random.choice(events)()
        self.emulator.faults.clear()
        self.store.deaths = 0
        self.finish()

    def try_(self) -> None:
        """One try, in which something goes wrong or not."""
        for fault in self.random.choices((*LOST, *REFUSED, None), k=2):
            if fault is not None:
                self.emulator.fault(fault)
        self.store.deaths = self.random.choice((0, 0, 1))
        try:
            self.check(self.submit())
        except (BatchesError, Died):
            pass  # the next try makes up for it
        finally:
            self.emulator.faults.clear()
        self.check_current()

    def submit(self) -> Receipt:
        # A process of its own: it knows nothing but what is stored.
        self.task.client.close()
        self.task.client = BatchesClient(self.emulator.api_key, base_url=self.emulator.url, retry=ONCE)
        return self.task.try_(some_requests(3, model=INPUTS[self.input]))

    def others_submit(self) -> None:
        """Another task submits requests with the same custom_ids, though not within the same minutes."""
        self.emulator.clock.advance(ACCEPTED_WITHIN.total_seconds() + 1)
        with client_of(self.emulator) as client:
            self.foreign.add(client.create(some_requests(3, model=FOREIGN)).id)
        self.emulator.clock.advance(10)

    def batches_end(self) -> None:
        self.emulator.end_all()

    def clear(self) -> None:
        self.task.clear()

    def edit(self) -> None:
        """A person edits the prompts, and clears the task."""
        self.input = "edited" if self.input == "first" else "first"
        self.allowed[self.input] += 1
        self.task.clear()

    def finish(self) -> None:
        """Retry until the task has its batch, or a person must decide because others used its ids meanwhile."""
        for _ in range(10):
            try:
                receipt = self.submit()
            except ReconcilePending as pending:
                if pending.batch_id is not None:
                    self.emulator.end(pending.batch_id)
                self.emulator.clock.advance(SETTLE_FOR.total_seconds())
                continue
            except UncertainSubmit:
                assert self.foreign
                self.check_money()
                return
            self.check(receipt)
            self.check_money()
            running = [batch["id"] for batch in self.own() if is_running(batch)]
            assert running in ([], [receipt.batch_id]), "a batch that was replaced runs on"
            return
        raise AssertionError("no end")

    def check(self, receipt: Receipt) -> None:
        """The task's batch holds the task's requests."""
        assert self.models()[receipt.batch_id] == INPUTS[self.input], "answers to other requests"

    def check_current(self) -> None:
        """The batch that the record names is canceled only after its successor's id is stored."""
        record = self.store.get(KEY) or {}
        batch_id = record.get("receipt", {}).get("batch_id")
        batch = next((batch for batch in self.emulator.batches() if batch["id"] == batch_id), None)
        assert batch is None or not batch["cancel_initiated_at"], "the task's batch was canceled"

    def check_money(self) -> None:
        made = Counter(self.models().values())
        for name, model in INPUTS.items():
            assert made[model] <= self.allowed[name], f"{made[model]} batches of {name}"
        canceled = {batch["id"] for batch in self.emulator.batches() if batch["cancel_initiated_at"]}
        assert not canceled & self.foreign, "a batch of another task was canceled"

    def models(self) -> dict[str, str]:
        """Each batch and the model of its requests, from the emulator's own store: the API tells it only in results."""
        store = self.emulator._state.store
        return {record.id: store.lines(record).shapes[0].model for record in store.all()}

    def own(self) -> Iterator[dict[str, Any]]:
        return (batch for batch in self.emulator.batches() if batch["id"] not in self.foreign)


def is_running(batch: dict[str, Any]) -> bool:
    return batch["processing_status"] == "in_progress" and not batch["cancel_initiated_at"]


@pytest.mark.parametrize("start", range(0, SCHEDULES, 50))
def test_whatever_happens_each_input_is_paid_once_and_answered_by_its_own_batch(start: int) -> None:
    with Emulator(processing_time=7200.0, cancel_time=0.0) as emulator:
        for seed in range(start, start + 50):
            emulator.reset()
            try:
                Life(emulator, seed).run()
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise
