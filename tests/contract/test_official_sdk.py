"""The official SDK against the emulator: the newest one, and the last of those that still send `x-api-key`."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Final

import pytest

from airflow_batches.emulator import Emulator
from tests.contract.installations import installed, pip_target
from tests.contract.scripts import HERE, failed, outcome

SCRIPT: Final = str(HERE / "sdk_checks.py")
OLD: Final = "0.125.0"
COUNT: Final = 13


@pytest.fixture(scope="session")
def old_sdk(shared: Path) -> Path:
    """A folder with the old SDK and what it depends on."""
    return installed(shared, f"anthropic-{OLD}", pip_target(f"anthropic=={OLD}"))


def test_the_newest_sdk_finds_the_api_it_knows() -> None:
    with Emulator(processing_time=3600) as emulator:
        told = outcome(emulator, sys.executable, SCRIPT)
    assert told["version"] == importlib.metadata.version("anthropic")
    assert not failed(told), failed(told)
    assert len(told["checks"]) == COUNT


def test_an_old_sdk_finds_the_api_it_knows(old_sdk: Path) -> None:
    with Emulator(processing_time=3600) as emulator:
        told = outcome(emulator, sys.executable, SCRIPT, PYTHONPATH=str(old_sdk))
    assert told["version"] == OLD
    assert not failed(told), failed(told)
    assert len(told["checks"]) == COUNT
