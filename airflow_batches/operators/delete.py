"""Delete a batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.sdk import BaseOperator

from airflow_batches.operators.failures import task_errors
from airflow_batches.operators.links import RUN_LINKS
from airflow_batches.provider import DEFAULT_CONNECTION

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from airflow_batches.api import BatchDeleted, BatchesClient

logger = logging.getLogger(__name__)

RETRY_404_S: Final = 5.0
"""Seconds between two deletes that answer 404. Chosen: twelve calls in the minute after which a 404 is believed
(`api.limits.FRESH_404`)."""


class MessageBatchDeleteOperator(BaseOperator):
    """Delete an ended batch and its results, and return the API's confirmation.

    A batch that no longer exists counts as deleted, so the task may be repeated. The operator believes that only after
    every delete has answered 404 for a minute, because a 404 may come from a replica that lags behind. The API refuses
    to delete a batch that has not ended: cancel it first.

    :param batch_id: the batch (templated).
    :param conn_id: connection with the API key (templated).

    Example::

        MessageBatchDeleteOperator(task_id="delete", batch_id="{{ params.batch_id }}")
    """

    template_fields: Sequence[str] = ("batch_id", "conn_id")
    operator_extra_links = RUN_LINKS

    def __init__(self, *, batch_id: str | XComArg, conn_id: str = DEFAULT_CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_id = cast("str", batch_id)  # rendered by Airflow before it is used
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the batch.

        :return: `id` and `type` of the deleted batch.
        :raises AirflowFailException: the API refused, for example because the batch has not ended.
        """
        from airflow_batches.hooks import MessageBatchesHook

        with task_errors(), MessageBatchesHook(self.conn_id).get_conn() as client:
            return delete_batch(client, self.batch_id).model_dump(mode="json")


def delete_batch(
    client: BatchesClient, batch_id: str, *, missing_after: timedelta | None = None, retry_every_s: float = RETRY_404_S
) -> BatchDeleted:
    """Delete a batch, or find that it does not exist.

    :param client: the API.
    :param batch_id: the batch.
    :param missing_after: how long every delete must answer 404; by default `api.limits.FRESH_404`.
    :param retry_every_s: seconds between two deletes that answer 404.
    :return: the confirmation.
    :raises ApiError: when the API refuses.
    """
    from airflow_batches.api import ApiError, BatchDeleted
    from airflow_batches.api.cancellation import is_missing
    from airflow_batches.api.limits import FRESH_404

    give_up_at = time.monotonic() + (missing_after or FRESH_404).total_seconds()
    while True:
        try:
            return client.delete(batch_id)
        except ApiError as error:
            if not is_missing(error):
                raise
            if time.monotonic() >= give_up_at:
                logger.warning("Batch %s does not exist, there is nothing to delete: %s", batch_id, error)
                return BatchDeleted(id=batch_id)
        time.sleep(retry_every_s)
