"""`airflow-batches plan`, `run` and `status` with the rows of a table, as processes against the emulator."""

from __future__ import annotations

import csv
import json
import subprocess

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from airflow_batches.emulator import Rule
from tests.unit.jobs.program import Terminal

ROWS = [{"id": number, "text": f"review {number % 4}" if number else ""} for number in range(10)]
"""Nine rows with four different texts, and one without a text."""
PROMPT = ["--prompt", "Classify: ${text}", "--model", "claude-haiku-4-5", "--defaults", '{"max_tokens": 50}']
SCHEMA = {
    "type": "object",
    "properties": {"sentiment": {"enum": ["good", "bad"]}},
    "required": ["sentiment"],
    "additionalProperties": False,
}


@pytest.fixture
def table(terminal: Terminal) -> Terminal:
    """The program in a folder with `reviews.parquet`."""
    pq.write_table(pa.Table.from_pylist(ROWS), terminal.folder / "reviews.parquet")
    return terminal


def answer(terminal: Terminal, folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return terminal.call("run", "reviews.parquet", folder, "--poll-interval", "0.05", *PROMPT, *arguments)


def test_a_run_answers_the_rows_of_a_table_and_counts_them(table: Terminal) -> None:
    (table.folder / "verdict.json").write_text(json.dumps(SCHEMA))
    done = answer(table, "answers", "--key", "id", "--output-schema", "verdict.json")
    assert done.returncode == 0, done.stderr
    assert "rows       10: 9 succeeded, 1 skipped; 5 shared\n" in done.stderr
    assert json.loads(done.stdout)["rows"] == {"rows": 10, "succeeded": 9, "skipped": 1, "shared": 5}
    rows = pq.read_table(table.job / "part-00000.parquet").to_pylist()
    assert [row["id"] for row in rows] == list(range(10))
    assert {row["sentiment"] for row in rows[1:]} <= {"good", "bad"}
    assert "text" not in rows[0]
    again = answer(table, "answers", "--key", "id", "--output-schema", "verdict.json")
    assert again.returncode == 0, again.stderr
    assert len(table.emulator.batches()) == 1


def test_several_columns_can_be_the_key_and_rows_can_be_published_as_csv(table: Terminal) -> None:
    done = answer(table, "answers", "--key", "id", "--key", "text", "--format", "csv")
    assert done.returncode == 0, done.stderr
    with (table.job / "part-00000.csv").open(newline="") as part:
        rows = list(csv.DictReader(part))
    assert [(row["id"], row["text"]) for row in rows] == [(str(row["id"]), row["text"]) for row in ROWS]


def test_a_plan_shows_rows_and_distinct_requests_and_stores_nothing(table: Terminal) -> None:
    done = table.call("plan", "reviews.parquet", *PROMPT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "rows       10: 4 distinct requests, 5 shared, 1 skipped\n" in done.stdout
    assert f"4 from file://{table.folder}/reviews.parquet" in done.stdout
    numbers = json.loads(table.call("plan", "reviews.parquet", *PROMPT, "--json", "--offline").stdout)
    assert numbers["rows"] == {"rows": 10, "distinct": 4, "shared": 5, "skipped": 1, "reused": 0}
    assert table.emulator.batches() == []
    assert {path.name for path in table.folder.iterdir()} == {"requests.jsonl", "reviews.parquet"}


def test_plan_and_run_leave_out_what_an_earlier_job_answered(table: Terminal) -> None:
    assert answer(table, "yesterday").returncode == 0
    new = [*ROWS, {"id": 10, "text": "a new review"}]
    pq.write_table(pa.Table.from_pylist(new), table.folder / "reviews.parquet")
    plan = table.call("plan", "reviews.parquet", *PROMPT, "--reuse", "yesterday")
    assert "rows       11: 5 distinct requests, 5 shared, 1 skipped, 4 reused\n" in plan.stdout, plan.stderr
    assert "requests   1 from " in plan.stdout
    done = answer(table, "today", "--reuse", "yesterday")
    assert "rows       11: 10 succeeded, 1 skipped; 5 shared, 4 reused\n" in done.stderr
    assert [batch["request_counts"]["succeeded"] for batch in table.emulator.batches()] == [1, 4]


def test_a_status_counts_the_rows_of_the_plan_and_then_those_that_are_published(table: Terminal) -> None:
    assert answer(table, "answers", "--max-cost-usd", "0.000001").returncode == 3
    assert "rows       10: 4 distinct requests, 5 shared, 1 skipped\n" in table.call("status", "answers").stdout
    assert answer(table, "answers").returncode == 0
    assert "rows       10: 9 succeeded, 1 skipped; 5 shared\n" in table.call("status", "answers").stdout
    numbers = json.loads(table.call("status", "answers", "--json").stdout)
    planned = {"rows": 10, "distinct": 4, "shared": 5, "skipped": 1, "reused": 0}
    assert numbers["rows"] == {**planned, "succeeded": 9}


def test_an_answer_that_does_not_follow_the_schema_is_counted_as_such(table: Terminal) -> None:
    (table.folder / "verdict.json").write_text(json.dumps(SCHEMA))
    table.emulator.set_rules([Rule(text="review 3", answer='{"sentiment": "neither"}')])
    done = answer(table, "answers", "--output-schema", "verdict.json", "--max-failure-rate", "any")
    assert "rows       10: 7 succeeded, 2 invalid_output, 1 skipped; 5 shared\n" in done.stderr
    assert "7 succeeded, 2 invalid_output" in table.call("status", "answers").stdout


@pytest.mark.parametrize("arguments", [["--key", "id"], ["--reuse", "yesterday"], ["--output-schema", "verdict.json"]])
def test_options_for_rows_without_a_prompt_are_refused(table: Terminal, arguments: list[str]) -> None:
    (table.folder / "verdict.json").write_text(json.dumps(SCHEMA))
    for command in (["plan", "reviews.parquet"], ["run", "reviews.parquet", "answers"]):
        done = table.call(*command, *arguments)
        assert done.returncode == 1
        assert f"{arguments[0]} is for the rows of a table: give --prompt" in done.stderr
    assert not table.job.exists()


def test_a_column_that_does_not_exist_is_named_before_anything_is_sent(table: Terminal) -> None:
    done = table.call("run", "reviews.parquet", "answers", *PROMPT, "--prompt", "Classify: ${body}")
    assert done.returncode == 1
    assert "'body'" in done.stderr
    assert "Traceback" not in done.stderr
    assert table.emulator.batches() == []
