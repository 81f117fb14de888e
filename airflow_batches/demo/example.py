"""One run of the example DAG, followed over Airflow's REST API and the batches API."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airflow_batches.api import BatchesClient, BatchesError
from airflow_batches.demo import stages
from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.report import RESULTS_SHOWN
from airflow_batches.demo.screen import Screen
from airflow_batches.demo.service import Service
from airflow_batches.landing.manifest import Manifest

DAG_ID: Final = "submit_and_land"
EMULATED_TIMEOUT: Final = 180.0
"""Seconds that a run against the emulator may take; chosen: several times what it needs."""
LIVE_TIMEOUT: Final = 25 * 3600.0
"""Seconds that a live run may take; the API ends a batch after 24 hours (docs), and an hour is left for the rest."""
POLL: Final = 0.4
"""Seconds between two checks of the run; chosen: the screen looks live, and the API server has little to do."""
LOG_LINES: Final = 25
"""Lines of a failed task's log in the error; chosen: a traceback fits."""


class DemoFailed(BatchesError):
    """Raised when the run of the example DAG fails; the message has the task's log."""


@dataclass(frozen=True)
class Landed:
    """The manifest of a run, and the first lines of its results."""

    manifest: Manifest
    first_lines: list[bytes]


def example_dag() -> Path:
    """Find the file of the example DAG, in an installed package or in a checkout."""
    package = Path(__file__).parent.parent
    folders = (package / "example_dags", package.parent / "example_dags")
    return next(path for folder in folders if (path := folder / f"{DAG_ID}.py").exists())


class ExampleRun:
    """One run of the example DAG; `to_its_end()` starts it and shows its progress."""

    def __init__(self, airflow: PrivateAirflow, client: BatchesClient, screen: Screen, service: Service) -> None:
        self._airflow = airflow
        self._api = airflow.api
        self._client = client
        self._screen = screen
        self._service = service
        self._run_id = ""
        self._seen = stages.Observed(submit=None, land=None)
        self._counts = ""
        self._counts_due = 0.0

    def to_its_end(self, folder: Path) -> Landed:
        """Run the DAG, and return what landed in the folder. Raises DemoFailed or AirflowFailed."""
        self._screen.show("Airflow reads the DAG", example_dag().name)
        self._api.wait_for_dag(DAG_ID)
        self._run_id = self._api.trigger(DAG_ID, {"path": f"file://{folder.absolute()}"})
        if self._followed() != "success":
            raise self._failure()
        manifest = Manifest.from_dict(self._api.xcom(DAG_ID, self._run_id, stages.LAND))
        return Landed(manifest, _first_lines(folder / f"{self._run_id}.jsonl"))

    def cancel_batch(self) -> None:
        """Cancel the batch if it still runs: a batch of the live API would go on, and be billed."""
        if not self._service.live or not self._run_id:
            return
        with self._airflow.held():
            with suppress(BatchesError):
                self._look()
            if self._seen.submit == "success":
                return
            if self._seen.batch_id is None:
                self._screen.show("No batch is known to have been submitted", "the Claude Console lists them all")
                return
            batch = self._client.cancel(self._seen.batch_id)
            self._screen.show("The batch is being canceled", f"{batch.id} is {batch.processing_status}")

    def _followed(self) -> str:
        deadline = time.monotonic() + (LIVE_TIMEOUT if self._service.live else EMULATED_TIMEOUT)
        while (state := self._api.run_state(DAG_ID, self._run_id)) not in ("success", "failed"):
            self._look()
            if time.monotonic() > deadline:
                raise DemoFailed(f"The run has not ended in time; task {stages.SUBMIT} is {self._seen.submit}.")
            time.sleep(POLL)
        self._look()
        return state

    def _look(self) -> None:
        states = {task["task_id"]: task["state"] for task in self._api.task_instances(DAG_ID, self._run_id)}
        submit = states.get(stages.SUBMIT)
        self._seen = stages.Observed(
            submit=submit,
            land=states.get(stages.LAND),
            batch_id=self._seen.batch_id or self._batch_id(submit),
            deferred_before=self._seen.deferred_before or submit == "deferred",
        )
        self._screen.show(stages.stage(self._seen), self._detail())

    def _batch_id(self, submit: str | None) -> str | None:
        began = submit not in (None, "scheduled", "queued")
        return self._api.xcom(DAG_ID, self._run_id, stages.SUBMIT, "batch_id") if began else None

    def _detail(self) -> str:
        if self._seen.batch_id and self._seen.submit == "deferred":
            return f"{self._progress(self._seen.batch_id)}, {self._seen.batch_id}"
        return self._seen.batch_id or ""

    def _progress(self, batch_id: str) -> str:
        if time.monotonic() >= self._counts_due:
            counts = self._client.get(batch_id).request_counts
            self._counts = f"{counts.total - counts.processing} of {counts.total} requests done"
            self._counts_due = time.monotonic() + self._service.poll_interval
        return self._counts

    def _failure(self) -> DemoFailed:
        task = stages.failed_task(self._seen)
        if task is None:
            return DemoFailed("The run failed, and none of its tasks did; run the demo with --ui to look at it.")
        tries = {each["task_id"]: each["try_number"] for each in self._api.task_instances(DAG_ID, self._run_id)}
        log = self._api.log(DAG_ID, self._run_id, task, tries[task])
        log_end = [line for line in log.splitlines() if "group::" not in line][-LOG_LINES:]
        advice = "Is the key good, and has its workspace credit?" if self._service.live else "Please report this."
        return DemoFailed("\n".join([f"Task {task} failed. {advice} The end of its log:", *log_end]))


def _first_lines(landed: Path) -> list[bytes]:
    with landed.open("rb") as results:
        return [line for line, _ in zip(results, range(RESULTS_SHOWN), strict=False)]
