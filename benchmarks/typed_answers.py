"""Typed answers: texts to Arrow columns, checked, beside json.loads and pa.array without a check.

    python -m benchmarks.typed_answers
    python -m benchmarks.typed_answers --answers 1000000

An answer is an object of six members, about 130 bytes. Each figure is of the median run of several, each in a process
of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from typing import Final, Literal

import pyarrow as pa  # type: ignore[import-untyped]
from pydantic import BaseModel, Field

from airflow_batches.tables import OutputType
from benchmarks._measure import in_turns, measure, table


class Label(BaseModel):
    """What the answers hold."""

    topic: Literal["bill", "delivery", "other"]
    urgency: int = Field(ge=1, le=5)
    confidence: float
    resolved: bool
    summary: str
    note: str | None = None


PLAIN: Final = pa.struct(
    {
        "topic": pa.string(),
        "urgency": pa.int64(),
        "confidence": pa.float64(),
        "resolved": pa.bool_(),
        "summary": pa.string(),
        "note": pa.string(),
    }
)


def answers(count: int) -> list[str]:
    return [
        json.dumps(
            {
                "topic": ("bill", "delivery", "other")[number % 3],
                "urgency": number % 5 + 1,
                "confidence": number / count,
                "resolved": number % 2 == 0,
                "summary": f"Customer {number} asks about the last invoice.",
                "note": None if number % 4 else "twice",
            }
        )
        for number in range(count)
    ]


def unchecked(texts: list[str]) -> None:
    pa.array([json.loads(text) for text in texts], PLAIN)


def of_a_model(texts: list[str]) -> None:
    OutputType.of(Label).columns(texts)


def of_a_schema(texts: list[str]) -> None:
    OutputType.of(OutputType.of(Label).schema).columns(texts)


def checked(texts: list[str]) -> None:
    OutputType.of(Label).check(texts)


RUNS: Final[Mapping[str, Callable[[list[str]], None]]] = {
    "json.loads and pa.array, no check": unchecked,
    "columns of a model": of_a_model,
    "columns of a JSON schema": of_a_schema,
    "check of a model": checked,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    texts = answers(options.answers)
    taken = in_turns(RUNS, lambda name: measure(RUNS[name], texts, rehearsal=[texts[:10]]), options.repeat)
    floor = taken[next(iter(RUNS))].cpu_seconds
    rows = [[name, f"{run.cpu_seconds:.2f}", f"{run.cpu_seconds / floor:.2f}"] for name, run in taken.items()]
    print(table(["what", "CPU s", "x json.loads and pa.array"], rows))


if __name__ == "__main__":
    main()
