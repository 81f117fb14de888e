"""`@task.message_batch_job` as a task, one leg at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from airflow.sdk import DAG, task

from airflow_batches.decorators.message_batch_job import without_row
from airflow_batches.emulator import Emulator
from tests.contexts import StateStore, context

pytestmark = pytest.mark.usefixtures("connection")

ROWS = [{"id": 1, "text": "Never again."}, {"id": 2, "text": None}]
OPTIONS: dict[str, Any] = {
    "rows": ROWS, "key": "id", "model": "claude-haiku-4-5", "defaults": {"max_tokens": 50}, "deferrable": False,
    "poll_interval": 0.2,
}  # fmt: skip


def execute(function: Any, folder: Path, *args: Any, **options: Any) -> Any:
    """Run the task that a function becomes; return what it returns."""
    operator = operator_of(function, folder, *args, **options)
    ctx = context(task_state_store=StateStore())
    operator.render_template_fields(ctx)
    return operator.execute(ctx)


def operator_of(function: Any, folder: Path, *args: Any, **options: Any) -> Any:
    """Return the operator that a function becomes."""
    with DAG("d"):
        made: Any = task.message_batch_job(path=f"file://{folder}", **{**OPTIONS, **options})(function)
        return made(*args).operator


def rows_in(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "part-00000.parquet").to_pylist()
    return rows


def test_the_function_is_the_prompt_for_each_row(tmp_path: Path, emulator: Emulator) -> None:
    def classify(row: Mapping[str, Any]) -> str | None:
        return f"Classify: {row['text']}" if row["text"] else None

    manifest = execute(classify, tmp_path / "out")
    assert manifest["rows"]["succeeded"] == manifest["rows"]["skipped"] == 1
    assert [(row["id"], row["_status"]) for row in rows_in(tmp_path / "out")] == [(1, "succeeded"), (2, "skipped")]
    (batch,) = emulator.batches()
    assert batch["request_counts"]["succeeded"] == 1


def test_further_parameters_are_arguments_of_the_task_or_members_of_the_context(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []

    def classify(row: Mapping[str, Any], tone: str, ti: Any = None) -> str:
        seen.append((tone, ti.task_id))
        return f"Be {tone}: {row['id']}"

    execute(classify, tmp_path / "out", "short")
    assert seen == [("short", "task")] * 2


def test_what_the_prompt_returns_is_not_taken_for_what_the_task_returns(tmp_path: Path) -> None:
    def classify(row: Mapping[str, Any]) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": str(row["id"])}], "max_tokens": 9}

    assert not operator_of(classify, tmp_path).multiple_outputs


def test_answers_follow_the_output_type(tmp_path: Path) -> None:
    class Verdict(TypedDict):
        good: bool

    def judge(row: Mapping[str, Any]) -> str:
        return f"Good? {row['id']}"

    execute(judge, tmp_path / "out", output_type=Verdict)
    assert {type(row["good"]) for row in rows_in(tmp_path / "out")} == {bool}


def test_a_function_without_a_parameter_for_the_row_is_refused() -> None:
    with pytest.raises(TypeError, match="must take the row as its first parameter"):
        without_row(lambda: "no row")
