"""Wait for any batch, also for one that another tool submitted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_batches._duration import seconds_to_wait
from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import MessageBatchLink
from airflow_batches.operators.waiting import BATCH_ID, MAX_FAILURE_RATE, WaitsForBatch, progress_log, share

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_batches.waiting.decision import Decision, Watch
    from airflow_batches.waiting.outcome import Outcome
    from airflow_batches.waiting.policy import Verdict
    from airflow_batches.waiting.wait import Answer


ASK_AGAIN_S: Final = 15.0
"""Seconds between two polls of one poke while the API refuses: 20 calls in the minutes after which it is believed."""


class MessageBatchSensor(WaitsForBatch, BaseSensorOperator):
    """Succeeds with the batch's id once the batch has ended; cancels nothing.

    A batch without a single success fails the sensor, one that was canceled whole skips it. Failures are named with the
    commonest error messages of the results.

    An outage, a refused key or a batch that is not found ends no wait before it has stood for minutes, and then a retry
    waits for the same batch.

    :param batch_id: the batch (templated).
    :param conn_id: connection with the API key (templated).
    :param deferrable: wait in the triggerer. If false, the sensor pokes from a worker (`mode` `poke` or `reschedule`).
    :param poke_interval: seconds (or a timedelta) between polls.
    :param timeout: seconds (or a timedelta) to wait at most. The API ends a batch 24 hours after its creation.
    :param max_failure_rate: share (0 to 1) of requests without success above which the sensor fails. None accepts any
        share, but not that nothing succeeded.
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
        max_failure_rate: float | None = MAX_FAILURE_RATE,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.batch_id = cast("str", batch_id)  # rendered by Airflow before it is used
        self.conn_id = conn_id
        self.deferrable = deferrable
        self.poll_interval = seconds_to_wait(poke_interval)
        self.max_failure_rate = share(max_failure_rate)
        self._tell: Callable[[Answer | None], None] | None = None
        self._is_first_poke = True

    def execute(self, context: Context) -> Any:
        """Defer, or poke as sensors do."""
        if not self.deferrable:
            # Every poke of `reschedule` mode is a process of its own; the wait began with the first.
            self._is_first_poke = not (self.reschedule and context["ti"].get_first_reschedule_date(context))
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
        """One poll; more of them while the API refuses, so that a poke ends only with what is known."""
        from airflow_batches.waiting.decision import KeepWaiting, Watch

        tell = self._tell = self._tell or progress_log(self.batch_id)
        watch = Watch(batch_id=self.batch_id, since=time.time())
        while True:
            decision, answer = self._poll(watch)
            if not isinstance(decision, KeepWaiting):
                return PokeReturnValue(is_done=True, xcom_value=self.conclude(decision))
            tell(answer)
            if decision.standing is None:
                return PokeReturnValue(is_done=False)
            watch = watch.after(decision)
            time.sleep(min(self.poll_interval, ASK_AGAIN_S))

    def _poll(self, watch: Watch) -> tuple[Decision, Answer]:
        """A poll with the connection read anew."""
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
