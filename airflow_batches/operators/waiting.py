"""How the submit operator and the sensor wait: both in the same way.

    execute ── polls once ──┬── over: `conclude` in this process
                            └── goes on ──┬── deferrable: defer; `execute_complete` resumes with the outcome
                                          └── not deferrable: block, then `conclude`

The task's deadline ends the wait in the trigger. Airflow's deferral timeout comes later and only as a backstop, because
it resumes the task without an outcome; then the batch is polled once more, with the id from XCom.

A failed poll ends no wait here, unless the API was never reached: see `waiting.decision`.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_batches._compat import TRIGGER_FAILED, TRIGGER_TIMED_OUT
from airflow_batches.operators.failures import task_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context

    from airflow_batches.api import BatchesClient
    from airflow_batches.hooks import MessageBatchesHook
    from airflow_batches.waiting.decision import Watch
    from airflow_batches.waiting.error_report import ErrorReport
    from airflow_batches.waiting.outcome import Outcome
    from airflow_batches.waiting.policy import Verdict
    from airflow_batches.waiting.wait import Answer

logger = logging.getLogger(__name__)

BATCH_ID: Final = "batch_id"
"""The XCom key of a batch's id, which is pushed as soon as it is known."""
BACKSTOP: Final = 600.0
"""Seconds after the wait's deadline when Airflow may end a deferral that has lost its trigger. Chosen: many times the
60 s of `waiting.hub.PATIENCE` and the 26 s that another triggerer took at most to replace a killed one (measured)."""
MAX_FAILURE_RATE: Final = 0.05
"""As `waiting.policy.MAX_FAILURE_RATE`, which is not imported here to keep the import of operators fast."""
READ_TIMEOUT: Final = 15.0
"""Seconds without a byte after which the search for error messages in the results ends. Chosen: a store that takes
longer is in trouble, and the verdict must not wait for it."""
WARNING_LIMIT_S: Final = 10.0
"""Seconds of reading results for a warning. Chosen below `LIMIT_S`, because the task succeeds in any case."""
LANDING: Final = (
    "Its result lines are kept for 29 days. To land them: MessageBatchResultsOperator with "
    'batch_id=XComArg(this_task, key="batch_id") and trigger_rule="all_done", or `airflow-batches land {batch_id} PATH`'
)


def share(value: float | None) -> float | None:
    """Return a share from 0 to 1, or None.

    :raises ValueError: it is anything else, such as 5 for 5 %.
    """
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"max_failure_rate is a share from 0 to 1, not {value!r}")
    return value


class WaitsForBatch:
    """A mixin for tasks that wait for a batch, placed before `BaseOperator`.

    It uses the operator's `defer`. Times are in seconds.
    """

    if TYPE_CHECKING:
        defer: Callable[..., NoReturn]

    conn_id: str
    poll_interval: float
    deferrable: bool
    timeout: float
    max_failure_rate: float | None = MAX_FAILURE_RATE
    cancel_on_timeout: bool = False
    cancel_on_kill: bool = False

    def wait_for_batch(self, client: BatchesClient, batch_id: str) -> str:
        """Wait for a batch, deferred or blocking.

        :param client: makes the first poll, and the others if the task blocks.
        :param batch_id: the batch.
        :return: its id.
        :raises AirflowException: as `conclude`, or the API was not reached for the first poll.
        """
        from airflow_batches.waiting.decision import KeepWaiting
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
        from airflow_batches.waiting.decision import unreached

        if isinstance(answer, BatchesError) and unreached(answer) and not client.answered:
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
                outcome = self._last_look(context, timed_out=timed_out)
                if outcome is not None:
                    return self.conclude(outcome)
        return super().resume_execution(next_method, next_kwargs, context)  # type: ignore[misc]  # BaseOperator's

    def conclude(self, outcome: Outcome) -> str:
        """Judge the outcome of a wait.

        :param outcome: the outcome.
        :return: the batch's id, if the policy says that the task succeeds.
        :raises AirflowSkipException: the batch was canceled as a whole.
        :raises AirflowFailException: too many requests failed.
        :raises AirflowException: the wait timed out or gave up; a retry waits for the same batch.
        """
        from airflow_batches.waiting.outcome import Ending
        from airflow_batches.waiting.policy import Action, judge

        if outcome.ending is Ending.TIMED_OUT and self.cancel_on_timeout and self.may_cancel(outcome.batch_id):
            outcome = self._cancel(outcome)
        report: ErrorReport | None = None
        if outcome.ending is Ending.ENDED and not outcome.counts.known:
            report = self._read_errors(outcome)
            outcome = replace(outcome, counts=report.counts() or outcome.counts)
        verdict = judge(outcome, max_failure_rate=self.max_failure_rate)
        if outcome.counts.errored and report is None and verdict.action in {Action.FAIL, Action.SUCCEED}:
            report = self._read_errors(outcome, brief=verdict.action is Action.SUCCEED)
        verdict = _explained(verdict, report, outcome)
        if verdict.action is not Action.SUCCEED:
            raise self._exception(verdict, outcome)
        if verdict.message:
            logger.warning(verdict.message)
        logger.info("Batch %s has ended: %s", outcome.batch_id, outcome.counts)
        return outcome.batch_id

    def _read_errors(self, outcome: Outcome, *, brief: bool = False) -> ErrorReport:
        """Read from the results why requests failed.

        It never raises, because the verdict must be reported anyway.
        """
        from airflow_batches.api.retry import RetryPolicy
        from airflow_batches.hooks.connection import client_for
        from airflow_batches.waiting.error_report import LIMIT_S, ErrorReport, read_errors

        # A few seconds of retries, also after a 404: the batch has just ended, and a replica may lag behind.
        retry = RetryPolicy(attempts=3, max_retry_after=READ_TIMEOUT, exists=True)
        try:
            connection = self.hook().get_connection(self.conn_id)
            with client_for(connection, retry=retry, longest_read=READ_TIMEOUT) as client:
                return read_errors(
                    client,
                    outcome.batch_id,
                    errors=outcome.counts.errored if outcome.counts.known else None,
                    limit_s=WARNING_LIMIT_S if brief else LIMIT_S,
                )
        except Exception as error:  # noqa: BLE001  # Airflow's look-up of the connection may fail in any way
            return ErrorReport(failure=f"{type(error).__name__}: {error}")

    def may_cancel(self, batch_id: str) -> bool:
        """Whether this try may cancel a batch whose timeout has passed."""
        return True

    def _cancel(self, outcome: Outcome) -> Outcome:
        """Cancel a batch whose timeout has passed; return the outcome if it has ended meanwhile."""
        from airflow_batches._compat import AirflowFailException
        from airflow_batches.api import ProcessingStatus, cancel_if_running
        from airflow_batches.waiting.decision import outcome_of
        from airflow_batches.waiting.outcome import Ending

        with self.client() as client:
            batch = cancel_if_running(client, outcome.batch_id, reason="its timeout is over, cancel_on_timeout is set")
        if batch is None:
            raise AirflowFailException(f"{outcome.batch_id}: {outcome.message}; it does not exist any more")
        if batch.processing_status is ProcessingStatus.ENDED:
            return outcome_of(batch, Ending.ENDED)
        raise AirflowFailException(
            f"{outcome.batch_id}: {outcome.message}. It is canceling, as cancel_on_timeout asks: requests in flight "
            "are still answered, and billed"
        )

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
        """Poll for a task whose trigger is gone; None if the batch goes on or is unknown."""
        from airflow_batches.api import BatchesError
        from airflow_batches.waiting.decision import KeepWaiting, Watch
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
            logger.warning("The trigger is gone, and a last look at batch %s failed: %s", batch_id, answer)
        return None

    def hook(self) -> MessageBatchesHook:
        """Return the hook for the task's connection."""
        from airflow_batches.hooks import MessageBatchesHook

        return MessageBatchesHook(self.conn_id)

    def client(self) -> BatchesClient:
        """Return a client for the task's connection."""
        return self.hook().get_conn()


def progress_log(batch_id: str) -> Callable[[Answer | None], None]:
    """Return a function that logs a batch's progress, as the trigger does."""
    from airflow_batches.waiting.progress import Progress

    progress = Progress(batch_id)

    def tell(answer: Answer | None) -> None:
        if line := progress.line(answer, now=time.time()):
            logger.info(line)

    return tell


def _explained(verdict: Verdict, report: ErrorReport | None, outcome: Outcome) -> Verdict:
    """Add to a verdict the reasons from the results, and how to land them if the task fails."""
    from airflow_batches.waiting.outcome import Ending
    from airflow_batches.waiting.policy import Action

    parts = [verdict.message, str(report or "")]
    if outcome.ending is Ending.ENDED and outcome.counts.finished and verdict.action in {Action.FAIL, Action.RETRY}:
        parts.append(LANDING.format(batch_id=outcome.batch_id))
    return replace(verdict, message=". ".join(filter(None, parts)))
