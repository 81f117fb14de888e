"""Frameworks that make batch calls of their own against the emulator: pydantic-ai and inspect_ai.

pydantic-ai creates, retrieves, reads and cancels; inspect_ai creates, retrieves and reads. Neither lists or deletes.
inspect_ai allows no fsspec as new as ours, so pip cannot install it beside the rest; it works with ours.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from airflow_batches.emulator import Emulator
from tests.contract.installations import installed, pip_target
from tests.contract.scripts import HERE, failed, outcome

VERSIONS: Final = {"pydantic_ai": "2.68.0", "inspect_ai": "0.3.285"}
"""The newest releases of 2026-11-29; raise them with the other dependencies."""
REQUIREMENTS: Final = (
    f"pydantic-ai-slim=={VERSIONS['pydantic_ai']}",
    f"pydantic-graph=={VERSIONS['pydantic_ai']}",
    "griffelib==2.4.1",
    "logfire-api==5.6.0",
    f"inspect_ai=={VERSIONS['inspect_ai']}",
    "agent-client-protocol==0.12.1",
    "ijson==3.6.0",
    "jsonlines==4.0.0",
    "jsonpatch==1.48",
    "jsonpointer==3.12",
    "jsonref==1.1.0",
    "mdit-py-plugins==0.7.0",
    "mmh3==5.3.1",
    "nest-asyncio2==1.7.4",
    "platformdirs==4.14.8",
    "regex==2026.11.19",
    "semver==3.1.2",
    "shortuuid==1.0.13",
    "textual==8.2.8",
    "tiktoken==0.14.0",
    "zipfile-zstd==0.0.4",
)
"""Both, and what they need beyond the extra `test`. Installed as they stand here, they take seconds, not minutes."""


@pytest.fixture(scope="session")
def frameworks(shared: Path) -> str:
    """A folder with both."""
    return str(installed(shared, "frameworks", pip_target("--no-deps", "--no-compile", *REQUIREMENTS)))


@pytest.mark.parametrize(("name", "count"), [("pydantic_ai", 4), ("inspect_ai", 3)])
def test_a_framework_finds_the_api_it_knows(name: str, count: int, frameworks: str, tmp_path: Path) -> None:
    script = str(HERE / f"{name}_checks.py")
    with Emulator() as emulator:
        told = outcome(emulator, sys.executable, script, PYTHONPATH=frameworks, HOME=str(tmp_path))
    assert told["version"] == VERSIONS[name]
    assert not failed(told), failed(told)
    assert len(told["checks"]) == count
