"""Seconds that the imports of a DAG file cost beyond `airflow.sdk`, ours beside the official provider's.

    python benchmarks/import_time.py [--runs 7]

Each run is an interpreter of its own that imports `airflow.sdk` first and then times one import.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from typing import Final

SUBJECTS: Final = {
    "ours: operators and sensors": "from airflow_batches.operators import MessageBatchSubmitOperator, "
    "MessageBatchResultsOperator, MessageBatchCancelOperator, MessageBatchDeleteOperator, MessageBatchPlanOperator; "
    "from airflow_batches.sensors import MessageBatchSensor",
    "official: operator and sensor": "from airflow.providers.anthropic.operators.batch import AnthropicBatchOperator; "
    "from airflow.providers.anthropic.sensors.batch import AnthropicBatchSensor",
}
SCRIPT: Final = """
import time
from airflow.sdk import BaseOperator, BaseSensorOperator
start = time.perf_counter()
{imports}
print(time.perf_counter() - start)
"""


def seconds(imports: str) -> float:
    """What one fresh interpreter measures."""
    script = SCRIPT.format(imports=imports)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return float(run.stdout.split()[-1])


def main() -> None:
    """Interleaves the subjects, so that a busy moment of the machine meets all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    for _ in range(runs):
        for name, imports in SUBJECTS.items():
            times[name].append(seconds(imports))
    medians = [statistics.median(values) for values in times.values()]
    for (name, values), median in zip(times.items(), medians, strict=True):
        print(f"{name:32} {median:6.3f} s (median of {runs}, {min(values):.3f} to {max(values):.3f})")
    print(f"ratio {medians[1] / medians[0]:.0f}x")


if __name__ == "__main__":
    main()
