"""`airflow-batches demo`, as a user runs it: what it shows, and that nothing is left of it however it ends."""

from __future__ import annotations

import json
import re
import signal
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from airflow_batches.cli import main
from airflow_batches.demo.example import DAG_ID
from airflow_batches.demo.page import UNDER_WAY
from airflow_batches.demo.report import RESULTS_SHOWN
from airflow_batches.demo.rest import AirflowApi
from airflow_batches.demo.service import ANSWERS
from airflow_batches.demo.stages import AGAIN, CANARY, DEFERRED, OTHERS, PUBLISHED
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.jobs.money import usd
from tests.e2e.processes import Program, program

pytestmark = pytest.mark.e2e

WRONG_KEY = "sk-ant-this-is-not-the-key"


def assert_nothing_is_left(demo: Program) -> None:
    assert demo.family() == []
    assert list(demo.scratch.iterdir()) == []


def runs(url: str) -> list[str]:
    """The states of the runs, the newest first."""
    api = AirflowApi(url)
    api.log_in()
    found = api.call("GET", f"/api/v2/dags/{DAG_ID}/dagRuns", params={"order_by": "-start_date"})["dag_runs"]
    return [run["state"] for run in found]


def test_it_runs_the_whole_job_prints_what_landed_and_with_ui_leaves_a_job_on_the_page_until_ctrl_c(
    tmp_path: Path,
) -> None:
    with program(tmp_path, "demo", "--ui", "--keep", str(tmp_path / "kept")) as demo:
        demo.wait_for("Ctrl-C ends it.")
        found = re.search(r"The page Message Batches is at ((http://127\.0\.0\.1:\d+)/plugin/\S+)\n", demo.output())
        assert found
        assert UNDER_WAY in demo.output()
        assert runs(found[2]) == ["running", "success"]
        assert "<html" in requests.get(found[1], timeout=60).text
        assert "<title>Message Batches" in requests.get(f"{found[2]}/message-batches/", timeout=60).text
        assert demo.listeners() == {"127.0.0.1"}
        assert demo.end(signal.SIGINT) == 0, demo.output()
        assert_nothing_is_left(demo)
    (job,) = (tmp_path / "kept").iterdir()
    manifest = json.loads((job / "manifest.json").read_bytes())
    assert manifest["counts"] == {"succeeded": 8}
    assert [each["counts"].get("errored", 0) for each in manifest["rounds"]] == [1, 0]
    assert [batch["canary"] for batch in manifest["batches"]] == [True, False, False, False]
    for said in (CANARY, OTHERS, AGAIN, PUBLISHED, DEFERRED, "What was sent", "What came back", "The first answers"):
        assert said in demo.output()
    for told in (
        str(job),
        f"bill{usd(Decimal(manifest['cost_usd']))}",
        "estimate$",
        *(batch["id"] for batch in manifest["batches"]),
    ):
        assert told in "".join(demo.output().split())
    assert sum(answer[:20] in demo.output() for answer in ANSWERS.values()) == RESULTS_SHOWN


def test_ctrl_c_in_the_middle_of_a_live_job_cancels_its_batch_and_sends_no_other(tmp_path: Path) -> None:
    with (
        Emulator(processing_time=3600, cancel_time=3600) as emulator,
        program(
            tmp_path, "demo", "--live", ANTHROPIC_API_KEY=str(emulator.api_key), ANTHROPIC_BASE_URL=emulator.url
        ) as demo,
    ):
        demo.wait_for(DEFERRED)
        assert demo.listeners() == {"127.0.0.1"}
        emulator.fault(Fault(endpoint="get", action="status", status=400, times=None))
        assert demo.end(signal.SIGINT) == 130
        assert_nothing_is_left(demo)
        assert [batch["processing_status"] for batch in emulator.batches()] == ["canceling"]
    assert "is canceling" in demo.output()


def test_being_ended_while_airflow_starts_leaves_nothing(tmp_path: Path) -> None:
    with program(tmp_path, "demo") as demo:
        demo.wait_for("database")
        assert demo.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert_nothing_is_left(demo)


def test_a_wrong_key_ends_with_the_log_of_the_task_and_without_the_key(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator() as emulator:
        monkeypatch.setenv("ANTHROPIC_API_KEY", WRONG_KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", emulator.url)
        assert main(["demo", "--live"]) == 1
    out, err = capsys.readouterr()
    assert "Task answer failed" in err
    assert "401 authentication_error" in err
    assert "billed" in out
    assert WRONG_KEY not in out + err
