"""Submit a batch once, and wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from airflow.sdk import BaseOperator

from airflow_batches._duration import seconds_to_wait
from airflow_batches.hooks.stores import airflow_store
from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import TASK_LINKS
from airflow_batches.operators.requests import Given, RequestsField, unwrapped
from airflow_batches.operators.searching import SearchesForBatch, settle_time
from airflow_batches.operators.tries import NO_STORE, RECEIPT, known_batches, started_at
from airflow_batches.operators.waiting import BATCH_ID, MAX_FAILURE_RATE, share
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

    from airflow_batches.api import BatchesClient
    from airflow_batches.operators.kill import KillHandler
    from airflow_batches.submission.decision import Attempt
    from airflow_batches.submission.receipt import Receipt

FLAGS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0", "none", ""), False),
}
"""Texts that a template may render for a flag."""


class MessageBatchSubmitOperator(SearchesForBatch, BaseOperator):
    """Submit requests as one batch, wait until it has ended, and return its id.

    The batch is submitted once: a retried or cleared task with the same requests re-attaches to its batch. The id is
    pushed to XCom as `batch_id` as soon as it is known, and what was sent as `receipt`; other tasks can use both
    (`XComArg(submit, key="batch_id")`) even if this one fails. A batch without a single success fails the task; a batch
    that was canceled as a whole skips it.

    :param requests: a list or an iterable of `{"custom_id": …, "params": {…}}`, a callable that returns one, the output
        of a task, a shard of `MessageBatchPlanOperator`, or the URI of a JSONL object, `.gz` and `.zst` too. Only a URI
        is templated, because prompts contain braces.
    :param model: the model of requests that name none (templated). None takes the connection's.
    :param conn_id: connection with the API key (templated).
    :param storage_conn_id: connection of the store, if a URI names none (templated).
    :param wait_for_completion: if false, return as soon as the batch is submitted.
    :param deferrable: wait in the triggerer, without a worker slot; if false, the worker blocks.
    :param poll_interval: seconds (or a timedelta) between polls.
    :param timeout: seconds (or a timedelta) to wait at most; by default an hour more than the 24 hours after which the
        API ends a batch (docs, page "Batch processing").
    :param cancel_on_timeout: cancel the batch when the timeout passes. If false, a retry waits for the same batch.
    :param cancel_on_kill: cancel the batch when a person ends the task. When its worker shuts down or its
        `execution_timeout` passes, the batch goes on and the next try re-attaches to it.
    :param max_failure_rate: share (0 to 1) of requests without success above which the task fails. None accepts any
        share, but at least one request must have succeeded. The answers of a failed batch are paid and can be landed.
    :param preflight: what to do about requests that the API would refuse only after the batch has ended:
        `error` (submit nothing), `warn`, or `off`.
    :param on_empty: what to do when there are no requests: `fail` or `skip`.
    :param on_changed: what to do when a retry has other requests than the try before it: `fail` and send nothing, send
        them and `cancel` the older batch, or send them and `keep` it. After a person has cleared the task, `fail` means
        `cancel`.
    :param resubmit: submit again although the earlier batch can be used, for example because too many of its requests
        failed (a bool; templated, so it may come from a DAG param or a Variable: `"{{ params.resubmit }}"`). It has an
        effect once after each clear: retries do not pay again.
    :param on_uncertain: what to do when it is unknown whether an earlier create was accepted: `reconcile` (search for
        the batch in the workspace by creation time, size and custom_ids, which should differ from run to run),
        `resubmit` (and perhaps pay twice), or `fail`.
    :param settle_for: seconds (or a timedelta) for which such a batch is searched, at most, before the requests are
        sent again; from 2 minutes to a day. The task waits deferred.
    :raises ValueError: `max_failure_rate` is not a share, `settle_for` is out of its range, or a time is not more than
        0 seconds.

    Example::

        submit = MessageBatchSubmitOperator(
            task_id="submit",
            requests="s3://conn_id@bucket/requests.jsonl",
            model="claude-haiku-4-5",
            max_failure_rate=0.01,
        )
    """

    template_fields: Sequence[str] = ("requests", "model", "conn_id", "storage_conn_id", "resubmit")
    submits_batches = True
    requests = RequestsField()
    operator_extra_links = TASK_LINKS

    def __init__(
        self,
        *,
        requests: Given,
        model: str | None = None,
        conn_id: str = DEFAULT_CONNECTION,
        storage_conn_id: str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        poll_interval: timedelta | float = 60.0,
        timeout: timedelta | float = timedelta(hours=25),
        cancel_on_timeout: bool = False,
        cancel_on_kill: bool = True,
        max_failure_rate: float | None = MAX_FAILURE_RATE,
        preflight: Literal["error", "warn", "off"] = "error",
        on_empty: Literal["fail", "skip"] = "fail",
        on_changed: Literal["fail", "cancel", "keep"] = "fail",
        resubmit: bool | str = False,
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
        self.poll_interval = seconds_to_wait(poll_interval)
        self.timeout = seconds_to_wait(timeout)
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.max_failure_rate = share(max_failure_rate)
        self.preflight = preflight
        self.on_empty = on_empty
        self.on_changed = on_changed
        self.resubmit = resubmit
        self.on_uncertain = on_uncertain
        self.settle_for = settle_time(settle_for)
        self._killed = False
        self._kill_handler: KillHandler | None = None

    def execute(self, context: Context) -> str:
        """Submit or re-attach, then wait.

        :return: the batch's id.
        :raises AirflowFailException: a retry would not help, or too many requests failed.
        :raises AirflowSkipException: the batch was canceled as a whole, or there are no requests and `on_empty` is
            `skip`.
        """
        from airflow_batches.hooks.connection import client_for, default_model

        with task_errors():
            if context.get("task_state_store") is None:
                self.log.warning(NO_STORE)
            connection = self.hook().get_connection(self.conn_id)
            model = self.model or default_model(connection)
            with client_for(connection) as client, self._kill_handler_for(connection, context) as handler:
                receipt = self._submit(context, client, handler, model)
                handler.set_batch(receipt.batch_id)
                handler.check()
                return self._wait_for(context, client, receipt)

    def _wait_for(self, context: Context, client: BatchesClient, receipt: Receipt) -> str:
        context["ti"].xcom_push(key=BATCH_ID, value=receipt.batch_id)
        context["ti"].xcom_push(key=RECEIPT, value=receipt.to_dict())
        if not self.wait_for_completion:
            return receipt.batch_id
        return self.wait_for_batch(client, receipt.batch_id)

    def execute_complete(self, context: Context, event: Any = None) -> str:
        """Conclude the wait with the trigger's event.

        Before that, cancel a replaced batch whose cancel failed.
        """
        self._cancel_replaced(context)
        return super().execute_complete(context, event)

    def _cancel_replaced(self, context: Context) -> None:
        from airflow_batches.submission.record import RecordStore
        from airflow_batches.submission.sender import cancel_replaced

        store = context.get("task_state_store")
        records = RecordStore(store)
        if store is not None and (record := records.read()).replaced:
            with task_errors(), self.client() as client:
                cancel_replaced(client, records, record)

    def on_kill(self) -> None:
        """Cancel the batch, even while it is submitted, if the task is over (`operators.kill`)."""
        self._killed = True
        if self._kill_handler is not None and self.cancel_on_kill:
            self._kill_handler.request()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Resume after a deferral, in a process that has not read the task's record."""
        from airflow_batches.submission.record import RecordStore

        if (store := context.get("task_state_store")) is not None:
            self._records = RecordStore(store)
        return super().resume_execution(next_method, next_kwargs, context)

    def may_cancel(self, batch_id: str) -> bool:
        """Whether the task's record still names this batch.

        A try that is no longer current reads no record.

        Before Airflow 3.3 there is no record that could show that another try has taken over.
        """
        if self._records is None or self._records.names(batch_id):
            return True
        self.log.warning(
            "Batch %s is not canceled though its timeout is over: another try of this task has taken over, or the "
            "task's record is gone",
            batch_id,
        )
        return False

    def _kill_handler_for(self, connection: Connection, context: Context) -> KillHandler:
        from airflow_batches.api.retry import ONCE
        from airflow_batches.hooks.connection import client_for
        from airflow_batches.operators.kill import JOIN_TIMEOUT, KillHandler
        from airflow_batches.submission.record import MemoryStore, RecordStore

        store = context.get("task_state_store")
        self._records = RecordStore(MemoryStore(self._carried) if store is None else store)
        client = client_for(connection, retry=ONCE, longest_read=JOIN_TIMEOUT)
        self._kill_handler = handler = KillHandler(client, context["ti"], self._records.is_current)
        if self._killed:  # Airflow called on_kill while the connection was looked up
            self.on_kill()
        return handler

    def _attempt(self, context: Context) -> Attempt:
        from airflow_batches.submission.decision import Attempt

        return Attempt(
            on_uncertain=self.on_uncertain,
            on_changed=self.on_changed,
            resubmit=_is_true(self.resubmit),
            generation=context["ti"].max_tries,
            started_at=None if self._carried else started_at(context, resumed=self._resumed),
        )

    def _submit(self, context: Context, client: BatchesClient, handler: KillHandler, model: str | None) -> Receipt:
        from airflow_batches._compat import AirflowFailException, AirflowSkipException
        from airflow_batches.submission import (
            EmptySource,
            ReconcilePending,
            RequestsChanged,
            UncertainSubmit,
            open_source,
        )
        from airflow_batches.submission.submit import submit

        with open_source(unwrapped(self.requests), open_store=airflow_store(self.storage_conn_id)) as source:
            while True:
                try:
                    return submit(
                        client,
                        source,
                        records=self._records,
                        attempt=self._attempt(context),
                        model=model,
                        preflight=self.preflight,
                        anthropic_version=client.anthropic_version,
                        known_batches=lambda: known_batches(context),
                        killed=lambda: self._killed,
                        on_created=handler.set_batch,
                        settle_for=timedelta(seconds=self.settle_for),
                        search_for=self._search_for(context),
                        resumed=self._resumed,
                    )
                except EmptySource as error:
                    if self.on_empty == "skip":
                        raise AirflowSkipException(str(error)) from error
                    raise
                except (UncertainSubmit, RequestsChanged) as error:
                    raise AirflowFailException(str(error)) from error
                except ReconcilePending as error:
                    self.log.warning(str(error))
                    self._put_off(context, client, error)
                    self._resumed = True


def _is_true(value: bool | str) -> bool:
    """Return a flag that may have been rendered from a template."""
    from airflow_batches.api import InvalidRequest

    text = str(value).strip().lower()
    if text not in FLAGS:
        raise InvalidRequest(f"resubmit must be true or false, not {value!r}")
    return FLAGS[text]
