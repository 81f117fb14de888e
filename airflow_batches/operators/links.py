"""The way from a task to the batch in the Claude Console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

CONSOLE = "https://platform.claude.com/settings/workspaces/default/batches"
"""The documented page ("Batch processing": tracking your batch); a page for a single batch is not documented."""


class MessageBatchLink(BaseOperatorLink):
    """The Console's list of batches. Airflow asks for it on a worker after each leg, so it makes no call."""

    name = "Batches in the Claude Console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page's address, whatever the task."""
        return CONSOLE
