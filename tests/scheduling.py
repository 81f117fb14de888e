"""How pytest-xdist deals the tests out.

A test is dealt out alone, unless it shares something that takes seconds to make: then all tests that share it go to one
worker. `--dist loadgroup` says the same with marks, but pytest 9.2 ignores it (pytest-xdist issue 1386).
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

TOGETHER: Final = {
    "tests/browser/test_access.py": "an Airflow for the browser",
    "tests/browser/test_accessibility.py": "an Airflow for the browser",
    "tests/browser/test_connection_form.py": "an Airflow whose connections are tested",
    "tests/browser/test_page.py": "an Airflow for the browser",
    "tests/e2e/test_kill_and_handover.py": "an Airflow on PostgreSQL",
    "tests/e2e/test_connection_form.py": "the end-to-end tests' Airflow",
    "tests/e2e/test_example_dags.py": "the end-to-end tests' Airflow",
    "tests/e2e/test_jobs.py": "the end-to-end tests' Airflow",
    "tests/e2e/test_lost_and_late_tries.py": "the end-to-end tests' Airflow",
    "tests/e2e/test_private_airflow.py": "the end-to-end tests' Airflow",
    "tests/integration/test_example_dags.py": "Airflow's tables",
    "tests/integration/test_job_dags.py": "Airflow's tables",
    "tests/integration/test_row_dags.py": "Airflow's tables",
    "tests/integration/test_submission_dags.py": "Airflow's tables",
    "tests/unit/test_imports.py": "an interpreter",
}
"""What the tests of a file share."""


class TogetherWhatIsShared(LoadScopeScheduling):  # type: ignore[misc]
    """Deals out tests one by one, or all that share something at once. The largest group is first."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER.get(nodeid.partition("::")[0], nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherWhatIsShared:
    return TogetherWhatIsShared(config, log)
