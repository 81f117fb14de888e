"""A function is the prompt; a SQL task loads the answers into a table."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from airflow.sdk import Param, dag, task


class Entry(TypedDict):
    """The columns that each answer becomes."""

    capital: str
    inhabitants: int


COUNTRIES = [{"country": name} for name in ("Peru", "Norway", "Egypt", "Korea", "Tunisia", "Latvia")]


@dag(
    schedule=None,
    tags=["airflow-batches"],
    params={"path": Param("/tmp/airflow-batches", type="string", description="A local folder.")},  # noqa: S108
)
def answer_then_load() -> None:
    """Ask about each country, then load the rows."""

    @task.message_batch_job(
        rows=COUNTRIES,
        output_type=Entry,
        path="file://{{ params.path }}/{{ run_id }}",
        model="claude-haiku-4-5",
        defaults={"max_tokens": 200},
        poll_interval=5,
    )
    def ask(row: Mapping[str, Any], tone: str = "short") -> str:
        return f"Name the capital of {row['country']} and how many people live there. Be {tone}."

    @task
    def load(manifest: Mapping[str, Any], folder: str) -> int:
        """Load the answers; this could as well be a `COPY` of the Parquet files by a warehouse."""
        from airflow_batches.tables import read_results

        results = read_results(manifest["failed"]["uri"].rpartition("/")[0])
        Path(folder).mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(Path(folder) / "countries.sqlite") as database:
            database.execute("CREATE TABLE IF NOT EXISTS countries (country PRIMARY KEY, capital, inhabitants)")
            rows = results.to_arrow().select(["country", "capital", "inhabitants"]).to_pylist()
            database.executemany("INSERT OR REPLACE INTO countries VALUES (:country, :capital, :inhabitants)", rows)
        return len(rows)

    load(ask(), "{{ params.path }}")  # type: ignore[call-arg,arg-type,misc]  # Airflow gives the row, and the output


answer_then_load()
