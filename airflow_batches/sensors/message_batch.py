"""Wait for any batch, whatever submitted it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_batches._duration import seconds_to_wait
from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import TASK_LINKS
from airflow_batches.operators.waiting import BATCH_ID, MAX_FAILURE_RATE, WaitsForBatch, progress_log, share
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_batches.api.polling import Answer, KeepWaiting, Watch
    from airflow_batches.waiting.outcome import Outcome
    from airflow_batches.waiting.policy import Verdict


REFUSAL_POLL_S: Final = 15.0
"""Seconds between two polls of one poke while the API refuses. Chosen: 20 calls in the 5 minutes that a refusal must
stand (`api.polling.REFUSAL_GRACE`)."""


class MessageBatchSensor(WaitsForBatch, BaseSensorOperator):
    """Wait until a batch has ended, and return its id; the sensor never cancels a batch.

    A batch without a single success fails the sensor; a batch that was canceled as a whole skips it. The log names the
    most frequent error messages of the results. An outage ends no wait before its timeout. A refused key, or a batch
    that is not found, ends it only after minutes, and a retry waits for the same batch.

    :param batch_id: the batch (templated).
    :param conn_id: connection with the API key (templated).
    :param deferrable: wait in the triggerer. If false, the sensor pokes from a worker (`mode` `poke` or `reschedule`).
    :param poke_interval: seconds (or a timedelta) between polls.
    :param timeout: seconds (or a timedelta) to wait at most; by default an hour more than the 24 hours after which the
        API ends a batch (docs, page "Batch processing").
    :param max_failure_rate: share (0 to 1) of requests without success above which the sensor fails. None accepts any
        share, but at least one request must have succeeded.
    :raises ValueError: `max_failure_rate` is not a share, or the interval is not more than 0 seconds.

    Example::

        ended = MessageBatchSensor(task_id="ended", batch_id="{{ params.batch_id }}", poke_interval=60)
    """

    template_fields: Sequence[str] = ("batch_id", "conn_id")
    operator_extra_links = TASK_LINKS

    def __init__(
        self,
        *,
        batch_id: str | XComArg,
        conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool = True,
        poke_interval: timedelta | float = 60.0,
        timeout: timedelta | float = timedelta(hours=25),
        max_failure_rate: float | None = MAX_FAILURE_RATE,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.batch_id = cast("str", batch_id)  # rendered by Airflow before it is used
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.poll_interval = seconds_to_wait(poke_interval)
        self.max_failure_rate = share(max_failure_rate)
        self._log_progress: Callable[[Answer | None], None] | None = None
        self._is_first_poke = True

    def execute(self, context: Context) -> Any:
        """Defer, or poke as other sensors do.

        :return: the batch's id.
        :raises AirflowFailException: the batch or the connection cannot be used, and a retry would not help.
        :raises AirflowSkipException: the batch was canceled as a whole.
        :raises AirflowSensorTimeout: the timeout passed.
        """
        if not self.deferrable:
            # In `reschedule` mode each poke is a new process; the wait began with the first one.
            self._is_first_poke = not (self.reschedule and context["ti"].get_first_reschedule_date(context))
            return super().execute(context)
        context["ti"].xcom_push(key=BATCH_ID, value=self.batch_id)
        with self._soft_failures(), task_errors(), self.client() as client:
            return self.wait_for_batch(client, self.batch_id)

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """Conclude the wait with the trigger's event."""
        with self._soft_failures():
            return super().execute_complete(context, event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral; Airflow calls this."""
        with self._soft_failures():
            return super().resume_execution(next_method, next_kwargs, context)

    @contextmanager
    def _soft_failures(self) -> Iterator[None]:
        """Skip instead of failing with `soft_fail`, as Airflow does for a sensor that pokes."""
        from airflow_batches._compat import AirflowFailException, AirflowSkipException

        try:
            yield
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once, or until a refusal has passed or stood, so that the answer is certain.

        :return: whether the batch has ended, with its id.
        """
        from airflow_batches.api.polling import KeepWaiting

        log = self._log_progress = self._log_progress or progress_log(self.batch_id)
        watch = replace(self._watch(self.batch_id), deadline=None)  # Airflow keeps the timeout of a sensor that pokes
        while True:
            decision, answer = self._poll(watch)
            if not isinstance(decision, KeepWaiting):
                return PokeReturnValue(is_done=True, xcom_value=self.conclude(decision))
            log(answer)
            if decision.standing is None:
                return PokeReturnValue(is_done=False)
            watch = watch.after(decision)
            time.sleep(min(self.poll_interval, REFUSAL_POLL_S))

    def _poll(self, watch: Watch) -> tuple[KeepWaiting | Outcome, Answer]:
        """Poll once with the connection read again."""
        from airflow_batches.waiting.wait import poll

        with task_errors(), self.client() as client:
            decision, answer = poll(client, watch)
            if self._is_first_poke:
                self._check_reached(client, self.batch_id, answer)
        self._is_first_poke = False
        return decision, answer

    def _exception(self, verdict: Verdict, outcome: Outcome) -> Exception:
        from airflow_batches._compat import AirflowSensorTimeout, AirflowSkipException
        from airflow_batches.waiting.outcome import Ending

        if self.soft_fail or self.never_fail:
            return AirflowSkipException(verdict.message)
        if outcome.ending is Ending.TIMED_OUT:
            return AirflowSensorTimeout(verdict.message)
        return super()._exception(verdict, outcome)
