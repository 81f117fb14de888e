"""Compare what is asked with what the folder's job was planned with.

| the folder's job and the given requests or rows | the run                                                     |
|-------------------------------------------------|-------------------------------------------------------------|
| are the same, or nothing is given               | continues the job                                           |
| differ, `on_changed="fail"`                     | is refused; nothing was sent                                |
| differ, `on_changed="continue"`                 | continues the job with what it was planned with, and warns  |

Rows are the same if all of them have the same keys and make the same requests, also those that were answered without
one. Other columns that are kept are not compared: they are published as they were when the job was planned. A source
that is empty by now differs: it must not end the job as if there was nothing to do, because its batches run.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from airflow_batches.jobs.errors import JobRefused
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.planning import ROWS, JobRequests
from airflow_batches.submission.errors import EmptySource
from airflow_batches.submission.scan import scan
from airflow_batches.submission.source import UriSource

logger = logging.getLogger(__name__)


class _Content(NamedTuple):
    what: str
    amount: int
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.amount:,} {self.what} with fingerprint {self.fingerprint}" if self.amount else f"no {self.what}"


def require_same(ledger: JobLedger, asked: JobRequests, folder: JobFolder) -> None:
    """Apply the table.

    :raises JobRefused: what is asked differs from the ledger's, and `on_changed` is `fail`.
    """
    if not asked.given:
        return
    planned = _planned(ledger)
    try:
        given = _given(ledger, asked)
    except EmptySource:
        given = _Content("requests" if asked.rows is None else "rows", 0, "")
    if given == planned:
        return
    difference = (
        f"{folder.name} holds a job with other {given.what}: {planned}, planned at {ledger.plan.created_at:%F %T %Z} "
        f"from {ledger.plan.source}; given are {given}"
    )
    if asked.on_changed == "fail":
        raise JobRefused(
            f"{difference}. Nothing was sent. To have these {given.what} answered, use another folder. To finish the "
            f"folder's job, give the {planned.what}, model and defaults that it was planned with, or set "
            f"on_changed='continue': then the given {given.what} are not sent"
        )
    logger.warning(
        "%s. The job goes on with the %s that it was planned with, as on_changed='continue' asks; the given %s are not "
        "sent. To have them answered, use another folder",
        difference, planned.what, given.what,
    )  # fmt: skip


def _planned(ledger: JobLedger) -> _Content:
    rows = ledger.plan.settings.get(ROWS)
    if rows is not None:
        return _Content("rows", rows["rows"], rows["fingerprint"])
    return _Content("requests", ledger.plan.requests, ledger.plan.fingerprint)


def _given(ledger: JobLedger, asked: JobRequests) -> _Content:
    if asked.rows is not None:
        for _ in asked.source(ledger.plan.job_id).blocks():
            pass
        rows = asked.rows.settings()
        return _Content("rows", rows["rows"], rows["fingerprint"])
    uri = asked.in_place()
    source = UriSource(uri, asked.open_store) if uri else asked.source(ledger.plan.job_id)
    sent = scan(source, model=asked.cut.model, preflight="off", version=asked.cut.version).sent
    return _Content("requests", sent.requests, sent.fingerprint)
