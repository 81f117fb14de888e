"""The objects of a job in its folder: what the engine stores, lands and publishes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_batches.jobs.comparing import require_same
from airflow_batches.jobs.effects import JobClock
from airflow_batches.jobs.errors import JobRefused, require_row_packages
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.landed import land_batch
from airflow_batches.jobs.ledger import JobBatch, JobLedger, LandedBatch, PlannedShard
from airflow_batches.jobs.line_parts import LineParts
from airflow_batches.jobs.manifest import MANIFEST, JobManifest
from airflow_batches.jobs.planning import ROWS, JobRequests, make_plan, shard_opener
from airflow_batches.jobs.publish import Parts, publish
from airflow_batches.jobs.resend import next_round
from airflow_batches.jobs.rounds import Repeats

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient


class FolderFiles:
    """The objects of a job in its folder; see `JobFiles`.

    :param client: the API, for landing and for token counts.
    :param folder: where the objects are.
    :param asked: the requests.
    :param format_name: the format of the published parts; a job keeps the one that it was planned with.
    :param clock: dates the plan and the landings.
    """

    def __init__(
        self, client: BatchesClient, folder: JobFolder, asked: JobRequests, *, format_name: str, clock: JobClock
    ) -> None:
        self._client = client
        self._folder = folder
        self._asked = asked
        self._format = format_name
        self._clock = clock
        self.open_shard = shard_opener(folder, asked.open_store)

    def plan(self) -> JobLedger:
        """Return the first ledger."""
        ledger = make_plan(self._client, self._folder, self._asked, self._clock.now())
        settings = {**ledger.plan.settings, "format": self._format}
        return ledger.but(plan=msgspec.structs.replace(ledger.plan, settings=settings))

    def check(self, ledger: JobLedger) -> None:
        """Raise `JobRefused` for other requests than the ledger's."""
        require_same(ledger, self._asked, self._folder)

    def land(self, ledger: JobLedger, batch: JobBatch) -> LandedBatch:
        """Land a batch in `_job/`."""
        shard, now = ledger.shards[batch.shard], self._clock.now()
        return land_batch(self._client, self._folder, batch, shard, repeats=self._repeats(ledger), now=now)

    def next_round(self, ledger: JobLedger) -> list[PlannedShard]:
        """Store the requests to send again."""
        return next_round(ledger, self._folder, self.open_shard, self._repeats(ledger))

    def publish(self, ledger: JobLedger) -> JobManifest:
        """Publish everything."""
        return publish(ledger, self._folder, self.open_shard, self._parts(ledger))

    def manifest(self) -> JobManifest:
        """Return the published manifest."""
        return read_manifest(self._folder)

    def _repeats(self, ledger: JobLedger) -> Repeats:
        settings = ledger.plan.settings
        truncated = settings.get("max_tokens_growth") is not None
        if ROWS not in settings:
            return Repeats(truncated=truncated)
        with require_row_packages():
            from airflow_batches.jobs.rows import output_check, output_of

        return Repeats(truncated=truncated, check=output_check(output_of(ledger, self._asked)))

    def _parts(self, ledger: JobLedger) -> Parts:
        if ROWS not in ledger.plan.settings:
            return LineParts(self._folder, ledger.plan.settings["format"])
        with require_row_packages():
            from airflow_batches.jobs.rows import RowParts, output_of

        return RowParts(self._folder, ledger, output_of(ledger, self._asked))


def read_manifest(folder: JobFolder) -> JobManifest:
    """Read the manifest of a published job.

    :raises JobRefused: there is none.
    """
    data = folder.at(MANIFEST).read()
    if data is None:
        raise JobRefused(f"{folder.name} has no {MANIFEST}, although its ledger says that the job is published")
    return msgspec.json.decode(data, type=JobManifest)
