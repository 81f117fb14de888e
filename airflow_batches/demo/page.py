"""What `--ui` leaves to look at: the page "Message Batches", with a job under way.

| API       | the job under way                                                                              |
|-----------|------------------------------------------------------------------------------------------------|
| emulated  | a second, slower run of the example DAG; its answers are removed with Airflow                  |
| live      | the demo's own run: the page's address is shown before it begins, as a second one would be     |
|           | billed                                                                                         |
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from rich.console import Console

from airflow_batches.demo.example import DAG_ID, EMULATED_TIMEOUT, POLL, DemoFailed
from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.screen import Screen
from airflow_batches.demo.service import Service
from airflow_batches.plugins.address import IN_AIRFLOW

UNDER_WAY: Final = (
    "A slower run of the same job is under way there, for about four minutes: watch its bar and its costs."
)
"""The time is measured: 250 s, of which 200 s are those of the batches (60 s, 80 s and 60 s)."""
ENDED: Final = "The run is there, with its bar and its costs."


def page_url(airflow: PrivateAirflow) -> str:
    """Return the address of the page inside Airflow's UI."""
    return f"{airflow.api.url}{IN_AIRFLOW}"


def begin_slow_run(airflow: PrivateAirflow, service: Service, screen: Screen) -> None:
    """Begin the slower run, and return when its first batch is under way. Does nothing on the live API.

    :raises DemoFailed: it does not begin.
    """
    if service.slow_down is None:
        return
    screen.show("A slower run of the job begins", "for the page")
    service.slow_down()
    run_id = airflow.api.trigger(DAG_ID, {"path": f"file://{airflow.home}/answers"})
    deadline = time.monotonic() + EMULATED_TIMEOUT
    while (states := _states(airflow, run_id)) != {"deferred"}:
        if states & {"failed", "upstream_failed"} or time.monotonic() > deadline:
            raise DemoFailed(f"The second run has not begun. States of its tasks: {sorted(states)}")
        time.sleep(POLL)


def stay(console: Console, airflow: PrivateAirflow, service: Service) -> None:
    """Say where the page is, and how to stop; then wait for Ctrl-C.

    :raises AirflowFailed: one of Airflow's processes has ended.
    """
    shown = ENDED if service.slow_down is None else UNDER_WAY
    console.print(f"\nThe page Message Batches is at {page_url(airflow)}", soft_wrap=True)
    console.print(shown, soft_wrap=True)
    console.print(f"Airflow is at {airflow.api.url} (every visitor is admin). Ctrl-C ends it.", soft_wrap=True)
    with suppress(KeyboardInterrupt):
        while True:
            airflow.check_alive()
            time.sleep(1)


def _states(airflow: PrivateAirflow, run_id: str) -> set[str]:
    return {str(task["state"]) for task in airflow.api.task_instances(DAG_ID, run_id)}
