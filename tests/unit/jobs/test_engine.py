"""What the engine does with failures at awkward moments, in the simulated world without its chances."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random

import pytest

from airflow_batches.api import ApiError
from airflow_batches.jobs.decision import JobLimits
from airflow_batches.jobs.effects import Effects
from airflow_batches.jobs.engine import Engine
from airflow_batches.jobs.errors import JobCanceled, LedgerError
from airflow_batches.jobs.failures import REFUSED_FOR, TROUBLE_FOR
from airflow_batches.jobs.ledger import JobBatch, JobLedger
from airflow_batches.jobs.manifest import JobManifest
from airflow_batches.jobs.steps import Pause
from airflow_batches.jobs.store import SavedLedger
from airflow_batches.landing.errors import LandingError
from tests.unit.jobs.world import ModelApi, ModelFiles, ModelStore, World


class WorldClock:
    """The world's time."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        return self._world.now

    def sleep(self, seconds: float) -> None:
        self._world.now += timedelta(seconds=seconds)


@pytest.fixture
def world() -> World:
    return World(
        random=Random(1), requests=10, per_shard=4, canary=0, generated=False, point=lambda: None, faults=0.0
    )  # fmt: skip


def engine_of(
    world: World, *, store: ModelStore | None = None, files: ModelFiles | None = None, api: ModelApi | None = None,
    cancel: bool = False, name: str = "runner",
) -> Engine:  # fmt: skip
    effects = Effects(
        store=store or ModelStore(world), api=api or ModelApi(world), files=files or ModelFiles(world, name),
        clock=WorldClock(world),
    )  # fmt: skip
    return Engine(effects, JobLimits(max_failure_rate=None), runner=name, owner="test", cancel=cancel)


def test_a_plan_that_failed_is_not_made_again_by_the_same_run(world: World) -> None:
    class FailsOnce(ModelFiles):
        plans = 0

        def plan(self) -> JobLedger:
            self.plans += 1
            if self.plans == 1:
                raise LandingError("the store failed after half of a generator was read")
            return super().plan()

    files = FailsOnce(world, "runner")
    with pytest.raises(LandingError):
        engine_of(world, files=files).run()
    assert files.plans == 1


def test_a_cancel_whose_first_write_failed_still_cancels(world: World) -> None:
    class FailsOnce(ModelStore):
        failed = False

        def save(self, ledger: JobLedger, replaces: SavedLedger | None) -> SavedLedger:
            if not self.failed:
                self.failed = True
                raise LandingError("no answer")
            return super().save(ledger, replaces)

    assert isinstance(engine_of(world).advance(), Pause)
    with pytest.raises(JobCanceled):
        engine_of(world, store=FailsOnce(world), cancel=True, name="canceler").run()


@pytest.mark.parametrize(("status", "limit"), [(401, REFUSED_FOR), (503, TROUBLE_FOR)])
def test_a_failure_that_may_pass_is_raised_once_it_has_lasted(world: World, status: int, limit: timedelta) -> None:
    class Fails(ModelApi):
        def look(self, batches: object) -> dict[str, object]:  # type: ignore[override]
            raise ApiError(status, "some_error", "no")

    began = world.now
    with pytest.raises(ApiError):
        engine_of(world, api=Fails(world)).run()
    assert limit <= world.now - began < limit + timedelta(minutes=5)


def test_a_wrong_key_ends_a_job_at_once_if_nothing_is_under_way(world: World) -> None:
    class Refuses(ModelApi):
        def create(self, *args: object, **options: object) -> JobBatch:
            raise ApiError(401, "authentication_error", "invalid x-api-key", from_api=True)

    began = world.now
    with pytest.raises(ApiError, match="invalid x-api-key"):
        engine_of(world, api=Refuses(world)).run()
    assert world.now - began < timedelta(minutes=1)


def test_nothing_is_sent_while_the_ledger_is_damaged(world: World) -> None:
    engine_of(world).advance()
    sent = len(world.batches)
    world.damaged = True
    with pytest.raises(LedgerError):
        engine_of(world, name="second").run()
    assert len(world.batches) == sent
    world.damaged = False
    assert isinstance(engine_of(world, name="third").run(), JobManifest)
