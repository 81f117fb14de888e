"""The pytest fixture that the package brings: an emulator for a test, and nothing for those that use none."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import airflow_batches
from airflow_batches.emulator import pytest_plugin

ROOT: Final = Path(airflow_batches.__file__).parents[1]
SUITE: Final = """
import pytest, urllib.request, json

def batches(emulator):
    headers = {"x-api-key": emulator.api_key, "anthropic-version": "2023-06-01"}
    request = urllib.request.Request(f"{emulator.url}/v1/messages/batches", headers=headers)
    return json.load(urllib.request.urlopen(request))["data"]

def test_it_serves(message_batches_emulator):
    assert batches(message_batches_emulator) == []
    assert message_batches_emulator.settings.processing_time == 0

@pytest.mark.message_batches_emulator(processing_time=60, seed=1)
class TestMarked:
    def test_the_marker_has_its_settings(self, message_batches_emulator):
        assert message_batches_emulator.settings.processing_time == 60

    @pytest.mark.message_batches_emulator(seed=2)
    def test_the_closest_marker_wins(self, message_batches_emulator):
        settings = message_batches_emulator.settings
        assert (settings.processing_time, settings.seed) == (60, 2)
"""


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest on a folder in a process of its own, with the plugin loaded first, as an entry point is."""
    plugins = ("-p", "no:cacheprovider", "-p", "airflow_batches.emulator.pytest_plugin")
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", *plugins, "."]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_fixture_serves_and_its_marker_takes_settings(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    run = pytest_in(tmp_path)
    assert "3 passed" in run.stdout, run.stdout + run.stderr


def test_a_suite_that_does_not_use_it_loads_no_emulator(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(
        "import sys\n"
        "def test_nothing_is_loaded():\n"
        "    ours = sorted(name for name in sys.modules if name.startswith('airflow_batches'))\n"
        "    print(*ours)\n"
        "    assert ours == ['airflow_batches', 'airflow_batches._lazy', 'airflow_batches.emulator',\n"
        "                    'airflow_batches.emulator.pytest_plugin']\n"
        "    assert not {'airflow', 'h11', 'msgspec', 'requests'} & set(sys.modules)\n"
    )
    run = pytest_in(tmp_path)
    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_the_package_names_it_as_a_pytest_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert list(project["entry-points"]["pytest11"].values()) == [pytest_plugin.__name__]
