"""Put off the search for the batch of an unanswered create, so that it holds no worker slot.

    submit ── ReconcilePending ──┬── deferrable: defer until the batch has ended, or for a while; `execute_again`
                                 └── not deferrable: wait here, then submit again

Without a task state store (before Airflow 3.3), the record travels with the deferral.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow_batches._duration import seconds_to_wait
from airflow_batches.operators.waiting import WaitsForBatch

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_batches.api import BatchesClient
    from airflow_batches.submission.errors import ReconcilePending
    from airflow_batches.submission.record import RecordStore

SETTLE_AT_LEAST: Final = 120.0
"""Seconds. Chosen: an existing batch may be missing from the list for as long (`submission.settlement.LIST_LAG`)."""
SETTLE_AT_MOST: Final = 86_400.0
"""Seconds: the 24 hours after which the API has ended every batch (docs, page "Batch processing")."""
LEAST_DEFERRAL: Final = 12.0
"""Seconds. Chosen above `MessageBatchTrigger.QUIET_S`: an event in the first seconds can fail its task (apache/airflow
#66374)."""


def settle_time(value: timedelta | float) -> float:
    """Return seconds.

    :raises ValueError: they are out of range.
    """
    settle_for = seconds_to_wait(value)
    if not SETTLE_AT_LEAST <= settle_for <= SETTLE_AT_MOST:
        raise ValueError(f"settle_for must be between 2 minutes and a day, not {value!r}")
    return settle_for


class SearchesForBatch(WaitsForBatch):
    """A mixin for a task that submits, placed before `BaseOperator`."""

    if TYPE_CHECKING:
        log: Logger

        def execute(self, context: Context) -> str: ...

    SEARCH_FOR: ClassVar = timedelta(seconds=20)
    """How long the search may hold a worker slot. Chosen: the list was reported to lag by seconds."""
    _records: RecordStore | None = None
    _resumed: bool = False
    _carried: Any = None

    def execute_again(self, context: Context, event: Any = None, record: Any = None) -> str:
        """Continue the search.

        :param context: Airflow's context.
        :param event: the trigger's event, which is not used.
        :param record: the task's record, if there is no task state store.
        :return: the batch's id.
        """
        self._resumed = True
        self._carried = record
        return self.execute(context)

    def _search_for(self, context: Context) -> timedelta:
        lost = context.get("task_state_store") is None and self._resumed and not self._carried  # as `dag.test()` does
        if lost or not self.deferrable:
            return timedelta.max
        return timedelta() if self._resumed else self.SEARCH_FOR

    def _put_off(self, context: Context, client: BatchesClient, pending: ReconcilePending) -> None:
        """Wait until the search can continue: deferred if the task is deferrable, else here."""
        if not self.deferrable:
            self._wait_here(client, pending)
            return
        stored = context.get("task_state_store") is not None
        carried = {} if stored or self._records is None else {"record": self._records.to_plain()}
        if pending.batch_id is not None:
            watch = self._watch(pending.batch_id)
            self._defer(watch, method_name="execute_again", cancel_on_kill=False, kwargs=carried)
        else:
            self._defer_for(pending.retry_in, method_name="execute_again", kwargs=carried)

    def _wait_here(self, client: BatchesClient, pending: ReconcilePending) -> None:
        from airflow_batches._compat import AirflowException
        from airflow_batches.api import ApiError

        if pending.batch_id is None:
            time.sleep(pending.retry_in)
            return
        try:
            client.wait_for(pending.batch_id, poll_interval=self.poll_interval, timeout=self.timeout)
        except ApiError as error:
            # A batch that no longer exists is not a candidate. After any other error a retry continues the search.
            if error.status != 404:
                raise AirflowException(f"Batch {pending.batch_id} cannot be waited for: {error}") from error

    def _defer_for(self, seconds: float, method_name: str, kwargs: dict[str, Any]) -> None:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        delay = timedelta(seconds=max(seconds, LEAST_DEFERRAL))
        self.log.info("The search continues in %s, without a worker slot until then", delay)
        self.defer(trigger=TimeDeltaTrigger(delay), method_name=method_name, kwargs=kwargs)
