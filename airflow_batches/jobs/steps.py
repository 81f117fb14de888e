"""The steps of a job, as values. `decision` chooses them, `engine` takes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias


@dataclass(frozen=True)
class PlanJob:
    """Read the requests, cut them into shards, estimate."""


@dataclass(frozen=True)
class SettleCreate:
    """Find out whether the pending create made a batch."""


@dataclass(frozen=True)
class LookAtBatches:
    """Look at all batches under way."""


@dataclass(frozen=True)
class LandBatch:
    """Land an ended batch."""

    batch_id: str


@dataclass(frozen=True)
class GiveUpBatch:
    """Declare a batch lost, so that its shard is sent again."""

    batch_id: str
    reason: str


@dataclass(frozen=True)
class CancelBatch:
    """Cancel a batch until the API confirms it."""

    batch_id: str


@dataclass(frozen=True)
class SubmitShard:
    """Send a shard."""

    number: int


@dataclass(frozen=True)
class PlanRound:
    """Plan the next round from the failures of this one."""


@dataclass(frozen=True)
class PublishJob:
    """Publish the parts, the failures and the manifest."""


@dataclass(frozen=True)
class Pause:
    """Do nothing until a time.

    `for_batches`: nothing but the end of a batch can change what comes next; `until` is only the next look.
    """

    until: datetime
    reason: str
    for_batches: bool = False


@dataclass(frozen=True)
class StopJob:
    """Stop this run."""

    kind: str
    message: str


@dataclass(frozen=True)
class EndCanceled:
    """End the job as canceled."""


@dataclass(frozen=True)
class FinishJob:
    """The job is done."""


JobStep: TypeAlias = (
    PlanJob | SettleCreate | LookAtBatches | LandBatch | GiveUpBatch | CancelBatch | SubmitShard | PlanRound
    | PublishJob | Pause | StopJob | EndCanceled | FinishJob
)  # fmt: skip
