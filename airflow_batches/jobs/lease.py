"""Hold a job's ledger as one runner: take the lease, write under it, notice when another runner has taken over.

| the stored ledger                                         | this runner                                     |
|-----------------------------------------------------------|-------------------------------------------------|
| none                                                      | may write the first one                         |
| published                                                 | reads it; no lease is needed                    |
| has no lease, an expired one, or one of the same owner    | takes the lease with its first write            |
| has a fresh lease of another runner                       | waits until it expires; a cancel takes it       |
| another runner has written since this one read it         | raises `JobOvertaken`                           |

The lease only saves work. Safety comes from the conditional write: a runner whose lease has expired without another one
noticing may go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from airflow_batches.jobs.effects import JobClock
from airflow_batches.jobs.ledger import PUBLISHED, JobLedger, Lease
from airflow_batches.jobs.store import LedgerStore, SavedLedger, overtaken, save_surely

LEASE_S: Final = 120.0
"""Seconds until another runner may take over from one that was killed, at least. Chosen: longer than the API's usual
answer to a large create, and a person still waits for it."""


class HeldLedger:
    """A job's ledger, as one runner sees and writes it.

    :param store: where it is.
    :param clock: the runner's clock.
    :param runner: a name that no other runner has.
    :param owner: the same for runners that replace each other; empty: none.
    :param lease_s: seconds of the lease; it is renewed after half of them.
    :param force: take the lease from any runner.
    """

    def __init__(
        self, store: LedgerStore, clock: JobClock, *, runner: str, owner: str, lease_s: float, force: bool
    ) -> None:
        self._store = store
        self._clock = clock
        self._runner = runner
        self._owner = owner
        self._lease = timedelta(seconds=lease_s)
        self._force = force
        self._saved: SavedLedger | None = None
        self._must_load = False
        self._first: Mapping[str, Any] | None = None
        """The changes of the first write; None until they are known, empty once they are written."""

    @property
    def known(self) -> JobLedger | None:
        """The ledger as this runner last read or wrote it; None: there is none."""
        return self._saved.ledger if self._saved else None

    @property
    def ledger(self) -> JobLedger:
        """The same, where there must be one."""
        if self._saved is None:
            raise overtaken(None)
        return self._saved.ledger

    def doubt(self) -> None:
        """Read the ledger again before the next step: a write may have taken effect unnoticed."""
        self._must_load = True

    def take(self, begin: Callable[[JobLedger], Mapping[str, Any]]) -> Lease | None:
        """Make sure that this runner has the lease.

        :param begin: returns the changes with which this runner begins; it is called once.
        :return: the lease of another runner, if that one must be waited for.
        :raises JobOvertaken: another runner has written.
        :raises LedgerError: the ledger cannot be read.
        """
        if self._saved is not None and not self._must_load and self._is_fresh(self._saved.ledger):
            return None
        found = self._store.load()
        if self._saved is not None and (found is None or not self._is_ours(found.ledger)):
            raise overtaken(found)
        if found is None:
            return None
        if self._must_wait(found.ledger):
            return found.ledger.lease
        if self._first is None:
            self._first = begin(found.ledger)
        self._saved, self._must_load = found, False
        if found.ledger.state != PUBLISHED:
            self.write(**self._first)
            self._first = {}
        return None

    def write(self, *, keep_lease: bool = True, **changes: Any) -> JobLedger:
        """Replace the ledger by one with these changes."""
        return self.save(self.ledger.but(**changes), keep_lease=keep_lease)

    def save(self, ledger: JobLedger, *, keep_lease: bool = True) -> JobLedger:
        """Replace the ledger.

        :param ledger: the new one.
        :param keep_lease: False gives the lease up.
        :raises JobOvertaken: another runner has written.
        """
        expires_at = self._clock.now() + self._lease
        lease = Lease(runner=self._runner, owner=self._owner, expires_at=expires_at)
        new = ledger.but(generation=ledger.generation + 1, lease=lease if keep_lease else None)
        self._saved = save_surely(self._store, new, self._saved)
        return self._saved.ledger

    def is_current(self) -> bool:
        """Whether no other runner has written since; reads the stored ledger. Safe in another thread."""
        found = self._store.load()
        return found is not None and self._is_ours(found.ledger)

    def _is_ours(self, ledger: JobLedger) -> bool:
        known = self.known
        same = known is not None and ledger.generation == known.generation and ledger.lease == known.lease
        return same or (ledger.lease is not None and ledger.lease.runner == self._runner)

    def _is_fresh(self, ledger: JobLedger) -> bool:
        if ledger.state == PUBLISHED:
            return True
        return ledger.lease is not None and self._clock.now() < ledger.lease.expires_at - self._lease / 2

    def _must_wait(self, ledger: JobLedger) -> bool:
        lease = lease_of_other(ledger, self._owner, self._clock.now())
        return lease is not None and lease.runner != self._runner and not self._force


def lease_of_other(ledger: JobLedger, owner: str, now: datetime) -> Lease | None:
    """Return the fresh lease of a runner with another owner; None: there is none.

    :param ledger: the stored ledger.
    :param owner: the name of the runners that replace each other; empty: none.
    :param now: the time.
    """
    lease = ledger.lease
    if lease is None or ledger.state == PUBLISHED or now >= lease.expires_at:
        return None
    return None if owner and lease.owner == owner else lease
