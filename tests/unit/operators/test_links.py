"""The links from a task to the page in Airflow and to the Claude Console."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk import BaseOperator

from airflow_batches import operators, sensors
from airflow_batches.operators.links import CONSOLE
from tests.contexts import TaskInstance

EVERY = [
    *(getattr(operators, name) for name in operators.__all__),
    *(getattr(sensors, name) for name in sensors.__all__),
]
OF_RUN = {"MessageBatchPlanOperator", "MessageBatchCancelOperator", "MessageBatchDeleteOperator"}
OPERATORS = [each for each in EVERY if isinstance(each, type) and issubclass(each, BaseOperator)]
KEY = TaskInstance(task_id="task", run_id="manual__2026-11-01T00:00:00+00:00", map_index=3)


def links(operator: type[BaseOperator]) -> dict[str, str]:
    """The links of a task instance by the keys of their XComs."""
    return {
        link.xcom_key: link.get_link(None, ti_key=KEY)  # type: ignore[arg-type]  # as Airflow calls it
        for link in operator.operator_extra_links
    }


def test_all_operators_are_looked_at() -> None:
    assert len(OPERATORS) >= 7


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: str(operator.__name__))
def test_each_operator_links_to_the_page_and_to_the_console(operator: type[BaseOperator]) -> None:
    found = links(operator)
    assert found.keys() == {"link_to_page", "link_to_console"}
    assert found["link_to_console"] == CONSOLE
    page = urlsplit(found["link_to_page"])
    assert page.path.endswith("/plugin/message-batches")
    of_task = {"run_id": [KEY.run_id], "task_id": ["task"], "map_index": ["3"]}
    of_run = {"text": [KEY.run_id]}
    shown = of_run if operator.__name__ in OF_RUN else of_task
    assert parse_qs(page.query) == {"dag_id": ["dag"], **shown}


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: str(operator.__name__))
def test_airflow_may_show_each_link(operator: type[BaseOperator]) -> None:
    names = {f"{type(link).__module__}.{type(link).__name__}" for link in operator.operator_extra_links}
    assert names <= {*ProvidersManager().extra_links_class_names}
