"""The example DAGs and the README's, run whole through `dag.test()` against the emulator."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import airflow_batches
from airflow_batches.emulator import Emulator, Fault, Rule
from airflow_batches.emulator.rule_files import read_rules
from tests.airflows import run_the_dag_in

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

pytestmark = pytest.mark.usefixtures("database", "connection")

ROOT: Final = Path(airflow_batches.__file__).parent.parent
EXAMPLES: Final = ROOT / "example_dags"


def run(dags: Path, source: str, **params: Any) -> DagRun:
    """One run of the DAG that a source file defines."""
    (dags / "under_test.py").write_text(source)
    return run_the_dag_in(dags, params)


def states(finished: DagRun) -> dict[str, str]:
    """The state of each task."""
    return {ti.task_id: str(ti.state) for ti in finished.get_task_instances()}


def results(folder: Path) -> dict[str, str]:
    """Result type of each custom_id that landed below a folder."""
    lines = [line for file in sorted(folder.rglob("*.jsonl")) for line in file.read_bytes().splitlines()]
    return {item["custom_id"]: item["result"]["type"] for item in map(json.loads, lines)}


def test_submit_and_land(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    source = (EXAMPLES / "submit_and_land.py").read_text()
    finished = run(dags, source, path=f"file://{tmp_path}/out")
    assert states(finished) == {"submit": "success", "land": "success"}
    assert results(tmp_path / "out") == dict.fromkeys(
        ["lima", "oslo", "cairo", "quito", "seoul", "tunis", "riga", "accra"], "succeeded"
    )
    assert emulator.counters["create"] == 1


def test_build_wait_land_lands_what_failed_apart(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    emulator.configure(errored_share=0.4)
    source = (EXAMPLES / "build_wait_land.py").read_text()
    finished = run(dags, source, path=f"file://{tmp_path}/out")
    assert set(states(finished).values()) == {"success"}
    assert set(results(tmp_path / "out")) == {"review-0", "review-1", "review-2"}


def test_a_deferred_wait_ends_in_the_same_place(
    dags: Path, tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_batches.triggers.message_batch.MessageBatchTrigger.QUIET_S", 0.1)
    emulator.configure(processing_time=2.0, retry_after=0)
    source = (EXAMPLES / "submit_and_land.py").read_text().replace("poll_interval=5", "poll_interval=0.5")
    finished = run(dags, source, path=f"file://{tmp_path}/out")
    assert states(finished) == {"submit": "success", "land": "success"}
    assert emulator.counters["create"] == 1
    assert emulator.counters["get"] > 2


def test_paid_answers_land_although_submit_failed(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    emulator.configure(errored_share=0.5)
    finished = run(dags, (EXAMPLES / "land_what_was_paid.py").read_text(), path=f"file://{tmp_path}/out")
    assert states(finished) == {"submit": "failed", "land": "success", "use": "upstream_failed"}
    assert finished.state == "failed"
    (lines,) = (tmp_path / "out").rglob("words.jsonl")
    assert len(lines.read_bytes().splitlines()) == 8


def test_where_nothing_was_submitted_there_is_nothing_to_land(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="create", action="status", status=401, times=None))
    finished = run(dags, (EXAMPLES / "land_what_was_paid.py").read_text(), path=f"file://{tmp_path}/out")
    assert states(finished) == {"submit": "failed", "land": "skipped", "use": "upstream_failed"}


def test_paid_answers_are_used_where_submit_succeeded(dags: Path, tmp_path: Path) -> None:
    finished = run(dags, (EXAMPLES / "land_what_was_paid.py").read_text(), path=f"file://{tmp_path}/out")
    assert set(states(finished).values()) == {"success"}


def test_cancel_and_delete(dags: Path, emulator: Emulator) -> None:
    emulator.configure(processing_time=3600.0, cancel_time=0.0)
    finished = run(dags, (EXAMPLES / "cancel_and_delete.py").read_text())
    assert states(finished) == {"submit": "success", "cancel": "success", "ended": "skipped", "delete": "success"}
    assert not emulator.batches()


def rules_in(source: str) -> list[Rule]:
    """The rules that an example's docstring shows."""
    return read_rules("\n".join(re.findall(r"^ {4}(\{.*\})$", source, re.MULTILINE)).encode())


def test_a_dag_developed_against_rules_meets_each_of_them(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    source = (EXAMPLES / "develop_against_rules.py").read_text()
    emulator.set_rules(rules_in(source))
    finished = run(dags, source, path=f"file://{tmp_path}/out")
    assert set(states(finished).values()) == {"success"}
    assert emulator.rules.applied() == [1, 1, 1]
    assert labels(finished) == {"review-0": "negative", "review-1": None, "review-2": None}
    (second,) = (tmp_path / "out").rglob("again.jsonl")
    assert [json.loads(line)["custom_id"] for line in second.read_text().splitlines()] == ["review-1"]


def test_the_same_dag_sends_nothing_again_where_every_request_was_answered(
    dags: Path, tmp_path: Path, emulator: Emulator
) -> None:
    emulator.set_rules([Rule(answer="positive")])
    source = (EXAMPLES / "develop_against_rules.py").read_text()
    finished = run(dags, source.replace('"develop_against_rules"', '"answered_at_once"'), path=f"file://{tmp_path}/out")
    assert states(finished) == {
        "submit_first": "success",
        "land_first": "success",
        "failed": "success",
        "submit_again": "skipped",
        "land_again": "skipped",
        "label": "success",
    }
    assert set(labels(finished).values()) == {"positive"}
    assert emulator.counters["create"] == 1


def labels(finished: DagRun) -> dict[str, str | None]:
    """What the task `label` returned."""
    (label,) = [ti for ti in finished.get_task_instances() if ti.task_id == "label"]
    pushed: dict[str, str | None] = label.xcom_pull(task_ids="label")
    return pushed


def readme_dag(number: int) -> str:
    """Return one of the README's DAGs; its emulator is run by the tests of the emulator."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    blocks = [block for block in blocks if "Emulator(" not in block]
    assert len(blocks) == 4
    return blocks[number]


def test_the_readmes_job_runs_as_it_stands(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    finished = run(dags, readme_dag(0).replace("/tmp/reviews", f"{tmp_path}/out"))
    assert states(finished) == {"classify": "success"}
    (folder,) = (tmp_path / "out").iterdir()
    answers = [line for part in sorted(folder.glob("results-*.jsonl")) for line in part.read_text().splitlines()]
    assert [json.loads(line)["result"]["type"] for line in answers] == ["succeeded"] * 2
    assert (folder / "failed.jsonl").read_text() == ""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["counts"] == {"succeeded": 2}
    assert [batch["canary"] for batch in manifest["batches"]] == [True, False]
    assert emulator.counters["create"] == 2


def test_the_readmes_steps_run_as_they_stand(dags: Path, tmp_path: Path) -> None:
    finished = run(dags, readme_dag(3).replace("/tmp/reviews", f"{tmp_path}/out"))
    assert states(finished) == {"submit": "success", "land": "success"}
    assert results(tmp_path / "out") == {"review-0": "succeeded", "review-1": "succeeded"}
