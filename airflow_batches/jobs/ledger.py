"""The ledger of a job: what was planned, what was sent, what has landed. Pure.

    <path>/                                  the job's folder, which is its identity
        results-00000.jsonl …  failed.jsonl  published at the end: each request in exactly one line
        manifest.json                        published last
        _job/
            ledger.json                      this ledger; each transition replaces it in one conditional write
            requests-<job>.jsonl             the requests as they are sent; none if the source is used in place
            requests-<job>-2.jsonl …         the requests of later rounds
            rows-<job>.parquet               the rows of a job of rows (`tables.rows_object`)
            reused-<job>.jsonl               answers of an earlier job (`reuse`); the plan holds their hash
            creates/….json                   each create, in stores without conditional writes (`journal`)
            landed/<batch id>.jsonl          each landed batch, with its failed lines and its manifest beside it

Rules:
- A create is in `pending` before the last piece of its body is sent, until its batch or its refusal is recorded. At
  most one create is pending.
- A batch is never removed. A shard may have several batches only if all earlier ones are declared `lost`.
- `generation` grows with each write, so no two writes are equal, and a reader can tell whose write it sees.
- A later schema version is never written over. Unknown members of the same version are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Self

import msgspec

from airflow_batches.api.error_messages import ErrorMessage
from airflow_batches.landing.usage import ModelUsage
from airflow_batches.submission.record import Intent

SCHEMA_VERSION: Final = 1
"""Grows when an older version of the package would misread a ledger, because a member has changed its meaning."""
FOLDER: Final = "_job"
LEDGER: Final = "ledger.json"

OPEN: Final = "open"
PUBLISHING: Final = "publishing"
PUBLISHED: Final = "published"

SUCCEEDED: Final = "succeeded"
INVALID_OUTPUT: Final = "invalid_output"
"""The outcome of a request whose answer is not of the output type; the API calls it a success, and bills it."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The runner that may write, until when by its clock. A runner with the same `owner` takes over at once."""

    runner: str
    owner: str = ""
    expires_at: datetime


class ModelShare(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one model in a shard.

    :param max_tokens: the sum of their limits.
    """

    requests: int
    bytes: int
    max_tokens: int


class PlannedShard(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that are sent as one batch: a range of the decoded bytes of an object.

    :param canary: it is sent alone first, and the others only if enough of it was answered.
    :param warms_cache: it is sent alone first, so that the others read its prefix from the cache.
    :param object: the name of an object in `_job/`, or the URI of a source that is used in place.
    :param bytes: length of the create's body.
    :param floor_usd: the cost of the input alone; None: unknown.
    :param ceiling_usd: the cost if every answer is as long as its `max_tokens` allows; None: unknown.
    """

    number: int
    round: int = 1
    canary: bool = False
    warms_cache: bool = False
    object: str
    start: int
    end: int
    requests: int
    bytes: int
    ids_digest: str
    fingerprint: str
    models: Mapping[str, ModelShare] = {}
    floor_usd: Decimal | None = None
    ceiling_usd: Decimal | None = None

    @property
    def alone(self) -> bool:
        """Whether nothing else is sent while it is under way."""
        return self.canary or self.warms_cache


class LandedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch's results hold, in numbers.

    :param results: the name of the object in `_job/`.
    :param failed: the name of the object with the lines that did not succeed.
    :param error_messages: the most common ones.
    :param again: lines that a further round may send again, by kind (`rounds`).
    :param no_credit: lines that failed because the account has no credit, or the key no permission.
    :param forgiven: a person has run the job again since; lines without credit may be sent again.
    :param cost_usd: None: unknown.
    :param cost_by_model: the same for each model.
    """

    results: str
    failed: str
    sha256: str
    lines: int
    counts: Mapping[str, int]
    error_types: Mapping[str, int] = {}
    error_messages: tuple[ErrorMessage, ...] = ()
    again: Mapping[str, int] = {}
    no_credit: int = 0
    forgiven: bool = False
    usage: Mapping[str, ModelUsage] = {}
    cost_usd: Decimal | None = None
    cost_by_model: Mapping[str, Decimal | None] = {}
    ended_at: str | None = None
    landed_at: datetime

    @property
    def succeeded(self) -> int:
        """Lines with an answer of the output type."""
        return self.counts.get(SUCCEEDED, 0)

    @property
    def billed(self) -> int:
        """Lines with an answer, also those that are not of the output type."""
        return self.succeeded + self.counts.get(INVALID_OUTPUT, 0)

    @property
    def failures(self) -> int:
        """Lines without an answer of the output type."""
        return self.lines - self.succeeded

    @property
    def retryable(self) -> int:
        """Lines that a further round sends again."""
        return sum(self.again.values()) + (self.no_credit if self.forgiven else 0)


class JobBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of the job.

    :param created_at: the API's time.
    :param sha256: of the create's body.
    :param adopted: it was found after its create had no answer.
    :param canceling: the API has confirmed that it is canceling or has ended.
    :param resend_canceled: a person ran the job again after it was canceled; its canceled lines are sent again.
    :param lost: why its results are given up; its shard is sent again.
    :param free: nothing in it was billed.
    """

    id: str
    shard: int
    created_at: datetime | None = None
    sha256: str = ""
    adopted: bool = False
    canceling: bool = False
    resend_canceled: bool = False
    lost: str = ""
    free: bool = False
    landed: LandedBatch | None = None


class PendingCreate(msgspec.Struct, frozen=True, kw_only=True):
    """A create that may have made a batch, and whose answer is not recorded."""

    shard: int
    runner: str
    intent: Intent


class TokenEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What the job will need, before anything is sent.

    :param input_tokens: of all requests; None: could not be counted.
    :param max_output_tokens: the sum of all limits.
    :param floor_usd: the cost of the input alone; None: unknown.
    :param ceiling_usd: with answers of full length; None: unknown.
    :param method: how the input tokens were counted.
    :param prices: the price list, or why there is none.
    :param unpriced: models without a price.
    """

    input_tokens: int | None = None
    max_output_tokens: int = 0
    floor_usd: Decimal | None = None
    ceiling_usd: Decimal | None = None
    method: str = ""
    prices: str = ""
    unpriced: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, for XCom."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return values


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the job is. It never changes.

    :param job_id: a random id; generated custom_ids start with it.
    :param source: the source's name, for people.
    :param generated: every custom_id is generated, so a batch with these ids is this job's.
    :param fingerprint: of all requests, whatever their order.
    :param settings: the settings that shaped the plan.
    """

    job_id: str
    created_at: datetime
    source: str
    generated: bool = False
    fingerprint: str
    requests: int
    settings: Mapping[str, Any] = {}
    estimate: TokenEstimate = TokenEstimate()


class StopRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last runner stopped; a next run may continue."""

    kind: str
    message: str
    at: datetime


class JobLedger(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a job (see the rules).

    :param rounds: rounds that are planned so far.
    :param cancel_requested: a person wants no answers any more.
    :param state: `open`; `publishing` once nothing more will be sent; `published`.
    :param ended_at: when `publishing` began.
    """

    schema_version: int = SCHEMA_VERSION
    generation: int = 0
    lease: Lease | None = None
    state: str = OPEN
    plan: JobPlan
    rounds: int = 1
    shards: tuple[PlannedShard, ...]
    batches: tuple[JobBatch, ...] = ()
    pending: PendingCreate | None = None
    cancel_requested: bool = False
    stopped: StopRecord | None = None
    ended_at: datetime | None = None

    def but(self, **changes: Any) -> Self:
        """Return the ledger with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    @property
    def live(self) -> tuple[JobBatch, ...]:
        """Batches that have not landed and are not given up."""
        return tuple(batch for batch in self.batches if batch.landed is None and not batch.lost)

    @property
    def landed(self) -> tuple[tuple[JobBatch, LandedBatch], ...]:
        """Batches that have landed, in the order of their shards."""
        found = [(batch, batch.landed) for batch in self.batches if batch.landed is not None]
        return tuple(sorted(found, key=lambda pair: pair[0].shard))

    @property
    def unsent(self) -> tuple[PlannedShard, ...]:
        """Shards without a batch, in order."""
        sent = {batch.shard for batch in self.batches if not batch.lost}
        sent |= {self.pending.shard} if self.pending else set()
        return tuple(shard for shard in self.shards if shard.number not in sent)

    @property
    def spent_usd(self) -> Decimal | None:
        """The cost of what has landed; None if a part of it is unknown."""
        return total(landed.cost_usd for _, landed in self.landed)

    def round_of(self, batch: JobBatch) -> int:
        """Return the round of a batch."""
        return self.shards[batch.shard].round

    def with_batch(self, batch: JobBatch) -> Self:
        """Return the ledger with this batch, which answers the pending create or replaces its older state."""
        others = [other for other in self.batches if other.id != batch.id]
        known = len(others) < len(self.batches)
        places = [batch if other.id == batch.id else other for other in self.batches] if known else [*others, batch]
        pending = self.pending if known else None
        return self.but(batches=tuple(places), pending=pending)

    def batch(self, batch_id: str) -> JobBatch:
        """Return the batch with this id."""
        return next(batch for batch in self.batches if batch.id == batch_id)

    def to_json(self) -> bytes:
        """Return indented JSON, for people as well as for programs."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


def total(costs: Any) -> Decimal | None:
    """Add up costs; None if one is unknown."""
    known = [*costs]
    return None if None in known else sum(known, Decimal(0))
