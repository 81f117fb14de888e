"""The job engine in a simulated world: thousands of seeded schedules of kills, doubled runners, delays and failures.

A failure names its seed: `Schedule(seed).play()` replays it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from typing import Final

import pytest

from airflow_batches.jobs.decision import BatchState
from airflow_batches.jobs.effects import Intend
from airflow_batches.jobs.ledger import JobBatch, JobLedger, PlannedShard
from airflow_batches.jobs.manifest import JobManifest
from airflow_batches.jobs.store import SavedLedger
from tests.unit.jobs.schedule import SOUND, Parts, Schedule, Violation
from tests.unit.jobs.world import LooksOnly, ModelApi, ModelFiles, ModelStore, journaled

pytestmark = pytest.mark.no_cover
"""Measuring coverage makes the simulation three times slower, and other tests cover the engine."""

SCHEDULES: Final = 10_000
PARTS: Final = 20
"""Tests among which the schedules are spread, so that several processes share them."""
ENOUGH: Final = 3_000
"""Schedules in which a broken effect must show."""


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_schedule_keeps_the_promises(part: int) -> None:
    for seed in range(part, SCHEDULES, PARTS):
        Schedule(seed).play()


@pytest.mark.parametrize("part", range(2))
def test_every_schedule_keeps_the_promises_in_a_store_without_conditional_writes(part: int) -> None:
    for seed in range(part, SCHEDULES // 10, 2):
        Schedule(seed, {**SOUND, "store": journaled}).play()


def test_a_seed_replays_its_schedule() -> None:
    for seed in range(20):
        first, second = Schedule(seed).play(), Schedule(seed).play()
        assert first.world.batches == second.world.batches
        assert first.world.stored == second.world.stored


def test_most_schedules_end_in_a_published_job() -> None:
    ends = [Schedule(seed).play().end for seed in range(100)]
    assert sum(isinstance(end, JobManifest) for end in ends) > 50


class Unfenced(ModelStore):
    """Writes over whatever is stored."""

    def may_replace(self, replaces: SavedLedger | None) -> bool:
        return not self._world.damaged


class RecordsLate(ModelApi):
    """Sends, then records that it will."""

    def create(self, shard: PlannedShard, intend: Intend, *, model: str | None) -> JobBatch:
        batch = super().create(shard, lambda _: None, model=model)
        intend(self._intent(shard))
        return batch


class CancelsBlindly(ModelApi):
    """Asks for a cancel, and takes that for done."""

    def cancel(self, batch: JobBatch) -> BatchState:
        self._world.point()
        if not self._world.unlucky():
            super().cancel(batch)
        return BatchState.CANCELING


class PublishesFirst(ModelFiles):
    """Publishes the manifest before the parts."""

    def publish(self, ledger: JobLedger) -> JobManifest:
        names = {batch.id for batch, _ in ledger.landed}
        kept = {name: part for name, part in self._world.parts.items() if name not in names}
        manifest = super().publish(ledger)
        parts, self._world.parts = self._world.parts, {**kept, **{name: {} for name in names}}
        self._world.point()
        self._world.parts = parts
        return manifest


class ForgetsLanded(ModelFiles):
    """Plans a round from all lines, answered ones too."""

    def next_round(self, ledger: JobLedger) -> tuple[PlannedShard, ...]:
        again = tuple(request for batch, _ in ledger.landed for request in self._world.landed[batch.id])
        name = f"all-{ledger.rounds}"
        self._world.objects[name] = again
        return self._cut(name, first=len(ledger.shards), round_=ledger.rounds + 1)


BROKEN: Final[dict[str, Parts]] = {
    "no fence": {"store": Unfenced},
    "no conditional writes, and no records of creates": {"store": LooksOnly},
    "record after send": {"api": RecordsLate},
    "cancel not verified": {"api": CancelsBlindly},
    "manifest before parts": {"files": PublishesFirst},
    "answered requests sent again": {"files": ForgetsLanded},
}


@pytest.mark.parametrize("name", BROKEN)
def test_without_a_guard_a_schedule_fails_and_its_seed_replays_that(name: str) -> None:
    parts: Parts = {**SOUND, **BROKEN[name]}
    message = _first_violation(parts)
    seed = int(message.removeprefix("seed ").partition(":")[0])
    with pytest.raises(Violation) as again:
        Schedule(seed, parts).play()
    assert str(again.value) == message
    Schedule(seed).play()


def _first_violation(parts: Parts) -> str:
    for seed in count():
        assert seed < ENOUGH, "no schedule noticed the broken effect"
        try:
            Schedule(seed, parts).play()
        except Violation as violation:
            return str(violation)
    raise AssertionError
