"""Conclude a wait: cancel after a timeout if asked to, name the errors of the results, and judge the outcome.

The submit operator and the sensor do it in the same way, in the process that polled or resumed. `waiting.policy` is the
judge.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airflow_batches.api import BatchesClient
    from airflow_batches.hooks import MessageBatchesHook
    from airflow_batches.waiting.error_report import ErrorReport
    from airflow_batches.waiting.outcome import Outcome
    from airflow_batches.waiting.policy import Verdict

logger = logging.getLogger(__name__)

READ_TIMEOUT: Final = 15.0
"""Seconds without a byte after which the search for error messages in the results ends. Chosen: a store that takes
longer is in trouble, and the verdict must not wait for it."""
WARNING_LIMIT_S: Final = 10.0
"""Seconds of reading results for a warning. Chosen below `LIMIT_S`, because the task succeeds in any case."""
LANDING: Final = (
    "Its result lines are kept for 29 days. To land them: MessageBatchResultsOperator with "
    'batch_id=XComArg(this_task, key="batch_id") and trigger_rule="all_done", or `airflow-batches land {batch_id} PATH`'
)


class ConcludesWait:
    """A mixin for tasks that judge the outcome of a wait."""

    conn_id: str
    max_failure_rate: float | None
    cancel_on_timeout: bool = False

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
        from airflow_batches.waiting.outcome import Ending, outcome_of

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

    def hook(self) -> MessageBatchesHook:
        """Return the hook for the task's connection."""
        from airflow_batches.hooks import MessageBatchesHook

        return MessageBatchesHook(self.conn_id)

    def client(self) -> BatchesClient:
        """Return a client for the task's connection."""
        return self.hook().get_conn()


def _explained(verdict: Verdict, report: ErrorReport | None, outcome: Outcome) -> Verdict:
    """Add to a verdict the reasons from the results, and how to land them if the task fails."""
    from airflow_batches.waiting.outcome import Ending
    from airflow_batches.waiting.policy import Action

    parts = [verdict.message, str(report or "")]
    if outcome.ending is Ending.ENDED and outcome.counts.finished and verdict.action in {Action.FAIL, Action.RETRY}:
        parts.append(LANDING.format(batch_id=outcome.batch_id))
    return replace(verdict, message=". ".join(filter(None, parts)))
