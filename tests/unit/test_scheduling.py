"""The tests that share something are dealt to one worker."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.scheduling import TOGETHER

ROOT: Final = Path(__file__).parents[2]


def test_the_files_that_share_something_exist() -> None:
    assert all((ROOT / file).exists() for file in TOGETHER)


def test_files_whose_tests_use_one_airflow_are_among_them() -> None:
    files = [file for folder in ("browser", "e2e", "integration") for file in ROOT.glob(f"tests/{folder}/test_*.py")]
    users = {str(file.relative_to(ROOT)) for file in files if uses_an_airflow(file.read_text())}
    assert users
    assert users <= set(TOGETHER)


def uses_an_airflow(source: str) -> bool:
    return any(use in source for use in ("airflow: PrivateAirflow", "log_in: LogIn", 'usefixtures("database"'))
