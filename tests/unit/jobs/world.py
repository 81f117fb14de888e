"""A simulated world for the job engine: API, store and files in memory, where every call may be the last.

`World.point` is called before, within and after every effect. There the scheduler decides by its seed which runner goes
on, whether this one dies, and what else happens meanwhile. Requests are numbers; an object of requests is a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

import msgspec

from airflow_batches.api import ApiError, MessageBatch, TransportError
from airflow_batches.api.cancellation import CancelUnconfirmed
from airflow_batches.jobs.decision import BatchState
from airflow_batches.jobs.effects import CreateUnanswered, Intend, QueueFull
from airflow_batches.jobs.errors import LedgerError
from airflow_batches.jobs.journal import CreateRecord, JournaledStore
from airflow_batches.jobs.ledger import JobBatch, JobLedger, JobPlan, LandedBatch, PendingCreate, PlannedShard
from airflow_batches.jobs.manifest import JobManifest
from airflow_batches.jobs.store import SavedLedger, overtaken
from airflow_batches.landing.errors import LandingError
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.version import ObjectVersion
from airflow_batches.submission import settlement as submission
from airflow_batches.submission.receipt import Sent
from airflow_batches.submission.record import Intent
from tests.unit.jobs.samples import NOW

SETTLE_FOR: Final = timedelta(minutes=15)
IDLE_CLOSED: Final = timedelta(minutes=10)
"""The server has closed a connection by then whose last piece did not come."""
FLOOR, CEILING = Decimal(1), Decimal(4)
AGAIN: Final = frozenset({"expired", "api_error"})


class Died(BaseException):
    """The runner's process was killed."""


@dataclass
class ModelBatch:
    """A batch as the API knows it. `outcomes` is how each request ends."""

    id: str
    requests: tuple[int, ...]
    created_at: datetime
    listed_at: datetime
    ends_at: datetime
    outcomes: dict[int, str]
    cost: Decimal
    cancel_at: datetime | None = None
    deleted: bool = False

    def state(self, now: datetime) -> BatchState:
        if self.deleted:
            return BatchState.MISSING
        if now >= self.ends_at:
            return BatchState.ENDED
        return BatchState.CANCELING if self.cancel_at else BatchState.RUNNING

    def billed(self) -> list[int]:
        return [request for request, outcome in self.outcomes.items() if outcome == "succeeded"]


@dataclass
class World:
    """Everything outside the runners.

    :param point: the scheduler's; a call of it may switch to another runner, or raise `Died`.
    :param faults: the probability that a call fails; 0 in calm weather.
    """

    random: Random
    requests: int
    per_shard: int
    canary: int
    generated: bool
    point: Callable[[], None]
    faults: float = 0.1
    now: datetime = NOW
    stored: SavedLedger | None = None
    damaged: bool = False
    credit: bool = True
    batches: dict[str, ModelBatch] = field(default_factory=dict)
    objects: dict[str, tuple[int, ...]] = field(default_factory=dict)
    landed: dict[str, dict[int, str]] = field(default_factory=dict)
    parts: dict[str, dict[int, str]] = field(default_factory=dict)
    manifest: JobManifest | None = None
    versions: int = 0
    creates: dict[str, CreateRecord] = field(default_factory=dict)

    def unlucky(self) -> bool:
        return self.random.random() < self.faults

    def later(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=self.random.uniform(0, seconds))

    def outcome(self) -> str:
        if not self.credit:
            return "billing_error"
        return self.random.choices(
            ["succeeded", "expired", "api_error", "invalid_request_error"], [88, 4, 4, 4]
        )[0]  # fmt: skip


class ModelStore:
    """The ledger's store, with conditional writes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def load(self) -> SavedLedger | None:
        self._world.point()
        if self._world.unlucky():
            raise LandingError("the store does not answer")
        if self._world.damaged:
            raise LedgerError("damaged")
        return self._world.stored

    def save(self, ledger: JobLedger, replaces: SavedLedger | None) -> SavedLedger:
        world = self._world
        world.point()
        if world.random.random() < world.faults / 2:
            raise LandingError("the store did not write")
        if not self.may_replace(replaces):
            raise overtaken(world.stored)
        world.versions += 1
        saved = world.stored = SavedLedger(ledger, ObjectVersion(1, str(world.versions)))
        world.point()
        if world.random.random() < world.faults / 2:
            raise LandingError("the store wrote, and did not say so")
        return saved

    def may_replace(self, replaces: SavedLedger | None) -> bool:
        """Whether the stored ledger is the one to replace."""
        return not self._world.damaged and self._world.stored == replaces


class LooksOnly(ModelStore):
    """A store without conditional writes: the ledger is compared before and after."""

    def save(self, ledger: JobLedger, replaces: SavedLedger | None) -> SavedLedger:
        world = self._world
        if self.load() != replaces:
            raise overtaken(world.stored)
        world.point()
        if world.damaged:
            raise LandingError("the store did not write")
        world.versions += 1
        saved = world.stored = SavedLedger(ledger, ObjectVersion(1, str(world.versions)))
        if self.load() != saved:
            raise overtaken(world.stored)
        return saved


class ModelRecords:
    """The records of creates."""

    def __init__(self, world: World) -> None:
        self._world = world

    def write(self, record: CreateRecord) -> None:
        self._world.point()
        self._world.creates[record.name] = record
        self._world.point()

    def read(self) -> list[CreateRecord]:
        self._world.point()
        return [self._world.creates[name] for name in sorted(self._world.creates)]


def journaled(world: World) -> JournaledStore:
    """A store without conditional writes, as the engine uses it."""
    return JournaledStore(LooksOnly(world), ModelRecords(world))


class ModelApi:
    """The API, as the engine's adapter of it behaves."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, shard: PlannedShard, intend: Intend, *, model: str | None) -> JobBatch:
        world = self._world
        world.point()
        if world.unlucky():
            raise QueueFull("429", retry_after=world.random.choice([None, 20.0]))
        intent = self._intent(shard)
        intend(intent)
        world.point()
        if world.unlucky():
            raise TransportError("connection refused", maybe_sent=False)
        if world.unlucky() or world.now - intent.sent_at > IDLE_CLOSED:
            raise CreateUnanswered(TransportError("reset, not accepted", maybe_sent=True), intent)
        batch = self._accept(shard)
        world.point()
        if world.unlucky():
            raise CreateUnanswered(TransportError("reset after it was accepted", maybe_sent=True), intent)
        return JobBatch(id=batch.id, shard=shard.number, created_at=batch.created_at)

    def _intent(self, shard: PlannedShard) -> Intent:
        now = self._world.now
        sent = Sent(requests=shard.requests, bytes=shard.bytes, sha256="", ids_digest=shard.ids_digest, fingerprint="")
        return Intent(
            sent=sent, sent_at=now, since=now - timedelta(seconds=60), certain_from=now - timedelta(seconds=5),
            certain_until=now + timedelta(minutes=2), until=now + SETTLE_FOR, before=(),
        )  # fmt: skip

    def _accept(self, shard: PlannedShard) -> ModelBatch:
        world = self._world
        requests = world.objects[shard.object][shard.start : shard.end]
        outcomes = {request: world.outcome() for request in requests}
        answers = sum(outcome == "succeeded" for outcome in outcomes.values())
        batch = ModelBatch(
            id=f"msgbatch_{len(world.batches)}", requests=requests, created_at=world.now, listed_at=world.later(100),
            ends_at=world.later(3000), outcomes=outcomes, cost=answers * Decimal(world.random.randint(1, int(CEILING))),
        )  # fmt: skip
        world.batches[batch.id] = batch
        return batch

    def look(self, batches: Sequence[JobBatch]) -> Mapping[str, BatchState]:
        world = self._world
        world.point()
        if world.unlucky():
            raise ApiError(529, "overloaded_error", "Overloaded")
        return {batch.id: world.batches[batch.id].state(world.now) for batch in batches}

    def settle(self, pending: PendingCreate, known: Collection[str]) -> submission.Settlement:
        world = self._world
        world.point()
        if world.unlucky():
            raise TransportError("no answer", maybe_sent=True)
        found = [
            self._candidate(batch)
            for batch in world.batches.values()
            if batch.id not in known and batch.listed_at <= world.now and not batch.deleted
            and batch.created_at >= pending.intent.since and len(batch.requests) == pending.intent.sent.requests
        ]  # fmt: skip
        return submission.settle(pending.intent, found, now=world.now)

    def _candidate(self, batch: ModelBatch) -> submission.Candidate:
        ended = batch.state(self._world.now) is BatchState.ENDED
        plain = {"id": batch.id, "processing_status": "ended" if ended else "in_progress"}
        listed = MessageBatch.model_validate({**plain, "created_at": batch.created_at.isoformat()})
        return submission.Candidate(listed, digest(batch.requests) if ended else None)

    def cancel(self, batch: JobBatch) -> BatchState:
        world = self._world
        world.point()
        model = world.batches[batch.id]
        for _ in range(3):
            if not world.unlucky() and model.state(world.now) is BatchState.RUNNING:
                model.cancel_at = world.now
                model.ends_at = min(model.ends_at, world.later(100))
                answered = [*model.outcomes][: len(model.outcomes) // 2]
                model.outcomes = {
                    request: outcome if request in answered else "canceled"
                    for request, outcome in model.outcomes.items()
                }
            world.point()
            if (state := model.state(world.now)) is not BatchState.RUNNING:
                return state
        raise CancelUnconfirmed(f"{batch.id} is still in progress")


class ModelFiles:
    """The job's objects."""

    def __init__(self, world: World, runner: str) -> None:
        self._world = world
        self._runner = runner
        self._has_read = False

    def _read_requests(self) -> None:
        """Read the requests, which are a generator."""
        assert not self._has_read, "a generator was read twice"
        self._has_read = True
        self._world.point()

    def plan(self) -> JobLedger:
        world = self._world
        self._read_requests()
        name = f"requests-{self._runner}"
        world.objects[name] = tuple(range(world.requests))
        shards = self._cut(name, first=0, round_=1, canary=world.canary)
        plan = JobPlan(
            job_id=self._runner, created_at=world.now, source="requests", fingerprint="f", requests=world.requests,
            generated=world.generated,
        )  # fmt: skip
        world.point()
        return JobLedger(plan=plan, shards=shards)

    def _cut(self, name: str, *, first: int, round_: int, canary: int = 0) -> tuple[PlannedShard, ...]:
        requests = self._world.objects[name]
        starts = [*([0] if canary else []), *range(canary, len(requests), self._world.per_shard)]
        ends = [*starts[1:], len(requests)]
        return tuple(
            PlannedShard(
                number=first + number, round=round_, canary=canary > 0 and number == 0, object=name, start=start,
                end=end, requests=end - start, bytes=0, ids_digest=digest(requests[start:end]), fingerprint="",
                floor_usd=FLOOR / 10 * (end - start), ceiling_usd=CEILING * (end - start),
            )
            for number, (start, end) in enumerate(zip(starts, ends, strict=True))
        )  # fmt: skip

    def check(self, ledger: JobLedger) -> None:
        self._read_requests()

    def land(self, ledger: JobLedger, batch: JobBatch) -> LandedBatch:
        world = self._world
        world.point()
        if world.unlucky():
            raise LandingError("the results broke off")
        model = world.batches[batch.id]
        if model.deleted:
            raise ApiError(404, "not_found_error", f"Message Batch {batch.id} not found.")
        assert model.state(world.now) is BatchState.ENDED
        outcomes = world.landed.setdefault(batch.id, dict(model.outcomes))
        world.point()
        kinds = Counter(outcomes.values())
        counts = Counter("errored" if outcome.endswith("_error") else outcome for outcome in outcomes.values())
        kinds_again = {*AGAIN, *(["canceled"] if batch.resend_canceled else [])}
        again = {kind: count for kind, count in kinds.items() if kind in kinds_again}
        return LandedBatch(
            results=batch.id, failed="", sha256="", lines=len(outcomes), counts=counts, again=again,
            no_credit=kinds["billing_error"], cost_usd=model.cost, landed_at=world.now,
        )  # fmt: skip

    def next_round(self, ledger: JobLedger) -> Sequence[PlannedShard]:
        world = self._world
        world.point()
        again = [
            request
            for batch, landed in ledger.landed
            if ledger.round_of(batch) == ledger.rounds
            for request, outcome in world.landed[batch.id].items()
            if outcome in AGAIN
            or (landed.forgiven and outcome == "billing_error")
            or (batch.resend_canceled and outcome == "canceled")
        ]
        name = f"round-{ledger.rounds + 1}-{digest(again)}"
        world.objects[name] = tuple(again)
        world.point()
        return self._cut(name, first=len(ledger.shards), round_=ledger.rounds + 1)

    def publish(self, ledger: JobLedger) -> JobManifest:
        world = self._world
        for batch, _ in ledger.landed:
            lines = world.landed[batch.id]
            resent = {
                request
                for shard in ledger.shards
                if shard.round == ledger.round_of(batch) + 1
                for request in world.objects[shard.object][shard.start : shard.end]
            }
            world.point()
            world.parts[batch.id] = {request: end for request, end in lines.items() if request not in resent}
        names = [batch.id for batch, _ in ledger.landed]
        assert ledger.ended_at is not None
        results = tuple(LandedObject(uri=name, format="", lines=0, bytes=0, sha256="") for name in names)
        world.point()
        world.manifest = JobManifest(
            job_id=ledger.plan.job_id, source="", fingerprint="", requests=ledger.plan.requests, counts={}, rounds=(),
            batches=(), results=results, failed=results[0], started_at=NOW, ended_at=ledger.ended_at,
        )  # fmt: skip
        world.point()
        return world.manifest

    def manifest(self) -> JobManifest:
        self._world.point()
        assert self._world.manifest is not None
        return self._world.manifest


def digest(requests: Sequence[int]) -> str:
    """Name a set of requests."""
    return msgspec.json.encode(sorted(requests)).decode()
