"""Whole jobs through `dag.test()` against the emulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.emulator import Emulator, Fault, Rule
from tests.integration.test_example_dags import EXAMPLES, run, states

pytestmark = pytest.mark.usefixtures("database", "connection")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triggers fire soon: `dag.test()` has no supervisor that could report late."""
    monkeypatch.setattr("airflow_batches.triggers.base.WaitTrigger.QUIET_S", 0.1)


def folder_of(out: Path) -> Path:
    (ledger,) = out.rglob("_job/ledger.json")
    return ledger.parent.parent


def manifest_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    return found


def answered(folder: Path) -> list[str]:
    lines = [line for part in sorted(folder.glob("results-*.jsonl")) for line in part.read_bytes().splitlines()]
    return [json.loads(line)["custom_id"] for line in lines]


def test_the_example_answers_each_prompt_once(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    emulator.configure(processing_time=1.0, retry_after=0)
    source = (EXAMPLES / "answer_in_a_folder.py").read_text().replace("poll_interval=5", "poll_interval=0.3")
    finished = run(dags, source, path=f"file://{tmp_path}/out")
    assert states(finished) == {"answer": "success"}
    folder = folder_of(tmp_path / "out")
    assert len(set(answered(folder))) == len(answered(folder)) == 8
    assert emulator.counters["create"] == 3, "the canary and two shards"
    assert manifest_in(folder)["counts"] == {"succeeded": 8}


JOB = """
from airflow.sdk import dag
from airflow_batches.operators import MessageBatchJobOperator

@dag(schedule=None)
def {name}():
    MessageBatchJobOperator(
        task_id="answer", requests=[f"prompt {{n}}" for n in range(9)], path="file://{path}", model="claude-haiku-4-5",
        defaults={{"max_tokens": 50}}, max_requests=3, poll_interval=0.2, {options}
    )

{name}()
"""


def job(dags: Path, name: str, path: Path, **options: Any) -> dict[str, str]:
    given = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return states(run(dags, JOB.format(name=name, path=path, options=given)))


def test_failed_requests_are_answered_in_round_two_whatever_fails_meanwhile(
    dags: Path, tmp_path: Path, emulator: Emulator
) -> None:
    emulator.configure(processing_time=0.5, retry_after=0)
    emulator.set_rules(
        [Rule(where=lambda request: "prompt 4" in str(request["params"]), outcome="errored", times_per_id=1)]
    )
    emulator.fault(Fault(endpoint="create", action="status", status=529, times=1))
    emulator.fault(Fault(endpoint="get", action="status", status=503, times=3))
    emulator.fault(Fault(endpoint="results", action="cut", times=1))
    assert job(dags, "job_of_two_rounds", tmp_path / "job") == {"answer": "success"}
    found = manifest_in(tmp_path / "job")
    assert found["counts"] == {"succeeded": 9}
    assert len(found["rounds"]) == 2


def test_a_budget_stops_the_job_and_a_higher_one_goes_on(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    path = tmp_path / "job"
    assert job(dags, "job_with_low_budget", path, max_cost_usd="0.0000001") == {"answer": "failed"}
    assert emulator.counters["create"] == 0
    assert job(dags, "job_with_budget", path, max_cost_usd="5") == {"answer": "success"}
    assert sorted(answered(path)) == sorted(set(answered(path)))
    assert len(answered(path)) == 9


def test_a_finished_job_sends_nothing(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    path = tmp_path / "job"
    assert job(dags, "job_once", path, deferrable=False) == {"answer": "success"}
    creates = emulator.counters["create"]
    assert job(dags, "job_again", path) == {"answer": "success"}
    assert emulator.counters["create"] == creates == 3
