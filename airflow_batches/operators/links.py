"""The links from a task: to its batches in Airflow's page "Message Batches", and to the Claude Console.

| operators                      | link to the page             | to the Console |
|--------------------------------|------------------------------|----------------|
| job, submit, results, sensor   | this task                    | yes            |
| plan, cancel, delete           | all tasks of the run         | yes            |

The page has no rows for the second group. Airflow stores each link as an XCom, under the key `xcom_key`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

CONSOLE = "https://platform.claude.com/settings/workspaces/default/batches"
"""The documented page ("Batch processing": tracking your batch); a page for a single batch is not documented."""


class MessageBatchLink(BaseOperatorLink):
    """A link to the Console's list of batches.

    Airflow computes it on a worker whenever the task's process ends, so it makes no call.
    """

    name = "Batches in the Claude Console"

    @property
    def xcom_key(self) -> str:
        """The key of the link's XCom."""
        return "link_to_console"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's address, the same for every task."""
        return CONSOLE


class MessageBatchesPageLink(BaseOperatorLink):
    """A link to the page "Message Batches" in Airflow, for one task instance.

    Airflow computes it on a worker whenever the task's process ends, so it makes no call.
    """

    name = "Message Batches"

    @property
    def xcom_key(self) -> str:
        """The key of the link's XCom."""
        return "link_to_page"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's path in Airflow's UI."""
        from airflow_batches.plugins.address import page_in_airflow

        return page_in_airflow(
            dag_id=ti_key.dag_id, run_id=ti_key.run_id, task_id=ti_key.task_id, map_index=ti_key.map_index
        )


class MessageBatchesOfRunLink(BaseOperatorLink):
    """A link to the page "Message Batches" in Airflow, for all tasks of the run.

    Airflow computes it on a worker whenever the task's process ends, so it makes no call.
    """

    name = "Message Batches of this run"

    @property
    def xcom_key(self) -> str:
        """The key of the link's XCom."""
        return "link_to_page"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's path in Airflow's UI."""
        from airflow_batches.plugins.address import run_in_airflow

        return run_in_airflow(dag_id=ti_key.dag_id, run_id=ti_key.run_id)


TASK_LINKS: Final = (MessageBatchesPageLink(), MessageBatchLink())
RUN_LINKS: Final = (MessageBatchesOfRunLink(), MessageBatchLink())
