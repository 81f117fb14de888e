"""The steps of the demo: an API, an Airflow, one run of the example DAG, what it landed.

The job's folder outlives Airflow, because it names the batches that an interrupted demo must cancel, and only without
Airflow no task sends further ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from airflow_batches.api import BatchesClient
from airflow_batches.demo.example import ExampleRun, example_dag
from airflow_batches.demo.interruptions import Interruptions
from airflow_batches.demo.page import begin_slow_run, page_url, stay
from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.report import print_report
from airflow_batches.demo.screen import Screen
from airflow_batches.demo.service import Service, emulated, live
from airflow_batches.provider import DEFAULT_CONNECTION


def run_demo(console: Console, *, on_live_api: bool = False, ui: bool = False, keep: Path | None = None) -> None:
    """Run the demo; however it ends, none of its processes is left.

    :param console: where progress and results are printed.
    :param on_live_api: use Anthropic's API, which costs money; the emulator by default.
    :param ui: keep Airflow running after the run until Ctrl-C, with a job under way on the page "Message Batches".
    :param keep: folder in which the results stay; None: they are removed with Airflow.
    :raises BatchesError: when the demo fails.
    """
    with Interruptions() as interruptions, ExitStack() as outer:
        service = outer.enter_context(live(os.environ) if on_live_api else emulated())
        client = outer.enter_context(BatchesClient(api_key=service.api_key, base_url=service.url))
        screen = outer.enter_context(Screen(console))
        folder = keep or Path(outer.enter_context(TemporaryDirectory(prefix="airflow-batches-answers-")))
        run = ExampleRun(client, screen, service, folder)
        outer.callback(_held, interruptions, run.cancel_batches)
        inner = outer.enter_context(ExitStack())
        screen.show(service.name, f"{service.url}, {service.price}")
        screen.show("A private Airflow starts")
        airflow = inner.enter_context(_airflow(service, screen))
        inner.push(lambda kind, *_: screen.show("Airflow is stopped and removed", failed=kind is not None))
        if ui:
            screen.show("The page Message Batches", page_url(airflow))
        landed = run.to_its_end(airflow)
        if ui:
            begin_slow_run(airflow, service, screen)
        else:
            inner.close()
        screen.finish()
        print_report(console, landed.manifest, landed.first_lines, screen.steps)
        if not keep:
            console.print("\nThe files go with Airflow; --keep DIR leaves them in a folder of yours.")
        if ui:
            stay(console, airflow, service)


def _held(interruptions: Interruptions, work: Callable[[], None]) -> None:
    """Do the work to its end, whatever signals arrive."""
    with interruptions.held():
        work()


def _airflow(service: Service, screen: Screen) -> PrivateAirflow:
    started: list[str] = []

    def progress(part: str) -> None:
        started.append(part)
        screen.show(screen.steps[-1].title, ", ".join(started))

    connections = {DEFAULT_CONNECTION: service.connection()}
    return PrivateAirflow(dags=[example_dag()], connections=connections, on_progress=progress)
