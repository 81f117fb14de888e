"""Submit a batch, once, and wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseOperator

from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import MessageBatchLink
from airflow_batches.operators.requests import Given, HasRequests
from airflow_batches.operators.tries import NO_STORE, RECEIPT, earlier_tries, publish_displaced
from airflow_batches.operators.waiting import BATCH_ID, WaitsForBatch, seconds, share

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

    from airflow_batches.api import BatchesClient
    from airflow_batches.operators.kill import KillSwitch
    from airflow_batches.submission.receipt import Receipt


class MessageBatchSubmitOperator(WaitsForBatch, HasRequests, BaseOperator):
    """Submits requests as one batch, waits until it has ended, and returns its id.

    The batch is submitted once: a retried or cleared task with the same requests takes its batch up again. The id is
    pushed to XCom as `batch_id` as soon as it is known, what was sent as `receipt`.

    A batch without a single success fails the task, one that was canceled whole skips it.

    :param requests: a list or an iterable of `{"custom_id": …, "params": {…}}`, a callable that returns one, the output
        of a task, a shard of `MessageBatchPlanOperator`, or the URI of a JSONL object, `.gz` and `.zst` too (templated;
        nothing else is, because prompts contain braces).
    :param model: for requests that name none (templated); the connection's when None.
    :param conn_id: connection with the API key (templated).
    :param storage_conn_id: connection of the store, where a URI names none (templated).
    :param wait_for_completion: if false, return as soon as the batch is submitted.
    :param deferrable: wait in the triggerer, without a worker slot; if false, the worker blocks.
    :param poll_interval: seconds (or a timedelta) between polls.
    :param timeout: seconds (or a timedelta) to wait at most. The API ends a batch 24 hours after its creation.
    :param cancel_on_timeout: cancel the batch when the timeout is over. If false, a retry waits for the same batch.
    :param cancel_on_kill: cancel the batch when the task is ended by hand; not when its worker is shut down, or
        `execution_timeout` passes, after which the next try takes the batch up again.
    :param max_failure_rate: share (0 to 1) of requests without success above which the task fails.
    :param preflight: what to do about requests that the API would refuse only after the batch has ended:
        `error` (submit nothing), `warn`, or `off`.
    :param on_uncertain: what to do when nobody knows whether an earlier submission arrived: `reconcile` (look for it
        among the workspace's batches, by time, size and custom_ids, so let those differ from run to run),
        `resubmit` (and perhaps pay twice), or `fail`.
    :param settle_for: seconds (or a timedelta) for which, at most, it is looked for before the requests are sent again:
        as long as the API may still be taking in what a worker sent before it died.
    """

    template_fields: Sequence[str] = ("requests", "model", "conn_id", "storage_conn_id")
    operator_extra_links = (MessageBatchLink(),)

    def __init__(
        self,
        *,
        requests: Given,
        model: str | None = None,
        conn_id: str = "anthropic_default",
        storage_conn_id: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        poll_interval: timedelta | float = 60.0,
        timeout: timedelta | float = timedelta(hours=25),
        cancel_on_timeout: bool = False,
        cancel_on_kill: bool = True,
        max_failure_rate: float | None = None,
        preflight: Literal["error", "warn", "off"] = "error",
        on_uncertain: Literal["reconcile", "resubmit", "fail"] = "reconcile",
        settle_for: timedelta | float = timedelta(minutes=15),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.requests = requests
        self.model = model
        self.conn_id = conn_id
        self.storage_conn_id = storage_conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = seconds(poll_interval)
        self.timeout = seconds(timeout)
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.max_failure_rate = share(max_failure_rate)
        self.preflight = preflight
        self.on_uncertain = on_uncertain
        self.settle_for = seconds(settle_for)
        self._killed = False
        self._kill_switch: KillSwitch | None = None
        self._resumed = False

    def execute(self, context: Context) -> str:
        """Submit or take up again, then wait."""
        from airflow_batches.hooks.message_batches import client_for, default_model

        with task_errors():
            self._begin(context)
            connection = self.hook().get_connection(self.conn_id)
            model = self.model or default_model(connection)
            with client_for(connection) as client, self._kill_switch_for(connection, context) as switch:
                receipt = self._submit(context, client, switch, model)
                switch.arm(receipt.batch_id)
                switch.check()
                return self._wait_for(context, client, receipt)

    def _wait_for(self, context: Context, client: BatchesClient, receipt: Receipt) -> str:
        context["ti"].xcom_push(key=BATCH_ID, value=receipt.batch_id)
        context["ti"].xcom_push(key=RECEIPT, value=receipt.to_dict())
        if not self.wait_for_completion:
            return receipt.batch_id
        return self.wait_for_batch(client, receipt.batch_id)

    def execute_again(self, context: Context, event: Any = None) -> str:
        """The leg after a batch that may be ours has ended: now its ids tell."""
        self._resumed = True
        return self.execute(context)

    def on_kill(self) -> None:
        """Cancel the batch, also one that is being submitted just now, if the task is over (see `operators.kill`)."""
        self._killed = True
        if self._kill_switch is not None and self.cancel_on_kill:
            self._kill_switch.pull()

    def _kill_switch_for(self, connection: Connection, context: Context) -> KillSwitch:
        from airflow_batches.api.retry import ONCE
        from airflow_batches.hooks.message_batches import client_for
        from airflow_batches.operators.kill import LAST_WORDS, KillSwitch

        self._kill_switch = switch = KillSwitch(
            client_for(connection, retry=ONCE, longest_read=LAST_WORDS), context["ti"]
        )
        if self._killed:  # while the connection was looked up
            self.on_kill()
        return switch

    def _begin(self, context: Context) -> None:
        """Remember that a first try has begun, before anything can fail: the next one then knows that none was sent."""
        from airflow_batches.submission.receipt import Memory
        from airflow_batches.submission.submit import begin

        if not self._resumed:
            publish_displaced(context)
        tries = earlier_tries(context, resumed=self._resumed)
        if tries["store"] is None:
            self.log.warning(NO_STORE)
        elif tries["since"] is None:
            begin(Memory(tries["store"]))

    def _submit(self, context: Context, client: BatchesClient, switch: KillSwitch, model: str | None) -> Receipt:
        from airflow_batches._compat import AirflowFailException
        from airflow_batches.submission import UncertainSubmit, Unsettled, open_source
        from airflow_batches.submission.submit import submit

        with open_source(self.given, conn_id=self.storage_conn_id) as source:
            while True:
                try:
                    return submit(
                        client,
                        source,
                        model=model,
                        preflight=self.preflight,
                        on_uncertain=self.on_uncertain,
                        settle_for=timedelta(seconds=self.settle_for),
                        anthropic_version=client.anthropic_version,
                        killed=lambda: self._killed,
                        on_created=switch.arm,
                        **earlier_tries(context, resumed=self._resumed),
                    )
                except UncertainSubmit as error:
                    raise AirflowFailException(str(error)) from error
                except Unsettled as error:
                    self.log.warning(str(error))
                    if self.deferrable:
                        self._defer(self._watch(error.batch_id), method_name="execute_again", cancel_on_kill=False)
                    self._wait_here(client, error.batch_id)
                    self._resumed = True

    def _wait_here(self, client: BatchesClient, batch_id: str) -> None:
        from airflow_batches.api import ApiError

        try:
            client.wait_for(batch_id, poll_interval=self.poll_interval, timeout=self.timeout)
        except ApiError as error:
            # Gone, it is nobody's batch any more.
            if error.status != 404:
                raise
