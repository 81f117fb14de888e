"""Cancel a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator

from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import RUN_LINKS
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg


class MessageBatchCancelOperator(BaseOperator):
    """Cancel a batch, and return it as `canceling` or `ended`.

    The task succeeds only after the API has shown one of the two. `canceling` means that requests in flight are still
    answered and billed; then the batch becomes `ended`. A batch that is canceling or has ended is left alone, so the
    task may be repeated. If a cancel is refused or lost and the batch still runs, the task fails; a retry helps after a
    temporary failure. A batch that does not exist fails the task without retries.

    :param batch_id: the batch (templated).
    :param conn_id: connection with the API key (templated).

    Example::

        MessageBatchCancelOperator(task_id="cancel", batch_id="{{ params.batch_id }}")
    """

    template_fields: Sequence[str] = ("batch_id", "conn_id")
    operator_extra_links = RUN_LINKS

    def __init__(self, *, batch_id: str | XComArg, conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_id = cast("str", batch_id)  # rendered by Airflow before it is used
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Cancel the batch.

        :return: the batch as plain JSON values, with the status `canceling` or `ended`.
        :raises AirflowFailException: the batch does not exist, or the key was refused.
        :raises CancelUnconfirmed: the batch may still run; a retry may help.
        """
        from airflow_batches._compat import AirflowFailException
        from airflow_batches.api import cancel_if_running
        from airflow_batches.hooks import MessageBatchesHook

        with task_errors(), MessageBatchesHook(self.conn_id).get_conn() as client:
            batch = cancel_if_running(client, self.batch_id, reason=f"requested by task {self.task_id}")
            if batch is None:
                raise AirflowFailException(
                    f"{self.batch_id} does not exist for connection {self.conn_id!r}: nothing was canceled. Check the "
                    "id, and that the key's workspace is the one that the batch was submitted in"
                )
            if batch.status_text == "canceling":
                self.log.info("Batch %s is canceling: requests in flight are still answered, and billed", batch.id)
            return batch.model_dump(mode="json")
