"""The program `airflow-batches` as a process, in a folder of its own, against the emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from airflow_batches.emulator import Emulator
from tests.samples import some_requests

PROGRAM: Final = [sys.executable, "-m", "airflow_batches.cli"]
FOREVER: Final = 80_000.0
"""Seconds of processing, on the emulator's clock; less than a day, after which batches expire."""


class Terminal:
    """Calls the program in a folder that holds `requests.jsonl`."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.job = folder / "answers"
        self.write(some_requests(10))
        self.environment = {
            **os.environ, "ANTHROPIC_API_KEY": emulator.api_key, "ANTHROPIC_BASE_URL": emulator.url,
            "PYTHONPATH": str(Path(__file__).parents[3]), "TERM": "xterm", "COLUMNS": "160",
        }  # fmt: skip

    def write(self, requests: Sequence[Any], name: str = "requests.jsonl") -> None:
        (self.folder / name).write_text("".join(json.dumps(request) + "\n" for request in requests))

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def run(self, *arguments: str, requests: str = "requests.jsonl") -> subprocess.CompletedProcess[str]:
        return self.call("run", requests, "answers", "--poll-interval", "0.05", *arguments)

    def begin(self, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        return self.begin_command("run", "requests.jsonl", "answers", *arguments, stderr=stderr)

    def begin_command(self, *arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, *arguments], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=stderr,
            text=True,
        )  # fmt: skip

    def begin_waiting(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a job whose batches do not end, and return when its run waits for them."""
        self.emulator.configure(processing_time=FOREVER)
        process = self.begin("--max-requests", "5", "--poll-interval", "40", *arguments)
        read_until(process, "Waiting up to")
        return process

    def let_batches_end(self) -> None:
        self.emulator.clock.advance(FOREVER)

    def let_lease_expire(self) -> None:
        """Write the ledger as a runner with a slow clock would have."""
        ledger = self.ledger
        ledger["lease"]["expires_at"] = "2020-01-01T00:00:00Z"
        (self.job / "_job/ledger.json").write_text(json.dumps(ledger))

    @property
    def ledger(self) -> Any:
        return json.loads((self.job / "_job/ledger.json").read_text())

    @property
    def ids(self) -> list[str]:
        lines = [line for part in sorted(self.job.glob("results-*")) for line in part.read_text().splitlines()]
        return sorted(json.loads(line)["custom_id"] for line in lines)

    @property
    def statuses(self) -> set[str]:
        return {batch["processing_status"] for batch in self.emulator.batches()}


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what a process writes to standard error, up to the line with this text."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} was not written:\n{seen}")


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)
