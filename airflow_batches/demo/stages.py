"""The stage that a run of the example DAG is in, from what Airflow and the API report.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SUBMIT: Final = "submit"
LAND: Final = "land"
"""The tasks of the example DAG."""

DEFERRED: Final = "Deferred: no worker slot is held"


@dataclass(frozen=True)
class Observed:
    """What is known of a run. States are Airflow's task states, None before the first.

    `deferred_before`: the wait was observed, now or earlier.
    """

    submit: str | None
    land: str | None
    batch_id: str | None = None
    deferred_before: bool = False


def stage(seen: Observed) -> str:
    """Return the title of the stage that a run is in."""
    if failed_task(seen):
        return "The run has failed"
    if seen.submit == "deferred":
        return DEFERRED
    if seen.submit == "success":
        return "The results land, and are checked"
    if seen.deferred_before:
        return "The batch has ended, the task resumes"
    if seen.submit == "running":
        return "The batch is submitted"
    return "The scheduler takes up the run"


def failed_task(seen: Observed) -> str | None:
    """Return the task that made a run fail, or None."""
    states = {SUBMIT: seen.submit, LAND: seen.land}
    return next((task for task, state in states.items() if state in ("failed", "upstream_failed")), None)
