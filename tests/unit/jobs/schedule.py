"""One seeded schedule: runners that are killed, doubled and delayed, a world that fails, and what must always hold.

Runners are greenlets: each call of the world's `point` gives the turn back to the scheduler, which chooses the next.
After `CHAOS` turns the weather is calm, and every run has generous limits; then the job must come to an end: published,
canceled, or given to a person, because it is uncertain whether a create made a batch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from greenlet import greenlet  # type: ignore[import-untyped]

from airflow_batches.api.errors import BatchesError
from airflow_batches.jobs.decision import BatchState, JobLimits
from airflow_batches.jobs.effects import Effects
from airflow_batches.jobs.engine import Engine
from airflow_batches.jobs.errors import JobCanceled, JobStopped
from airflow_batches.jobs.manifest import JobManifest
from airflow_batches.jobs.progress import progress_of
from tests.unit.jobs.world import CEILING, Died, ModelApi, ModelFiles, ModelStore, World

CHAOS: Final = 100
CALM: Final = 4_000
"""Turns in which a job must end once nothing fails any more: many times what the longest took."""

Parts = Mapping[str, Callable[..., Any]]
SOUND: Final[Parts] = {"store": ModelStore, "api": ModelApi, "files": ModelFiles}


class Violation(AssertionError):
    """An invariant does not hold; the message names the seed."""


class Runner:
    """One process that runs the job."""

    def __init__(
        self, schedule: Schedule, name: str, limits: JobLimits, *, cancel: bool, again: bool, owner: str
    ) -> None:
        self.wakes_at: datetime = schedule.world.now
        self.ended: BaseException | JobManifest | None = None
        self.cancel = cancel
        world, parts = schedule.world, schedule.parts
        effects = Effects(
            store=parts["store"](world), api=parts["api"](world), files=parts["files"](world, name), clock=self
        )
        self._world = world
        self._skew = timedelta(seconds=world.random.uniform(-20, 20))
        self._engine = Engine(
            effects, limits, runner=name, owner=owner, cancel=cancel, resend_canceled=again, reopen=again
        )
        self.greenlet = greenlet(self._run)

    def _run(self) -> None:
        try:
            self.ended = self._engine.run()
        except (BatchesError, Died) as error:
            self.ended = error

    def now(self) -> datetime:
        return self._world.now + self._skew

    def sleep(self, seconds: float) -> None:
        self.wakes_at = self._world.now + timedelta(seconds=seconds)
        self._world.point()


@dataclass
class Schedule:
    """A run of one seed.

    :param parts: the classes of the effects; tests pass broken ones.
    """

    seed: int
    parts: Parts = field(default_factory=lambda: SOUND)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        chance = self.random
        self.world = World(
            random=chance, requests=chance.randint(1, 40), per_shard=chance.randint(3, 15),
            canary=chance.choice([0, 0, 1, 3]), generated=chance.random() < 0.5,
            point=self._point, faults=chance.choice([0.0, 0.05, 0.2]),
        )  # fmt: skip
        self.world.canary = min(self.world.canary, self.world.requests - 1)
        self.cap = chance.choice([None, None, Decimal(chance.randint(5, 200))])
        self.kills = chance.choice([0.0, 0.02, 0.1])
        self.cancels = chance.random() < 0.25
        self.calm = False
        self.runners: list[Runner] = []
        self.started = 0
        self.end: BaseException | JobManifest | None = None
        self.scheduler = greenlet.getcurrent()

    def _point(self) -> None:
        self.scheduler.switch()

    def limits(self) -> JobLimits:
        if self.calm:
            return JobLimits(max_cost_usd=self.cap, max_failure_rate=None, on_missing="resubmit", poll_interval=900.0)
        chance = self.random
        return JobLimits(
            max_cost_usd=self.cap, max_queued=chance.choice([None, 20]), rounds=chance.randint(1, 3),
            max_failure_rate=chance.choice([None, 0.5]), on_missing=chance.choice(["fail", "resubmit"]),
            poll_interval=chance.choice([60.0, 300.0, 900.0]),
        )  # fmt: skip

    def play(self) -> Schedule:
        """Run until the job has come to an end in calm weather."""
        for _ in range(CHAOS):
            self._event()
            self._turn()
        self._calm_down()
        for _ in range(CALM):
            if self.end is not None and not self.runners:
                return self._check_end()
            self._turn()
        raise self._violation("the job has no end")

    def _calm_down(self) -> None:
        self.check_budget()
        self.world.faults = self.kills = 0.0
        self.world.damaged = False
        self.world.credit = True
        self.calm = True
        self.cap = None if self.cap is None else self.cap * 100
        self.end = None

    def _event(self) -> None:
        """Let something happen outside the runners, perhaps."""
        chance = self.random.random()
        if chance < 0.02:
            self.world.now += timedelta(seconds=self.random.uniform(0, 5000))
        elif chance < 0.03:
            self.world.credit = not self.world.credit
        elif chance < 0.035 and self.world.stored:
            self.world.damaged = not self.world.damaged
        elif chance < 0.04 and self.world.batches:
            self._delete()
        elif chance < 0.06 or not self.runners:
            self._start(cancel=self.cancels and self.random.random() < 0.3)

    def _delete(self) -> None:
        """Delete a batch as a person may. One that is searched for cannot be told from one that never was."""
        known = sorted(self._known_batches())
        if known and self.world.batches[known[0]].state(self.world.now) is BatchState.ENDED:
            self.world.batches[known[0]].deleted = True

    def _start(self, *, cancel: bool = False) -> None:
        self.started += 1
        owner = self.random.choice(["", "task"])
        again = not cancel and self.random.random() < 0.5
        self.runners.append(
            Runner(self, f"runner-{self.started}", self.limits(), cancel=cancel, again=again, owner=owner)
        )

    def _turn(self) -> None:
        if not self.runners:
            self._start()
        awake = [runner for runner in self.runners if runner.wakes_at <= self.world.now]
        if not awake or self.random.random() < 0.02:
            self.world.now = max(self.world.now, min(runner.wakes_at for runner in self.runners))
            awake = [runner for runner in self.runners if runner.wakes_at <= self.world.now]
        runner = awake[0] if len(awake) == 1 else self.random.choice(awake)
        if self.kills and self.random.random() < self.kills:
            with suppress(Died):  # raised here if the runner has not begun
                runner.greenlet.throw(Died())
        else:
            runner.greenlet.switch()
        self.world.now += timedelta(seconds=1)
        if runner.greenlet.dead:
            self.runners.remove(runner)
            self._ended(runner)

    def _ended(self, runner: Runner) -> None:
        self.check()
        if isinstance(runner.ended, JobCanceled):
            self._check_canceled()
        uncertain = isinstance(runner.ended, JobStopped) and runner.ended.kind == "uncertain"
        if isinstance(runner.ended, JobManifest | JobCanceled) or uncertain:
            self.end = runner.ended

    # Invariants

    def check(self) -> None:
        """Check what must hold at any time."""
        self._check_billing()
        self._check_cancels()
        self._check_progress()
        if self.world.manifest is not None:
            self._check_published(self.world.manifest)

    def _check_billing(self) -> None:
        ledger = self.world.stored.ledger if self.world.stored else None
        lost = {batch.id for batch in ledger.batches if batch.lost} if ledger else set()
        billed = Counter(
            request for batch in self.world.batches.values() if batch.id not in lost for request in batch.billed()
        )
        if twice := [request for request, times in billed.items() if times > 1]:
            raise self._violation(f"requests {twice} are billed twice")

    def _check_cancels(self) -> None:
        ledger = self.world.stored.ledger if self.world.stored else None
        confirmed = [batch.id for batch in ledger.batches if batch.canceling] if ledger else []
        if running := [name for name in confirmed if self._runs(name)]:
            raise self._violation(f"{running} count as canceled, and run on")

    def _check_progress(self) -> None:
        if self.world.stored is None:
            return
        progress = progress_of(self.world.stored.ledger)
        if sum(progress["counts"].values()) + progress["under_way"] + progress["unsent"] != self.world.requests:
            raise self._violation(f"{progress} does not count each of {self.world.requests} requests once")

    def _runs(self, batch_id: str) -> bool:
        return self.world.batches[batch_id].state(self.world.now) is BatchState.RUNNING

    def check_budget(self) -> None:
        """Check that no more than the cap and one shard was spent."""
        spent = sum((batch.cost for batch in self.world.batches.values()), Decimal(0))
        shard = CEILING * max(self.world.per_shard, self.world.canary)
        if self.cap is not None and spent > self.cap + shard:
            raise self._violation(f"{spent} was spent with a cap of {self.cap}")

    def _check_published(self, manifest: JobManifest) -> None:
        lines = Counter(request for part in manifest.results for request in self.world.parts[part.uri])
        if lines != Counter(range(self.world.requests)):
            raise self._violation(f"not each request is published once: {lines}")
        published = {request: end for part in manifest.results for request, end in self.world.parts[part.uri].items()}
        answers = [self.world.landed[name] for name in self._known_batches()]
        for request, outcome in published.items():
            if any(ends.get(request) == "succeeded" for ends in answers) != (outcome == "succeeded"):
                raise self._violation(f"request {request} has another outcome than the published {outcome}")

    def _known_batches(self) -> set[str]:
        ledger = self.world.stored.ledger if self.world.stored else None
        return {batch.id for batch in ledger.batches if not batch.lost} if ledger else set()

    def _check_canceled(self) -> None:
        if self.world.stored and not self.world.stored.ledger.cancel_requested:
            return  # another runner let the job go on before this one returned
        if running := [name for name in self.world.batches if self._runs(name)]:
            raise self._violation(f"the job ended as canceled, and {running} run on")

    def _check_end(self) -> Schedule:
        self.check()
        if isinstance(self.end, JobManifest) and self.world.manifest != self.end:
            raise self._violation("the manifest is not the one that was returned")
        return self

    def _violation(self, what: str) -> Violation:
        return Violation(f"seed {self.seed}: {what}")
