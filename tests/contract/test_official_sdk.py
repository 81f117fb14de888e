"""The official SDK against the emulator: the newest one, and the last of those that still send `x-api-key`."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from airflow_batches.emulator import Emulator

SCRIPT: Final = Path(__file__).with_name("sdk_checks.py")
OLD: Final = "0.125.0"


@pytest.fixture(scope="session")
def old_sdk(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with the old SDK and what it depends on, installed once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    folder, done = shared / f"anthropic-{OLD}", shared / f"anthropic-{OLD}.installed"
    with (shared / f"anthropic-{OLD}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), f"anthropic=={OLD}"]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode != 0:
                pytest.skip(f"anthropic {OLD} cannot be installed from the package index: {run.stderr[-500:]}")
            done.touch()
    return folder


def outcome(emulator: Emulator, **environment: str) -> Any:
    """What the checks say, run in a process of their own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "PYTHON"))}
    env |= {"EMULATOR_URL": emulator.url, "EMULATOR_KEY": emulator.api_key, "EMULATOR_CONTROL": emulator.control_url}
    run = subprocess.run(
        [sys.executable, str(SCRIPT)], env=env | environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def failed(told: Any) -> str:
    return "\n".join(f"{name}:\n{text}" for name, text in told["checks"].items() if text != "ok")


def test_the_newest_sdk_finds_the_api_it_knows() -> None:
    with Emulator(processing_time=3600) as emulator:
        told = outcome(emulator)
    assert told["version"] == importlib.metadata.version("anthropic")
    assert not failed(told), failed(told)
    assert len(told["checks"]) == 12


def test_an_old_sdk_finds_the_api_it_knows(old_sdk: Path) -> None:
    with Emulator(processing_time=3600) as emulator:
        told = outcome(emulator, PYTHONPATH=str(old_sdk))
    assert told["version"] == OLD
    assert not failed(told), failed(told)
    assert len(told["checks"]) == 12
