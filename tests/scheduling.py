"""How pytest-xdist deals the tests out: the end-to-end ones all to one worker, so that there is one Airflow.

`--dist loadgroup` says the same with marks, and is not heard by pytest 9.2 (pytest-xdist issue 1386).
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


class OneWorkerForAirflow(LoadScopeScheduling):  # type: ignore[misc]
    """Every test is dealt out alone, but for those directly in `tests/e2e`."""

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("tests/e2e/test_") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneWorkerForAirflow:
    return OneWorkerForAirflow(config, log)
