"""DAG files are parsed every few seconds: what an import of ours pulls in is part of what we promise."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import airflow_batches

ROOT: Final = Path(airflow_batches.__file__).parent
SHELL: Final = [
    "from airflow_batches.operators import MessageBatchSubmitOperator",
    "from airflow_batches.operators import MessageBatchResultsOperator",
    "from airflow_batches.operators import MessageBatchCancelOperator",
    "from airflow_batches.operators import MessageBatchDeleteOperator",
    "from airflow_batches.operators import MessageBatchPlanOperator",
    "from airflow_batches.sensors import MessageBatchSensor",
    "from airflow_batches.hooks import MessageBatchesHook",
    "from airflow_batches.triggers import MessageBatchTrigger",
    "from airflow_batches.triggers import MessageBatchEndedTrigger",
    "from airflow_batches.decorators.message_batch import message_batch_task",
    "from airflow_batches.provider import get_provider_info",
]


def loaded_by(statement: str) -> tuple[set[str], set[str]]:
    """Modules loaded before and after a statement, in a fresh interpreter that has `airflow.sdk` already."""
    script = (
        "import sys; from airflow.sdk import BaseOperator, BaseSensorOperator, BaseHook; before = set(sys.modules)\n"
        f"{statement}\nprint('before', *before)\nprint('after', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = (set(line.split()[1:]) for line in run.stdout.splitlines()[-2:])
    assert "airflow.sdk" in before
    return before, after


@pytest.mark.parametrize("statement", SHELL)
def test_importing_the_shell_loads_nothing_but_itself(statement: str) -> None:
    before, after = loaded_by(statement)
    ours = {name for name in after if name.startswith("airflow_batches.")}
    assert ours
    assert not {name for name in ours if name.split(".")[1] in {"api", "submission", "waiting", "landing"}}
    packages = {name.partition(".")[0] for name in after} - {name.partition(".")[0] for name in before}
    assert packages <= {"airflow_batches"}


LAZY: Final = ["api", "emulator", "hooks", "landing", "operators", "sensors", "submission", "triggers"]


@pytest.mark.parametrize("package", LAZY)
def test_a_package_lists_its_names_before_they_are_loaded(package: str) -> None:
    script = f"import airflow_batches.{package} as package\nprint(*dir(package))\nprint(*package.__all__)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    listed, public = (set(line.split()) for line in run.stdout.splitlines()[-2:])
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


@pytest.mark.parametrize("folder", ["api", "emulator", "submission", "waiting", "landing"])
def test_the_engine_and_the_emulator_know_nothing_of_airflow(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.partition(".")[0] == "airflow"], file
