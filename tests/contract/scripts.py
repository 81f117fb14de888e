"""Run a script of checks against an emulator: a process of its own that prints what each check found."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from airflow_batches.emulator import Emulator

HERE: Final = Path(__file__).parent
_TIMEOUT: Final = 240.0


def outcome(emulator: Emulator, *command: str, **environment: str) -> Any:
    """Return the version of the client, and what each check found."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "PYTHON"))}
    env |= {"EMULATOR_URL": emulator.url, "EMULATOR_KEY": emulator.api_key, "EMULATOR_CONTROL": emulator.control_url}
    run = subprocess.run(command, env=env | environment, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.strip().splitlines()[-1])


def failed(told: Any) -> str:
    """Return the checks that failed, and why."""
    return "\n".join(f"{name}:\n{text}" for name, text in told["checks"].items() if text != "ok")
