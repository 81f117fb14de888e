"""One run of the example DAG, followed over Airflow's REST API and the ledger in the job's folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from airflow_batches.api import BatchesClient, BatchesError, cancel_if_running
from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.report import RESULTS_SHOWN
from airflow_batches.demo.screen import Screen
from airflow_batches.demo.service import Service
from airflow_batches.demo.stages import PLANNED, Observed, detail, estimated, stage
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.manifest import MANIFEST, JobManifest
from airflow_batches.jobs.store import LedgerFile

DAG_ID: Final = "answer_in_a_folder"
TASK_ID: Final = "answer"
EMULATED_TIMEOUT: Final = 300.0
"""Seconds that a run against the emulator may take; chosen: several times what it needs."""
LIVE_TIMEOUT: Final = 49 * 3600.0
"""Seconds that a live run may take; the API ends a batch after 24 hours (docs), and the others follow the canary."""
POLL: Final = 0.4
"""Seconds between two checks of the run; chosen: the screen looks live, and the API server has little to do."""
LOG_LINES: Final = 25
"""Lines of a failed task's log in the error; chosen: a traceback fits."""


class DemoFailed(BatchesError):
    """Raised when the run of the example DAG fails; the message has the task's log."""


@dataclass(frozen=True)
class Landed:
    """The manifest of a run, and the first lines of its results."""

    manifest: JobManifest
    first_lines: list[bytes]


def example_dag() -> Path:
    """Find the file of the example DAG, in an installed package or in a checkout."""
    package = Path(__file__).parent.parent
    folders = (package / "example_dags", package.parent / "example_dags")
    return next(path for folder in folders if (path := folder / f"{DAG_ID}.py").exists())


class ExampleRun:
    """One run of the example DAG; `to_its_end()` starts it and shows its progress.

    :param folder: the folder under which the job makes its own.
    """

    def __init__(self, client: BatchesClient, screen: Screen, service: Service, folder: Path) -> None:
        self._client = client
        self._screen = screen
        self._service = service
        self._folder = folder.absolute()
        self._run_id = ""
        self._seen = Observed()

    def to_its_end(self, airflow: PrivateAirflow) -> Landed:
        """Run the DAG, and return what landed in the folder. Raises DemoFailed or AirflowFailed."""
        self._screen.show("Airflow reads the DAG", example_dag().name)
        airflow.api.wait_for_dag(DAG_ID)
        self._run_id = airflow.api.trigger(DAG_ID, {"path": f"file://{self._folder}"})
        if self._followed(airflow) != "success":
            raise self._failure(airflow)
        manifest = msgspec.json.decode((self._job / MANIFEST).read_bytes(), type=JobManifest)
        return Landed(manifest, _first_lines(self._job, manifest))

    def cancel_batches(self) -> None:
        """Cancel the batches that still run: those of the live API would go on, and be billed.

        Airflow must have ended, because its task would send the next ones.
        """
        ledger = self._ledger() if self._service.live and self._run_id else None
        if ledger is None:
            return
        for batch in ledger.live:
            found = cancel_if_running(self._client, batch.id, reason="the demo was interrupted", look_first=False)
            status = found.processing_status if found else "gone"
            self._screen.show("The batches are being canceled", f"{batch.id} is {status}")
        if ledger.pending:
            self._screen.show("A create was not answered", "a batch may run; the Claude Console lists all batches")

    @property
    def _job(self) -> Path:
        return self._folder / self._run_id

    def _ledger(self) -> JobLedger | None:
        saved = LedgerFile(JobFolder(self._job).ledger).load()
        return saved.ledger if saved else None

    def _followed(self, airflow: PrivateAirflow) -> str:
        deadline = time.monotonic() + (LIVE_TIMEOUT if self._service.live else EMULATED_TIMEOUT)
        while (state := airflow.api.run_state(DAG_ID, self._run_id)) not in ("success", "failed"):
            self._look(airflow)
            if time.monotonic() > deadline:
                raise DemoFailed(f"The run has not ended in time; task {TASK_ID} is {self._seen.task}.")
            time.sleep(POLL)
        self._look(airflow)
        return state

    def _look(self, airflow: PrivateAirflow) -> None:
        states = {task["task_id"]: task["state"] for task in airflow.api.task_instances(DAG_ID, self._run_id)}
        before, self._seen = self._seen, Observed(states.get(TASK_ID), self._ledger())
        if before.ledger is None and self._seen.ledger is not None:  # the plan may be seen together with a batch
            self._screen.show(PLANNED, estimated(self._seen.ledger))
        self._screen.show(stage(self._seen), detail(self._seen))

    def _failure(self, airflow: PrivateAirflow) -> DemoFailed:
        tries = {each["task_id"]: each["try_number"] for each in airflow.api.task_instances(DAG_ID, self._run_id)}
        log = airflow.api.log(DAG_ID, self._run_id, TASK_ID, tries[TASK_ID])
        log_end = [line for line in log.splitlines() if "group::" not in line][-LOG_LINES:]
        advice = "Is the key good, and has its workspace credit?" if self._service.live else "Please report this."
        return DemoFailed("\n".join([f"Task {TASK_ID} failed. {advice} The end of its log:", *log_end]))


def _first_lines(job: Path, manifest: JobManifest) -> list[bytes]:
    """Return the first lines of all results."""
    lines: list[bytes] = []
    for part in manifest.results:
        with (job / part.uri.rpartition("/")[2]).open("rb") as results:
            lines += islice(results, RESULTS_SHOWN - len(lines))
    return lines
