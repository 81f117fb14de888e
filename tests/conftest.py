"""Every test process has an Airflow home of its own, on a folder that goes when it ends."""

from __future__ import annotations

import atexit
import gc
import json
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from airflow_batches.emulator import Emulator
from tests.scheduling import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler

_HOME = tempfile.mkdtemp(prefix="airflow-batches-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith(("AIRFLOW_", "ANTHROPIC_"))]:
    del os.environ[_name]
os.environ |= {
    "AIRFLOW_HOME": _HOME,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",  # two tests may define a DAG of one name within 30 s
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER": f"{_HOME}/logs",
}

settings.register_profile("any-machine", deadline=None)  # what a test finds must not hang on how busy the machine is
settings.load_profile("any-machine")

gc.disable()  # until all tests are collected


def pytest_collection_finish() -> None:
    """Keep what was imported out of each later garbage collection, which would take a second for it."""
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """The API on localhost; batches end at once."""
    with Emulator() as running:
        yield running


@pytest.fixture
def connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a connection to the emulator."""
    fields = {"conn_type": "anthropicbatches", "password": emulator.api_key, "host": emulator.url}
    monkeypatch.setenv("AIRFLOW_CONN_ANTHROPIC_DEFAULT", json.dumps(fields))
    return "anthropic_default"
