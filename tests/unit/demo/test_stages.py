"""Where a run stands, from what is seen of it."""

from __future__ import annotations

import pytest

from airflow_batches.demo.stages import DEFERRED, Observed, failed_task, stage

QUEUED = "The scheduler takes up the run"
SUBMITTED = "The batch is submitted"
RESUMED = "The batch has ended, the task resumes"
LANDED = "The results land, and are checked"


def test_a_run_goes_through_its_stages_in_order() -> None:
    course = [
        Observed(None, None),
        Observed("queued", None),
        Observed("running", None),
        Observed("running", None, "msgbatch_01"),
        Observed("deferred", None, "msgbatch_01", deferred_before=True),
        Observed("scheduled", None, "msgbatch_01", deferred_before=True),
        Observed("running", None, "msgbatch_01", deferred_before=True),
        Observed("success", "queued", "msgbatch_01", deferred_before=True),
        Observed("success", "success", "msgbatch_01", deferred_before=True),
    ]
    stages = list(dict.fromkeys(stage(seen) for seen in course))
    assert stages == [QUEUED, SUBMITTED, DEFERRED, RESUMED, LANDED]


def test_a_batch_that_ended_at_once_is_never_deferred() -> None:
    assert stage(Observed("success", "running", "msgbatch_01")) == LANDED


def test_a_run_that_failed_is_said_to_have() -> None:
    assert stage(Observed("failed", "upstream_failed")) == stage(Observed("success", "failed")) == "The run has failed"


@pytest.mark.parametrize(
    ("seen", "task"),
    [
        (Observed("failed", "upstream_failed"), "submit"),
        (Observed("success", "failed"), "land"),
        (Observed("success", "success"), None),
    ],
)
def test_a_failed_run_owes_its_end_to_the_first_task_that_failed(seen: Observed, task: str | None) -> None:
    assert failed_task(seen) == task
