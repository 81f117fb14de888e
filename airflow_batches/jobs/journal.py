"""A record of each create beside the ledger, for stores that cannot write conditionally.

There, two runners that write the ledger within milliseconds may both succeed, and the earlier write is lost. A lost
ledger must not lose a create. So each create has an object of its own, which no other runner writes:

    _job/creates/<runner>-<shard>-<time>.json

| before                                    | the object says                                      |
|-------------------------------------------|------------------------------------------------------|
| `pending` is written to the ledger        | the create, without an answer                        |
| its batch, or that there is none, is      | the batch, or `refused`                              |
| written to the ledger                     |                                                      |

A runner that has taken the job over reads these objects after its first write. What the ledger does not know is added
to it: a batch becomes the shard's, a create without an answer becomes `pending`, and is searched for. A runner whose
ledger was replaced notices that at its next write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from airflow_batches.jobs.errors import JobOvertaken
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import JobBatch, JobLedger, PendingCreate
from airflow_batches.jobs.store import LedgerStore, SavedLedger, save_surely
from airflow_batches.landing.errors import store_errors
from airflow_batches.landing.location import Location
from airflow_batches.landing.writer import put

CREATES: Final = "creates"


class CreateRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One create: without an answer, with its batch, or refused."""

    create: PendingCreate
    batch: JobBatch | None = None
    refused: bool = False

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{self.create.runner}-{self.create.shard}-{self.create.intent.sent_at:%Y%m%d%H%M%S%f}.json"


class CreateRecords(Protocol):
    """A place for the records of a job's creates."""

    def write(self, record: CreateRecord) -> None:
        """Store a record under its name."""

    def read(self) -> Iterable[CreateRecord]:
        """Return all records."""


class CreateFiles:
    """The records as objects in the job's folder.

    :param folder: the job's folder.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder

    def write(self, record: CreateRecord) -> None:
        """Store a record under its name."""
        put(self._folder.internal(f"{CREATES}/{record.name}"), msgspec.json.encode(record) + b"\n")

    def read(self) -> Iterable[CreateRecord]:
        """Return all records."""
        place = self._folder.internal(f"{CREATES}/x")
        with store_errors("listing", place.uri):
            place.fs.invalidate_cache(place.parent)
            try:
                paths = place.fs.ls(place.parent, detail=False)  # type: ignore[attr-defined]  # every fsspec store has it
            except FileNotFoundError:
                return []
        names = sorted(str(path).rpartition("/")[2] for path in paths if str(path).endswith(".json"))
        found = [self._folder.internal(f"{CREATES}/{name}").read() for name in names]
        return [msgspec.json.decode(data, type=CreateRecord) for data in found if data]


class JournaledStore:
    """A ledger's store that also keeps the records of creates.

    :param inner: the ledger's store.
    :param records: the records.
    """

    def __init__(self, inner: LedgerStore, records: CreateRecords) -> None:
        self._inner = inner
        self._records = records
        self._incomplete = False

    def load(self) -> SavedLedger | None:
        """Return the stored ledger."""
        return self._inner.load()

    def save(self, ledger: JobLedger, replaces: SavedLedger | None) -> SavedLedger:
        """Record a create that begins or ends, replace the ledger, and add what a lost ledger knew."""
        before = replaces.ledger if replaces else None
        if self._incomplete:
            raise JobOvertaken("The records of creates could not be read after the job was taken over; run it again")
        if record := change(before, ledger):
            self._records.write(record)
        saved = save_surely(self._inner, ledger, replaces)
        if not _is_new_runner(before, ledger) and not (before and before.pending and not ledger.pending):
            return saved
        self._incomplete = True
        complete = merged(saved.ledger, self._records.read())
        if complete != saved.ledger:
            saved = save_surely(self._inner, complete.but(generation=complete.generation + 1), saved)
        self._incomplete = False
        return saved


def change(before: JobLedger | None, after: JobLedger) -> CreateRecord | None:
    """Return the record of the create that begins or ends with a new ledger."""
    pending = before.pending if before else None
    if after.pending and after.pending != pending:
        return CreateRecord(create=after.pending)
    if before is None or pending is None or after.pending:
        return None
    known = {batch.id for batch in before.batches}
    batch = next((batch for batch in after.batches if batch.id not in known), None)
    return CreateRecord(create=pending, batch=batch, refused=batch is None)


def merged(ledger: JobLedger, records: Iterable[CreateRecord]) -> JobLedger:
    """Return a ledger that knows every create.

    :param ledger: the stored one.
    :param records: all records.
    """
    records = [*records]
    for record in records:
        if record.batch and record.batch.id not in {batch.id for batch in ledger.batches}:
            pending = None if ledger.pending and ledger.pending.shard == record.batch.shard else ledger.pending
            ledger = ledger.with_batch(record.batch).but(pending=pending)
    open_ = [record.create for record in records if not record.batch and not record.refused]
    if open_ and ledger.pending is None:
        ledger = ledger.but(pending=open_[0])
    return ledger


def _is_new_runner(before: JobLedger | None, after: JobLedger) -> bool:
    earlier = before.lease.runner if before and before.lease else None
    return after.lease is not None and after.lease.runner != earlier


def writes_conditionally(location: Location) -> bool:
    """Whether the store compares and writes in one call."""
    return location.is_local or bool(location.protocols & {"s3", "s3a"})
