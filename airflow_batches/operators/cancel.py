"""Cancel a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator

from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import MessageBatchLink

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg


class MessageBatchCancelOperator(BaseOperator):
    """Asks for a batch to be canceled, and returns it as it is then.

    Requests that are already with the model are still answered, and billed; the batch is `canceling` until then.
    A batch that is canceling or has ended is left as it is, so the task may be repeated.

    :param batch_id: the batch (templated).
    :param conn_id: connection with the API key (templated).
    """

    template_fields: Sequence[str] = ("batch_id", "conn_id")
    operator_extra_links = (MessageBatchLink(),)

    def __init__(self, *, batch_id: str | XComArg, conn_id: str = "anthropic_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_id = cast("str", batch_id)  # rendered by Airflow before it is used
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """The batch object after the call."""
        from airflow_batches.api import ProcessingStatus
        from airflow_batches.api.calloff import call_off
        from airflow_batches.api.retry import KNOWN
        from airflow_batches.hooks import MessageBatchesHook

        with task_errors(), MessageBatchesHook(self.conn_id).get_conn() as client:
            batch = client.get(self.batch_id, retry=KNOWN)
            if batch.processing_status not in {ProcessingStatus.CANCELING, ProcessingStatus.ENDED}:
                call_off(client, self.batch_id, "as the task asks")
                batch = client.get(self.batch_id)
            self.log.info("Batch %s is %s", batch.id, batch.status_text)
            return batch.model_dump(mode="json")
