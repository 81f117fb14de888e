"""The package as a whole: its names, and what it needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_batches.api as api
from airflow_batches.api import limits


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(api.__file__).read_text())
    seen = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen == set(api.__all__)


@pytest.mark.parametrize("name", api.__all__)
def test_every_public_name_is_there(name: str) -> None:
    public = getattr(api, name)
    assert public.__name__ == name
    assert public.__module__.startswith("airflow_batches.api.")
    assert public.__doc__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        api.Nothing  # noqa: B018  # the access is what is tested


def loaded_by(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize(
    "statement",
    [
        "from airflow_batches.api import *",
        "from airflow_batches.api import BatchesClient; BatchesClient('key').close()",
        "from airflow_batches.api.polling import decide",
        "from airflow_batches.waiting.wait import wait",
    ],
)
def test_it_needs_no_airflow(statement: str) -> None:
    loaded = loaded_by(statement)
    assert "requests" in loaded or "polling" in statement
    assert "airflow" not in loaded


def test_naming_the_package_loads_nothing_of_weight() -> None:
    assert not {"requests", "pydantic", "msgspec", "tenacity"} & loaded_by("import airflow_batches.api")


def test_the_limits_are_the_apis() -> None:
    assert (limits.MAX_REQUESTS, limits.MAX_BODY_BYTES, limits.MAX_PAGE) == (100_000, 256_000_000, 1_000)
    for fine in ("a", "A-9_z", "x" * 64):
        assert limits.CUSTOM_ID.fullmatch(fine)
    for wrong in ("", "x" * 65, "a b", "é", "a\n", "a.b", "\u0661"):
        assert not limits.CUSTOM_ID.fullmatch(wrong)
