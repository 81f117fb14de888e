"""How the submit operator and the sensor wait: both in the same way.

    execute ── polls once ──┬── over: conclude it (`conclusion`)
                            └── goes on ──┬── deferrable: defer; `execute_complete` resumes with the outcome
                                          └── not deferrable: block, then `conclude`

The task's deadline ends the wait in the trigger. Airflow's deferral timeout comes later and only as a backstop, because
it resumes the task without an outcome; then the batch is polled once more, with the id from XCom.

A failed poll ends no wait here, unless the API was never reached: see `api.polling`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_batches._compat import TRIGGER_FAILED, TRIGGER_TIMED_OUT
from airflow_batches.operators.conclusion import ConcludesWait
from airflow_batches.operators.failures import task_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from airflow_batches.api import BatchesClient
    from airflow_batches.api.polling import Answer, Watch
    from airflow_batches.waiting.outcome import Outcome

logger = logging.getLogger(__name__)

BATCH_ID: Final = "batch_id"
"""The XCom key of a batch's id, which is pushed as soon as it is known."""
BACKSTOP: Final = 600.0
"""Seconds after the wait's deadline when Airflow may end a deferral that has lost its trigger. Chosen: many times the
60 s of `deadline_grace_s` (`waiting.settings`) and the 26 s that another triggerer took at most to replace a killed one
(measured)."""
MAX_FAILURE_RATE: Final = 0.05
"""The default; `waiting.policy.MAX_FAILURE_RATE`, which is not imported here to keep the import of operators fast."""


def share(value: float | None) -> float | None:
    """Return a share from 0 to 1, or None.

    :raises ValueError: it is anything else, such as 5 for 5 %.
    """
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"max_failure_rate is a share from 0 to 1, not {value!r}")
    return value


class WaitsForBatch(ConcludesWait):
    """A mixin for tasks that wait for a batch, placed before `BaseOperator`.

    It uses the operator's `defer`. Times are in seconds.
    """

    if TYPE_CHECKING:
        defer: Callable[..., NoReturn]

    poll_interval: float
    deferrable: bool
    timeout: float
    max_failure_rate: float | None = MAX_FAILURE_RATE
    cancel_on_kill: bool = False

    def wait_for_batch(self, client: BatchesClient, batch_id: str) -> str:
        """Wait for a batch, deferred or blocking.

        :param client: makes the first poll, and the others if the task blocks.
        :param batch_id: the batch.
        :return: its id.
        :raises AirflowException: as `conclude`, or the API was not reached for the first poll.
        """
        from airflow_batches.api.polling import KeepWaiting
        from airflow_batches.waiting.wait import poll, wait

        watch, tell = self._watch(batch_id), progress_log(batch_id)
        decision, answer = poll(client, watch)
        if not isinstance(decision, KeepWaiting):
            return self.conclude(decision)
        self._check_reached(client, batch_id, answer)
        tell(answer)
        if self.deferrable:
            self._defer(watch)
        outcome, _ = wait(
            client, watch, poll_interval=self.poll_interval, on_answer=tell, first=answer, reconnect=self.client
        )
        return self.conclude(outcome)

    def _check_reached(self, client: BatchesClient, batch_id: str, answer: Answer) -> None:
        """Raise if neither this poll nor any earlier call reached the API.

        A wait could hide that for a day.
        """
        from airflow_batches._compat import AirflowException
        from airflow_batches.api import BatchesError
        from airflow_batches.api.polling import is_unreached

        if isinstance(answer, BatchesError) and is_unreached(answer) and not client.answered:
            raise AirflowException(
                f"Connection {self.conn_id!r} ({client.base_url}): the API was not reached for the first poll of "
                f"{batch_id}: {answer}. Check host, proxy and network. The batch goes on; a retry waits for it"
            ) from answer

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """Conclude the wait with the trigger's event.

        :param context: Airflow's context.
        :param event: the trigger's event, an `Outcome`.
        :return: the batch's id.
        """
        from airflow_batches.waiting.outcome import Outcome

        with task_errors():
            return self.conclude(Outcome.from_event(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral.

        After a failed or lost trigger the batch is polled a last time.
        """
        if next_method == TRIGGER_FAILED:
            timed_out = (next_kwargs or {}).get("error") == TRIGGER_TIMED_OUT
            with task_errors():
                outcome = self._last_poll(context, timed_out=timed_out)
                if outcome is not None:
                    return self.conclude(outcome)
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]  # BaseOperator's

    def _watch(self, batch_id: str) -> Watch:
        from airflow_batches.api.polling import Watch

        now = time.time()
        return Watch(batch_id=batch_id, since=now, deadline=now + self.timeout)

    def _defer(
        self,
        watch: Watch,
        method_name: str = "execute_complete",
        *,
        cancel_on_kill: bool | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        from airflow_batches.triggers.message_batch import MessageBatchTrigger

        logger.info("Waiting for batch %s without a worker slot", watch.batch_id)
        self.defer(
            trigger=MessageBatchTrigger(
                conn_id=self.conn_id,
                batch_id=watch.batch_id,
                poll_interval=self.poll_interval,
                since=watch.since,
                deadline=watch.deadline,
                cancel_on_kill=self.cancel_on_kill if cancel_on_kill is None else cancel_on_kill,
            ),
            method_name=method_name,
            kwargs=kwargs,
            timeout=self.timeout + self.poll_interval + BACKSTOP,
        )

    def _last_poll(self, context: Context, *, timed_out: bool) -> Outcome | None:
        """Poll for a task whose trigger is gone; None if the batch goes on or is unknown."""
        from airflow_batches.api import BatchesError
        from airflow_batches.api.polling import KeepWaiting, Watch
        from airflow_batches.waiting.wait import poll

        ti = context["ti"]
        batch_id = ti.xcom_pull(task_ids=ti.task_id, key=BATCH_ID, map_indexes=ti.map_index)
        if not batch_id:
            return None
        watch = Watch(batch_id=batch_id, since=0.0, deadline=0.0 if timed_out else None)
        with self.client() as client:
            decision, answer = poll(client, watch)
        if not isinstance(decision, KeepWaiting):
            return decision
        if isinstance(answer, BatchesError):
            logger.warning("The trigger is gone, and the last poll of batch %s failed: %s", batch_id, answer)
        return None


def progress_log(batch_id: str) -> Callable[[Answer | None], None]:
    """Return a function that logs a batch's progress, as the trigger does."""
    from airflow_batches.waiting.progress import ProgressLog

    progress = ProgressLog(batch_id)

    def tell(answer: Answer | None) -> None:
        if line := progress.line(answer, now=time.time()):
            logger.info(line)

    return tell
