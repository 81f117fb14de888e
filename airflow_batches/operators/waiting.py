"""How an operator or a sensor waits: the same legs for all of them.

    execute ── polls once ──┬── over: `conclude` on this leg
                            └── goes on ──┬── deferrable: defer; `execute_complete` resumes with the outcome
                                          └── not deferrable: block, then `conclude`

A deadline of ours ends the wait inside the trigger. Airflow's own deferral timeout is only the backstop behind it,
because what it resumes with says nothing of the batch: then the batch is asked once more, from the id in XCom.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_batches._compat import TRIGGER_FAILED, TRIGGER_TIMED_OUT
from airflow_batches.operators.failures import task_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from airflow_batches.api import BatchesClient
    from airflow_batches.hooks import MessageBatchesHook
    from airflow_batches.waiting.decision import Watch
    from airflow_batches.waiting.outcome import Outcome
    from airflow_batches.waiting.policy import Verdict

logger = logging.getLogger(__name__)

BATCH_ID: Final = "batch_id"
"""The XCom key under which a batch's id stands as soon as it is known."""
BACKSTOP: Final = 600.0
"""Seconds beyond our deadline after which Airflow may end a deferral that has lost its trigger."""


def seconds(value: timedelta | float) -> float:
    """Seconds, from either way of saying a time. Raises `ValueError` unless they are more than none."""
    number = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if not number > 0:
        raise ValueError(f"a time to wait must be more than 0 seconds, not {value!r}")
    return number


def share(value: float | None) -> float | None:
    """A share from 0 to 1, or None. Raises `ValueError` for anything else: 5 would be meant as 5 %."""
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"max_failure_rate is a share from 0 to 1, not {value!r}")
    return value


class WaitsForBatch:
    """Mixed in before `BaseOperator`, whose `defer` and `resume_execution` it uses. Times are in seconds."""

    if TYPE_CHECKING:
        defer: Callable[..., NoReturn]

    conn_id: str
    poll_interval: float
    deferrable: bool
    timeout: float
    max_failure_rate: float | None
    cancel_on_timeout: bool = False
    cancel_on_kill: bool = False

    def wait_for_batch(self, client: BatchesClient, batch_id: str) -> str:
        """Wait for a batch by the way that suits; returns its id, or raises what Airflow understands."""
        from airflow_batches.waiting.decision import KeepWaiting
        from airflow_batches.waiting.wait import poll, wait

        watch = self._watch(batch_id)
        decision = poll(client, watch)
        if not isinstance(decision, KeepWaiting):
            return self.conclude(decision)
        if self.deferrable:
            self._defer(watch)
        outcome, _ = wait(client, watch, poll_interval=self.poll_interval, on_answer=_teller())
        return self.conclude(outcome)

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """The leg after the wait: the trigger's event says how it ended."""
        from airflow_batches.waiting.outcome import Outcome

        with task_errors():
            return self.conclude(Outcome.from_event(event))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Airflow's entry to a resumed leg; a failed or lost trigger still gets a last look at the batch."""
        if next_method == TRIGGER_FAILED:
            timed_out = (next_kwargs or {}).get("error") == TRIGGER_TIMED_OUT
            with task_errors():
                outcome = self._last_look(context, timed_out=timed_out)
                if outcome is not None:
                    return self.conclude(outcome)
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]  # BaseOperator's

    def conclude(self, outcome: Outcome) -> str:
        """The batch id of a wait that ended well; any other end is raised, as the policy judges it."""
        from airflow_batches.waiting.outcome import Ending
        from airflow_batches.waiting.policy import Action, judge

        if outcome.ending is Ending.TIMED_OUT and self.cancel_on_timeout and self.may_cancel(outcome.batch_id):
            outcome = self._call_off(outcome)
        verdict = judge(outcome, max_failure_rate=self.max_failure_rate)
        if verdict.action is not Action.SUCCEED:
            raise self._exception(verdict, outcome)
        if verdict.message:
            logger.warning(verdict.message)
        logger.info("Batch %s has ended: %s", outcome.batch_id, outcome.counts)
        return outcome.batch_id

    def may_cancel(self, batch_id: str) -> bool:
        """Whether a batch whose timeout is over is this try's to cancel."""
        return True

    def _call_off(self, outcome: Outcome) -> Outcome:
        """Cancel a batch whose time is over, for good; one that has ended meanwhile is an end like any other."""
        from airflow_batches._compat import AirflowFailException
        from airflow_batches.api.calloff import call_off
        from airflow_batches.waiting.decision import Watch
        from airflow_batches.waiting.outcome import Ending
        from airflow_batches.waiting.wait import poll

        with self.client() as client:
            now = poll(client, Watch(batch_id=outcome.batch_id, since=0.0))
            if isinstance(now, type(outcome)) and now.ending is Ending.ENDED:
                return now
            call_off(client, outcome.batch_id, "its time is over")
        raise AirflowFailException(f"{outcome.batch_id}: {outcome.message}; it was canceled, as cancel_on_timeout asks")

    def _exception(self, verdict: Verdict, outcome: Outcome) -> Exception:
        from airflow_batches._compat import AirflowException, AirflowFailException, AirflowSkipException
        from airflow_batches.waiting.policy import Action

        kinds = {Action.SKIP: AirflowSkipException, Action.FAIL: AirflowFailException, Action.RETRY: AirflowException}
        return kinds[verdict.action](verdict.message)

    def _watch(self, batch_id: str) -> Watch:
        from airflow_batches.waiting.decision import Watch

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

    def _last_look(self, context: Context, *, timed_out: bool) -> Outcome | None:
        """How the wait stands for a task whose trigger is gone; None when the batch goes on or is not known."""
        from airflow_batches.waiting.decision import KeepWaiting, Watch
        from airflow_batches.waiting.wait import poll

        ti = context["ti"]
        batch_id = ti.xcom_pull(task_ids=ti.task_id, key=BATCH_ID, map_indexes=ti.map_index)
        if not batch_id:
            return None
        watch = Watch(batch_id=batch_id, since=0.0, deadline=0.0 if timed_out else None)
        with self.client() as client:
            decision = poll(client, watch)
        return None if isinstance(decision, KeepWaiting) else decision

    def hook(self) -> MessageBatchesHook:
        """The hook for the task's connection."""
        from airflow_batches.hooks import MessageBatchesHook

        return MessageBatchesHook(self.conn_id)

    def client(self) -> BatchesClient:
        """A client for the task's connection."""
        return self.hook().get_conn()


def _teller() -> Callable[[object], None]:
    """Logs how a batch goes on, as the trigger does."""
    from airflow_batches.api import MessageBatch
    from airflow_batches.waiting.progress import Progress

    progress = Progress()

    def tell(answer: object) -> None:
        if isinstance(answer, MessageBatch) and (line := progress.line(answer, now=time.time())):
            logger.info(line)

    return tell
