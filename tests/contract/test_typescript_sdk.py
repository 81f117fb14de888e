"""The official TypeScript SDK against the emulator."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

from airflow_batches.emulator import Emulator
from tests.contract.installations import installed, npm, program
from tests.contract.scripts import HERE, failed, outcome

VERSION: Final = "1.14.0"
"""The newest release of 2026-11-29; raise it with the other dependencies."""


@pytest.fixture(scope="session")
def typescript_sdk(shared: Path) -> Path:
    """A folder with the SDK, and the script beside it, because Node looks for modules beside a script."""
    folder = installed(shared, f"anthropic-sdk-{VERSION}", npm(f"@anthropic-ai/sdk@{VERSION}"))
    shutil.copy(HERE / "typescript_checks.mjs", folder)
    return folder


def test_the_typescript_sdk_finds_the_api_it_knows(typescript_sdk: Path) -> None:
    with Emulator(processing_time=3600) as emulator:
        told = outcome(emulator, program("node"), str(typescript_sdk / "typescript_checks.mjs"))
        counters = emulator.counters
    assert told["version"] == VERSION
    assert not failed(told), failed(told)
    assert len(told["checks"]) == 8
    assert {name for name, count in counters.items() if not count} == set()
