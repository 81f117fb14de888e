"""Jobs of rows through `dag.test()` against the emulator: the examples, and the README's."""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from airflow_batches.emulator import Emulator
from tests.integration.test_example_dags import EXAMPLES, readme_dag, run, states

pytestmark = pytest.mark.usefixtures("database", "connection")


def table_below(folder: Path) -> list[dict[str, Any]]:
    """The rows that a job published, in order."""
    parts = sorted(folder.rglob("part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def test_a_folder_of_parquet_becomes_typed_columns(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    reviews = tmp_path / "reviews"
    reviews.mkdir()
    for name, numbers in (("a", range(5)), ("b", range(5, 12))):
        table = pa.table(
            {"id": numbers, "text": [f"review {number}" for number in numbers], "big": ["x" * 99] * len(numbers)}
        )
        pq.write_table(table, reviews / f"{name}.parquet")
    source = (EXAMPLES / "classify_a_table.py").read_text().replace("canary=100", "canary=2")
    finished = run(dags, source, reviews=f"file://{reviews}", path=f"file://{tmp_path}/out")
    assert states(finished) == {"classify": "success"}
    rows = table_below(tmp_path / "out")
    assert [row["id"] for row in rows] == [*range(12)]
    assert {row["sentiment"] for row in rows} <= {"positive", "negative", "neutral"}
    assert "big" not in rows[0]
    assert len(emulator.batches()) == 2, "the canary and the others"


def test_answers_are_loaded_by_sql(dags: Path, tmp_path: Path) -> None:
    finished = run(dags, (EXAMPLES / "answer_then_load.py").read_text(), path=f"{tmp_path}/out")
    assert states(finished) == {"ask": "success", "load": "success"}
    with sqlite3.connect(tmp_path / "out" / "countries.sqlite") as database:
        assert database.execute("SELECT COUNT(*), COUNT(capital) FROM countries").fetchall() == [(6, 6)]


def test_a_daily_run_pays_only_for_new_and_changed_rows(dags: Path, tmp_path: Path, emulator: Emulator) -> None:
    source = (EXAMPLES / "pay_only_for_new_rows.py").read_text()
    products = tmp_path / "products.csv"
    days = [
        {1: "pen", 2: "ink", 3: "pad"},
        {1: "pen", 2: "red ink", 3: "pad", 4: "cap"},
        {1: "pen", 2: "red ink", 3: "pad", 4: "cap"},
    ]
    for rows in days:
        products.write_text("id,text\n" + "".join(f"{key},{text}\n" for key, text in rows.items()))
        finished = run(dags, source, products=f"file://{products}", path=f"file://{tmp_path}/out")
        assert set(states(finished).values()) == {"success"}
    assert [batch["request_counts"]["succeeded"] for batch in emulator.batches()][::-1] == [3, 2]
    parts = sorted((tmp_path / "out").rglob("part-*.csv"), key=lambda part: part.stat().st_mtime)
    published = [[*csv.DictReader(part.open())] for part in parts]
    assert [len(rows) for rows in published] == [3, 4, 4]
    assert [row["answer"] for row in published[1]] == [row["answer"] for row in published[2]]


def test_the_readmes_table_runs_as_it_stands(dags: Path, tmp_path: Path) -> None:
    finished = run(dags, readme_dag(1).replace("/tmp/verdicts", f"{tmp_path}/out"))
    assert states(finished) == {"classify": "success"}
    rows = table_below(tmp_path / "out")
    assert [row["id"] for row in rows] == [1, 2]
    assert {row["stars"] for row in rows} <= {1, 2, 3, 4, 5}


def test_the_readmes_function_runs_as_it_stands(dags: Path, tmp_path: Path) -> None:
    finished = run(dags, readme_dag(2).replace("/tmp/verdicts", f"{tmp_path}/out"))
    assert states(finished) == {"classify": "success"}
    assert [row["_status"] for row in table_below(tmp_path / "out")] == ["succeeded", "skipped"]
