"""Where foreign clients are installed."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of the run share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent
