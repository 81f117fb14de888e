"""Load and save the ledger as one object, so that of two runners only one writes.

| store                              | how a write is conditional                                                      |
|------------------------------------|---------------------------------------------------------------------------------|
| local files                        | compared and renamed under a lock on the folder                                 |
| S3 with conditional writes         | `If-Match` with the ETag that was read                                          |
| all others                         | the object is read just before, and again after the write. Two runners that     |
|                                    | write within these milliseconds may both succeed: `journal` keeps their creates |

Each save reads the object back. A write that failed without a clear answer is settled that way too: the ledger is
the new one, the old one, or another runner's.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from airflow_batches.api.errors import BatchesError
from airflow_batches.jobs.errors import JobOvertaken, LedgerError
from airflow_batches.jobs.ledger import SCHEMA_VERSION, JobLedger
from airflow_batches.landing.errors import LandingOvertaken
from airflow_batches.landing.location import Location
from airflow_batches.landing.version import ObjectVersion
from airflow_batches.landing.writer import put

logger = logging.getLogger(__name__)

SAFE: Final = (
    "Nothing was sent, and nothing starts over, because its batches may run and be billed. If the store keeps "
    "versions, restore the last one before the damage, and no older one: that would send again what was sent since. "
    "Else look for the batches in the Console, land them by their ids, and use another folder for the other requests"
)


@dataclass(frozen=True)
class SavedLedger:
    """A ledger as it is stored, with the store's version of the object."""

    ledger: JobLedger
    version: ObjectVersion | None = None


class LedgerStore(Protocol):
    """A place for one ledger."""

    def load(self) -> SavedLedger | None:
        """Return what is stored; None if there is nothing.

        :raises LedgerError: it cannot be read.
        """

    def save(self, ledger: JobLedger, replaces: SavedLedger | None) -> SavedLedger:
        """Replace what was loaded or saved before; None: there was nothing.

        :raises JobOvertaken: something else is stored.
        :raises BatchesError: it is unknown whether it was stored.
        """


class LedgerFile:
    """A ledger in object storage.

    :param location: the object.
    """

    def __init__(self, location: Location) -> None:
        self._location = location

    def load(self) -> SavedLedger | None:
        """Return what is stored; None if there is no object."""
        version = self._location.version()
        data = None if version is None else self._location.read()
        return None if data is None else SavedLedger(parse_ledger(data, self._location.uri), version)

    def save(self, ledger: JobLedger, replaces: SavedLedger | None) -> SavedLedger:
        """Replace what was loaded or saved before, then read it back."""
        before = self.load()
        if (before and before.ledger) != (replaces and replaces.ledger):
            raise overtaken(before)
        try:
            put(self._location, ledger.to_json(), before.version if before else None)
        except LandingOvertaken as exc:
            raise overtaken(self.load()) from exc
        after = self.load()
        if after is None or after.ledger != ledger:
            raise overtaken(after)
        return after


def save_surely(store: LedgerStore, ledger: JobLedger, replaces: SavedLedger | None) -> SavedLedger:
    """Save a ledger; find out what is stored if the store gives no clear answer.

    :raises JobOvertaken: another runner's ledger is stored.
    :raises BatchesError: the ledger was not stored, or that could not be found out.
    """
    try:
        return store.save(ledger, replaces)
    except JobOvertaken:
        raise
    except BatchesError as error:
        found = store.load()
        if found is not None and found.ledger == ledger:
            logger.warning("The ledger was stored although the store answered with an error: %s", error)
            return found
        if (found and found.ledger) != (replaces and replaces.ledger):
            raise overtaken(found) from error
        raise


def overtaken(found: SavedLedger | None) -> JobOvertaken:
    """Make the error for a ledger that another runner has written."""
    lease = found.ledger.lease if found else None
    by = f" by runner {lease.runner}" if lease else ""
    return JobOvertaken(f"The job's ledger was {'written' if found else 'removed'}{by} meanwhile; this runner stopped")


def parse_ledger(data: bytes, uri: str) -> JobLedger:
    """Decode a ledger.

    :param data: the object's bytes.
    :param uri: its name, for messages.
    :raises LedgerError: it is damaged, or of a newer version of this package.
    """
    try:
        version = msgspec.json.decode(data, type=_Versioned).schema_version
    except msgspec.MsgspecError as exc:
        raise LedgerError(f"The ledger {uri} is damaged ({exc}). {SAFE}") from exc
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"The ledger {uri} has version {version}, and this version of airflow-batches reads {SCHEMA_VERSION}. "
            "Nothing was sent. Run the job with the version that began it, or a newer one"
        )
    try:
        return msgspec.json.decode(data, type=JobLedger)
    except (msgspec.MsgspecError, ValueError) as exc:
        raise LedgerError(f"The ledger {uri} is damaged ({exc}). {SAFE}") from exc


class _Versioned(msgspec.Struct):
    schema_version: int
