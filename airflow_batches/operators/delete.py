"""Delete a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator

from airflow_batches.operators.failures import task_errors

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg


class MessageBatchDeleteOperator(BaseOperator):
    """Deletes a batch that has ended, with its results, and returns the API's confirmation.

    A batch that does not exist any more counts as deleted, so the task may be repeated. One that has not ended is
    refused by the API: cancel it first.

    :param batch_id: the batch (templated).
    :param conn_id: connection with the API key (templated).
    """

    template_fields: Sequence[str] = ("batch_id", "conn_id")

    def __init__(self, *, batch_id: str | XComArg, conn_id: str = "anthropic_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_id = cast("str", batch_id)  # rendered by Airflow before it is used
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """`{"id", "type"}` of what was deleted."""
        from airflow_batches.api import ApiError, BatchDeleted
        from airflow_batches.hooks import MessageBatchesHook

        with task_errors(), MessageBatchesHook(self.conn_id).get_conn() as client:
            try:
                deleted = client.delete(self.batch_id)
            except ApiError as error:
                if error.status != 404:
                    raise
                self.log.warning("Nothing to delete: %s", error)
                deleted = BatchDeleted(id=self.batch_id)
            return deleted.model_dump(mode="json")
