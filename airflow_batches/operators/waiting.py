"""How an operator or a sensor waits: the same legs for all of them.

    execute ── polls once ──┬── over: `conclude` on this leg
                            └── goes on ──┬── deferrable: defer; `execute_complete` resumes with the outcome
                                          └── not deferrable: block, then `conclude`

A deadline of ours ends the wait inside the trigger. Airflow's own deferral timeout is only the backstop behind it,
because what it resumes with says nothing of the batch: then the batch is asked once more, from the id in XCom.

A poll that fails ends no wait here, unless the API was never reached: see `waiting.decision`.
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
"""The XCom key under which a batch's id stands as soon as it is known."""
BACKSTOP: Final = 600.0
"""Seconds beyond our deadline after which Airflow may end a deferral that has lost its trigger."""
MAX_FAILURE_RATE: Final = 0.05
"""As `waiting.policy.MAX_FAILURE_RATE`, which an operator's module may not import: it stays light."""
READ_TIMEOUT: Final = 15.0
"""Seconds without a byte after which the results are no longer read for their error messages: a store behind the API
that takes longer is in trouble, and the verdict must not wait for it."""
WARNING_LIMIT_S: Final = 10.0
"""Seconds of reading results for a warning. The task succeeds either way; a failure is worth `LIMIT_S`."""
LANDING: Final = (
    "Its result lines are kept for 29 days. To land them: MessageBatchResultsOperator with "
    'batch_id=XComArg(this_task, key="batch_id") and trigger_rule="all_done", or `airflow-batches land {batch_id} PATH`'
)


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
    max_failure_rate: float | None = MAX_FAILURE_RATE
    cancel_on_timeout: bool = False
    cancel_on_kill: bool = False

    def wait_for_batch(self, client: BatchesClient, batch_id: str) -> str:
        """Wait for a batch by the way that suits; returns its id, or raises what Airflow understands."""
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
        """Raise when neither this poll nor any call before it has reached the API: a wait could hide that for a day."""
        from airflow_batches._compat import AirflowException
        from airflow_batches.api import BatchesError
        from airflow_batches.waiting.decision import unreached

        if isinstance(answer, BatchesError) and unreached(answer) and not client.answered:
            raise AirflowException(
                f"Connection {self.conn_id!r} ({client.base_url}): the API was not reached for the first poll of "
                f"{batch_id}: {answer}. Check host, proxy and network. The batch goes on; a retry waits for it"
            ) from answer

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
        """Why requests failed, from the results; never raises, because the verdict must be told in any case."""
        from airflow_batches.api.retry import RetryPolicy
        from airflow_batches.hooks.message_batches import client_for
        from airflow_batches.waiting.error_report import LIMIT_S, ErrorReport, read_errors

        # A few seconds of retries; a 404 is one of a batch that has only just ended.
        retry = RetryPolicy(attempts=3, patience=READ_TIMEOUT, exists=True)
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
        """Whether a batch whose timeout is over is this try's to cancel."""
        return True

    def _cancel(self, outcome: Outcome) -> Outcome:
        """Cancel a batch whose timeout is over; one that has ended meanwhile is an end like any other."""
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
        """How the wait stands for a task whose trigger is gone; None when the batch goes on or is not known."""
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
        """The hook for the task's connection."""
        from airflow_batches.hooks import MessageBatchesHook

        return MessageBatchesHook(self.conn_id)

    def client(self) -> BatchesClient:
        """A client for the task's connection."""
        return self.hook().get_conn()


def progress_log(batch_id: str) -> Callable[[Answer | None], None]:
    """Logs how a batch goes on, as the trigger does."""
    from airflow_batches.waiting.progress import Progress

    progress = Progress(batch_id)

    def tell(answer: Answer | None) -> None:
        if line := progress.line(answer, now=time.time()):
            logger.info(line)

    return tell


def _explained(verdict: Verdict, report: ErrorReport | None, outcome: Outcome) -> Verdict:
    """A verdict with the reasons that the results gave, and the way to the lines where it fails the task."""
    from airflow_batches.waiting.outcome import Ending
    from airflow_batches.waiting.policy import Action

    parts = [verdict.message, str(report or "")]
    if outcome.ending is Ending.ENDED and outcome.counts.finished and verdict.action in {Action.FAIL, Action.RETRY}:
        parts.append(LANDING.format(batch_id=outcome.batch_id))
    return replace(verdict, message=". ".join(filter(None, parts)))
