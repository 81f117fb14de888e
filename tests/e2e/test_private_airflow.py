"""A private Airflow that cannot start says why, and is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.rest import AirflowFailed

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary files are made in."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def assert_gone(airflow: PrivateAirflow, scratch: Path) -> None:
    assert [component.members() for component in airflow.components] == [[]] * len(airflow.components)
    assert list(scratch.iterdir()) == []


def test_a_database_that_is_not_there(scratch: Path) -> None:
    airflow = PrivateAirflow(dags=[], database_url=f"sqlite:///{scratch}/no/such/folder/airflow.db")
    with (
        pytest.raises(AirflowFailed, match=r"could not make its database:(.|\n)*unable to open database file"),
        airflow,
    ):
        pass
    assert_gone(airflow, scratch)


def test_a_process_that_ends_by_itself(scratch: Path) -> None:
    airflow = PrivateAirflow(dags=[], settings={"CORE__EXECUTOR": "NoSuchExecutor"})
    with pytest.raises(AirflowFailed, match=r"Airflow's scheduler has ended:(.|\n)*NoSuchExecutor"), airflow:
        pass
    assert_gone(airflow, scratch)


def test_a_start_that_takes_too_long(scratch: Path) -> None:
    airflow = PrivateAirflow(dags=[], start_timeout=0)
    with pytest.raises(AirflowFailed, match="made no database within 0 s"), airflow:
        pass
    assert_gone(airflow, scratch)


def test_triggerers_come_and_go_one_by_one(airflow: PrivateAirflow) -> None:
    second = airflow.start_triggerer()
    assert second.name == "triggerer-2"
    assert second.members()
    second.kill()
    assert second.members() == []
    assert airflow.triggerers[0].exit_code is None
