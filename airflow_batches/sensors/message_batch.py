"""Wait for any batch, whoever submitted it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import MessageBatchLink
from airflow_batches.operators.waiting import BATCH_ID, WaitsForBatch, share

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_batches.waiting.outcome import Outcome
    from airflow_batches.waiting.policy import Verdict


class MessageBatchSensor(WaitsForBatch, BaseSensorOperator):
    """Succeeds with the batch's id once the batch has ended; cancels nothing.

    A batch without a single success fails the sensor, one that was canceled whole skips it.

    :param batch_id: the batch (templated).
    :param conn_id: connection with the API key (templated).
    :param deferrable: wait in the triggerer. If false, the sensor pokes from a worker (`mode` `poke` or `reschedule`).
    :param poke_interval: seconds (or a timedelta) between polls.
    :param timeout: seconds (or a timedelta) to wait at most. The API ends a batch 24 hours after its creation.
    :param max_failure_rate: share (0 to 1) of requests without success above which the sensor fails.
    """

    template_fields: Sequence[str] = ("batch_id", "conn_id")
    operator_extra_links = (MessageBatchLink(),)

    def __init__(
        self,
        *,
        batch_id: str | XComArg,
        conn_id: str = "anthropic_default",
        deferrable: bool = True,
        poke_interval: timedelta | float = 60.0,
        timeout: timedelta | float = timedelta(hours=25),
        max_failure_rate: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.batch_id = cast("str", batch_id)  # rendered by Airflow before it is used
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.poll_interval = self.poke_interval
        self.max_failure_rate = share(max_failure_rate)
        self._since = 0.0

    def execute(self, context: Context) -> Any:
        """Defer, or poke as sensors do."""
        if not self.deferrable:
            # Every poke of `reschedule` mode is a process of its own; the wait began with the first.
            first = context["ti"].get_first_reschedule_date(context) if self.reschedule else None
            self._since = first.timestamp() if first else time.time()
            return super().execute(context)
        context["ti"].xcom_push(key=BATCH_ID, value=self.batch_id)
        with self._softly(), task_errors(), self.client() as client:
            return self.wait_for_batch(client, self.batch_id)

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """The leg after the wait."""
        with self._softly():
            return super().execute_complete(context, event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's entry to a resumed leg."""
        with self._softly():
            return super().resume_execution(next_method, next_kwargs, context)

    @contextmanager
    def _softly(self) -> Iterator[None]:
        """What Airflow does for a sensor that pokes: with `soft_fail`, a failure skips."""
        from airflow_batches._compat import AirflowFailException, AirflowSkipException

        try:
            yield
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise

    def poke(self, context: Context) -> PokeReturnValue:
        """One poll."""
        from airflow_batches.waiting.decision import KeepWaiting, Watch
        from airflow_batches.waiting.wait import poll

        with task_errors(), self.client() as client:
            decision = poll(client, Watch(batch_id=self.batch_id, since=self._since))
            if isinstance(decision, KeepWaiting):
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=self.conclude(decision))

    def _exception(self, verdict: Verdict, outcome: Outcome) -> Exception:
        from airflow_batches._compat import AirflowSensorTimeout, AirflowSkipException
        from airflow_batches.waiting.outcome import Ending

        if self.soft_fail or self.never_fail:
            return AirflowSkipException(verdict.message)
        if outcome.ending is Ending.TIMED_OUT:
            return AirflowSensorTimeout(verdict.message)
        return super()._exception(verdict, outcome)
