"""Frameworks that make batch calls of their own against the emulator: pydantic-ai and inspect_ai.

pydantic-ai creates, retrieves, reads and cancels; inspect_ai creates, retrieves and reads. Neither lists or deletes.
inspect_ai allows no fsspec as new as ours, so both live in a virtual environment of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from airflow_batches.emulator import Emulator
from tests.contract.installations import installed, pip_venv
from tests.contract.scripts import HERE, failed, outcome

VERSIONS: Final = {"pydantic_ai": "2.68.0", "inspect_ai": "0.3.285"}
"""The newest releases of 2026-11-29; raise them with the other dependencies."""


@pytest.fixture(scope="session")
def python(shared: Path) -> str:
    """The interpreter of the environment that has both."""
    requirements = (
        f"pydantic-ai-slim[anthropic]=={VERSIONS['pydantic_ai']}",
        f"inspect_ai=={VERSIONS['inspect_ai']}",
        "anthropic>=2.14",
    )
    return str(installed(shared, "frameworks", pip_venv(*requirements)) / "bin" / "python")


@pytest.mark.parametrize(("name", "count"), [("pydantic_ai", 4), ("inspect_ai", 3)])
def test_a_framework_finds_the_api_it_knows(name: str, count: int, python: str, tmp_path: Path) -> None:
    with Emulator() as emulator:
        told = outcome(emulator, python, str(HERE / f"{name}_checks.py"), HOME=str(tmp_path))
    assert told["version"] == VERSIONS[name]
    assert not failed(told), failed(told)
    assert len(told["checks"]) == count
