"""The wait of a deferred job."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

from airflow_batches.triggers.message_batches import MessageBatchesTrigger


class JobTrigger(MessageBatchesTrigger):
    """A trigger that waits for the batches of a job, and cancels none of them while another runner has the job.

    :param path: the URI of the job's folder.
    :param storage_conn_id: connection of the store, if the URI names none.
    :param owner: the lease's owner if this task has the job.
    :param options: as `MessageBatchesTrigger` has them.

    Example::

        trigger = JobTrigger(conn_id="anthropic_default", batch_ids=ids, path="s3://lake/answers", owner="dag/task/run")
        self.defer(trigger=trigger, method_name="execute_again")
    """

    KWARGS = (*MessageBatchesTrigger.KWARGS, "path", "storage_conn_id", "owner")

    def __init__(self, *, path: str, storage_conn_id: str | None = None, owner: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.path = path
        self.storage_conn_id = storage_conn_id
        self.owner = owner

    async def other_runner(self) -> str:
        """Return the runner that holds the lease of the folder; empty: there is none.

        :raises BatchesError: the ledger could not be read.
        """
        from airflow_batches._thread import WorkerThread

        # A thread of its own: a store that hangs must not keep a thread of the event loop's pool.
        thread = WorkerThread("job-lease")
        try:
            return await asyncio.wrap_future(thread.submit(copy_context().run, self._holder))
        finally:
            thread.finish()

    def _holder(self) -> str:
        from airflow_batches.hooks.stores import airflow_location
        from airflow_batches.jobs.folder import JobFolder
        from airflow_batches.jobs.lease import lease_of_other
        from airflow_batches.jobs.store import LedgerFile

        folder = JobFolder(self.path, open_place=lambda uri: airflow_location(uri, self.storage_conn_id))
        saved = LedgerFile(folder.ledger).load()
        lease = lease_of_other(saved.ledger, self.owner, datetime.now(UTC)) if saved else None
        return f"Runner {lease.runner} ({lease.owner or 'a terminal or script'})" if lease else ""
