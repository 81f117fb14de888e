"""Where the page is: the routes of Airflow and of the page, below the path of `[api] base_url`.

| route                       | what answers                                            |
|-----------------------------|---------------------------------------------------------|
| `/plugin/message-batches`   | Airflow's UI, with the page in a frame (`IN_AIRFLOW`)   |
| `/message-batches/`         | the page itself (`page`)                                |
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode, urlsplit

NAME: Final = "message-batches"
MOUNTED_AT: Final = f"/{NAME}"
IN_AIRFLOW: Final = f"/plugin/{NAME}"


def base_path() -> str:
    """Return the path of `[api] base_url` without its last slash; empty if Airflow is at the root of its host."""
    from airflow.configuration import conf

    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def page_in_airflow(*, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the path of the page inside Airflow's UI, for one task instance.

    :param dag_id: the DAG.
    :param run_id: the run.
    :param task_id: the task.
    :param map_index: -1 if the task is not mapped.
    """
    return _in_airflow(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)


def run_in_airflow(*, dag_id: str, run_id: str) -> str:
    """Return the path of the page inside Airflow's UI, for all tasks of a run.

    :param dag_id: the DAG.
    :param run_id: the run, which the page searches for.
    """
    return _in_airflow(dag_id=dag_id, text=run_id)


def _in_airflow(**view: str | int) -> str:
    return f"{base_path()}{IN_AIRFLOW}?{urlencode(view)}"
