"""What the engine needs from the world. Tests pass in a simulated one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

from airflow_batches.api.errors import BatchesError
from airflow_batches.jobs.decision import BatchState
from airflow_batches.jobs.errors import JobError
from airflow_batches.jobs.ledger import JobBatch, JobLedger, LandedBatch, PendingCreate, PlannedShard
from airflow_batches.jobs.store import LedgerStore
from airflow_batches.submission.record import Intent
from airflow_batches.submission.settlement import Adopt, KeepLooking, NotSent, Undecided, WaitFor

if TYPE_CHECKING:
    from airflow_batches.jobs.manifest import JobManifest

Intend: TypeAlias = Callable[[Intent], None]
"""Records a create in the ledger, just before the last piece of its body is sent."""
Settled: TypeAlias = Adopt | WaitFor | KeepLooking | NotSent | Undecided


class QueueFull(JobError):
    """The API takes no more requests now; certainly no batch was created.

    :param retry_after: seconds that the server asks to wait; None: it does not say.

    Example::

        raise QueueFull("429 rate_limit_error: …", retry_after=60)
    """

    def __init__(self, message: str, *, retry_after: float | None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class CreateUnanswered(JobError):
    """A create may have made a batch.

    :param error: what happened instead of an answer.
    :param intent: the create, with the time until which its batch may appear.

    Example::

        raise CreateUnanswered(error, intent) from error
    """

    def __init__(self, error: BatchesError, intent: Intent) -> None:
        self.error = error
        self.intent = intent
        super().__init__(str(error))


class JobApi(Protocol):
    """The Message Batches API, for one job."""

    def create(self, shard: PlannedShard, intend: Intend, *, model: str | None) -> JobBatch:
        """Send a shard. `intend` is called just before a batch may exist.

        :param model: the plan's model, for requests that name none.
        :raises QueueFull: the API takes no more now.
        :raises CreateUnanswered: it is unknown whether a batch was created.
        :raises BatchesError: certainly none was created; or what `intend` raised.
        """

    def look(self, batches: Sequence[JobBatch]) -> Mapping[str, BatchState]:
        """Return the state of each batch.

        :raises BatchesError: it could not be found out.
        """

    def settle(self, pending: PendingCreate, known: Collection[str]) -> Settled:
        """Find out whether a create made a batch.

        :param known: the job's other batches.
        :raises BatchesError: it could not be found out.
        """

    def cancel(self, batch: JobBatch) -> BatchState:
        """Cancel a batch; return its state once the API has confirmed it.

        :raises CancelUnconfirmed: it may go on.
        """


class JobFiles(Protocol):
    """The job's objects beside the ledger. Every call may be repeated after it was interrupted."""

    def plan(self) -> JobLedger:
        """Read the requests, and return the first ledger."""

    def check(self, ledger: JobLedger) -> None:
        """Raise `JobRefused` if the given requests are not those of the ledger."""

    def land(self, ledger: JobLedger, batch: JobBatch) -> LandedBatch:
        """Land an ended batch in `_job/`."""

    def next_round(self, ledger: JobLedger) -> Sequence[PlannedShard]:
        """Store the requests to send again, and return their shards."""

    def publish(self, ledger: JobLedger) -> JobManifest:
        """Publish the parts, the failures and, last, the manifest."""

    def manifest(self) -> JobManifest:
        """Return the published manifest."""


class JobClock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Return the current time."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Everything that the engine calls."""

    store: LedgerStore
    api: JobApi
    files: JobFiles
    clock: JobClock
