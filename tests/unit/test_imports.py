"""DAG files are parsed every few seconds: what an import of ours pulls in is part of what we promise."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import airflow_batches

ROOT: Final = Path(airflow_batches.__file__).parent
SHELL: Final = [
    "from airflow_batches.operators import MessageBatchSubmitOperator",
    "from airflow_batches.operators import MessageBatchResultsOperator",
    "from airflow_batches.operators import MessageBatchCancelOperator",
    "from airflow_batches.operators import MessageBatchDeleteOperator",
    "from airflow_batches.operators import MessageBatchPlanOperator",
    "from airflow_batches.operators import MessageBatchJobOperator",
    "from airflow_batches.sensors import MessageBatchSensor",
    "from airflow_batches.hooks import MessageBatchesHook",
    "from airflow_batches.triggers import MessageBatchTrigger",
    "from airflow_batches.triggers import MessageBatchEndedTrigger",
    "from airflow_batches.triggers import MessageBatchesTrigger",
    "from airflow_batches.decorators.message_batch import message_batch_task",
    "from airflow_batches.provider import get_provider_info",
    "from airflow_batches.plugins.plugin import MessageBatchesPlugin",
]


LAZY: Final = [
    "api",
    "emulator",
    "hooks",
    "jobs",
    "landing",
    "operators",
    "sensors",
    "submission",
    "tables",
    "triggers",
]

MEASURE: Final = """
import json, os, sys
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
before = {name.partition(".")[0] for name in sys.modules}
for statement in json.load(sys.stdin):
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0, statement
        continue
    names = {}
    exec(statement, names)
    packages = {name.partition(".")[0] for name in sys.modules} - before
    print(json.dumps({"modules": [*sys.modules], "packages": [*packages], "listed": names.get("listed")}), flush=True)
    os._exit(0)
"""
"""Run each statement in a fork of an interpreter that has imported `airflow.sdk`, which takes seconds."""


LIGHT: Final = {"airflow_batches.api", "airflow_batches.api.defaults"}
"""Modules of the engine that import nothing."""


def listing(package: str) -> str:
    """The statement that lists a package's names before any of them is loaded."""
    return f"import airflow_batches.{package} as package; listed = [dir(package), package.__all__]"


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """What each statement loads and lists."""
    statements = [*SHELL, *map(listing, LAZY)]
    run = subprocess.run(
        [sys.executable, "-c", MEASURE], input=json.dumps(statements), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return dict(zip(statements, map(json.loads, run.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("statement", SHELL)
def test_importing_the_shell_loads_nothing_but_itself(measured: dict[str, Any], statement: str) -> None:
    ours = {name for name in measured[statement]["modules"] if name.startswith("airflow_batches.")} - LIGHT
    assert ours
    engine = {"api", "submission", "waiting", "landing", "jobs", "tables"}
    assert not {name for name in ours if name.split(".")[1] in engine}
    assert set(measured[statement]["packages"]) <= {"airflow_batches"}


@pytest.mark.parametrize("package", LAZY)
def test_a_package_lists_its_names_before_they_are_loaded(measured: dict[str, Any], package: str) -> None:
    listed, public = map(set, measured[listing(package)]["listed"])
    assert public
    assert public <= listed


def test_every_package_with_names_that_load_late_is_tried() -> None:
    late = {file.parent.name for file in ROOT.glob("*/__init__.py") if "exports(" in file.read_text()}
    assert late == set(LAZY)


def imports_of(file: Path, package: str = "airflow_batches") -> set[str]:
    """Every module of a package that a file names in an import, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith(f"{package}.")}


def test_nothing_private_of_airflow_is_imported() -> None:
    named = {(str(file.relative_to(ROOT)), name) for file in ROOT.rglob("*.py") for name in imports_of(file, "airflow")}
    assert named
    assert not [(file, name) for file, name in named if "._" in name]


ALLOWED: Final = {
    "api": {"api", "_duration", "_lazy", "_thread"},
    "submission": {"submission", "api", "_extras", "_lazy", "_thread", "_uri"},
    "waiting": {"waiting", "api", "_lazy", "_thread"},
    "landing": {"landing", "api", "_duration", "_extras", "_lazy", "_thread", "_uri"},
    "tables": {"tables", "api", "landing", "submission", "_lazy", "_thread", "_uri"},
    "jobs": {"jobs", "tables", "api", "landing", "submission", "waiting"}
    | {"_duration", "_extras", "_lazy", "_row_options", "_thread", "_uri"},
    "emulator": {"emulator", "_lazy"},
}


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_point_only_downwards(folder: str) -> None:
    wrong = {
        (str(file.relative_to(ROOT)), name)
        for file in (ROOT / folder).rglob("*.py")
        for name in imports_of(file)
        if name.split(".")[1] not in ALLOWED[folder]
    }
    assert not wrong


@pytest.mark.parametrize("folder", ["api", "emulator", "jobs", "submission", "tables", "waiting", "landing"])
def test_the_engine_and_the_emulator_know_nothing_of_airflow(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.partition(".")[0] == "airflow"], file
