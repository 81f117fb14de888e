"""Tell Airflow's UI about the page "Message Batches".

The page is an external view, not a React app:

|                         | external view                               | React app                                |
|-------------------------|---------------------------------------------|------------------------------------------|
| on 3.1, 3.2 and 3.3     | the same keys, the same frame               | a bundle for that version's React        |
| content security policy | that of its own document                    | Airflow's document has none              |
| a fault of the page     | stays in its frame                          | is one of Airflow's page                 |
| links to tasks          | through Airflow's page, as a frame's cannot | direct                                   |

From Airflow 3.4 on, tasks of these operators have a tab with the page too. Earlier versions do not know `applies_to`
and would show the tab on every task.
"""

from __future__ import annotations

from typing import Any, Final

from airflow.plugins_manager import AirflowPlugin

from airflow_batches._compat import TABS_BY_OPERATOR
from airflow_batches.plugins.address import MOUNTED_AT, NAME, base_path
from airflow_batches.plugins.page import page

TITLE: Final = "Message Batches"
OPERATORS: Final = (
    "MessageBatchJobOperator",
    "MessageBatchSubmitOperator",
    "MessageBatchResultsOperator",
    "MessageBatchSensor",
    "_MessageBatchDecoratedOperator",
    "_MessageBatchJobDecoratedOperator",
)
"""The classes whose tasks the page shows, as Airflow names them. `ui/src/operators.ts` says how it shows them."""


def views(*, tabs: bool = TABS_BY_OPERATOR) -> list[dict[str, Any]]:
    """Return the entries for Airflow's UI: in the menu "Browse", and the tab on tasks.

    :param tabs: whether this Airflow can show a tab for some operators only.
    """
    href = f"{base_path()}{MOUNTED_AT}/"
    menu = {"name": TITLE, "href": href, "destination": "nav", "category": "browse", "url_route": NAME}
    task = "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"
    tab = {
        "name": TITLE,
        "href": f"{href}?{task}",
        "destination": "task_instance",
        "url_route": f"{NAME}-of-task",
        "applies_to": {"operator": list(OPERATORS)},
    }
    return [menu, tab] if tabs else [menu]


class MessageBatchesPlugin(AirflowPlugin):
    """The page "Message Batches".

    Airflow finds it through the entry point `airflow.plugins`; nothing has to be configured.

    Example::

        airflow plugins  # lists it, with its address
    """

    name = "airflow_batches"
    fastapi_apps: list[Any] = [{"app": page, "url_prefix": MOUNTED_AT, "name": TITLE}]  # noqa: RUF012  # as `AirflowPlugin` declares it
    external_views: list[Any] = views()
