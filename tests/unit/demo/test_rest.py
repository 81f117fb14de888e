"""Airflow's REST API, as far as it is asked; the shapes are those that Airflow 3.3.2 answered with."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from requests_mock import Mocker

from airflow_batches.demo.rest import AirflowApi, AirflowFailed

URL = "http://127.0.0.1:8123"
RUN = f"{URL}/api/v2/dags/tiny/dagRuns/run-1"


@pytest.fixture
def api() -> AirflowApi:
    return AirflowApi(URL)


def test_health_is_empty_until_somebody_answers(api: AirflowApi, requests_mock: Mocker) -> None:
    answers: list[dict[str, Any]] = [
        {"exc": requests.ConnectionError},
        {"status_code": 503},
        {
            "json": {
                "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": None},
                "triggerer": {"status": None},
            }
        },
    ]
    requests_mock.get(f"{URL}/api/v2/monitor/health", answers)
    assert [api.health() for _ in answers] == [{}, {}, {"scheduler": "healthy", "triggerer": "None"}]


def test_every_call_after_the_log_in_carries_the_token(api: AirflowApi, requests_mock: Mocker) -> None:
    requests_mock.get(f"{URL}/auth/token", json={"access_token": "a.b.c"}, status_code=201)
    requests_mock.get(RUN, json={"state": "running"})
    api.log_in()
    assert api.run_state("tiny", "run-1") == "running"
    assert requests_mock.request_history[-1].headers["Authorization"] == "Bearer a.b.c"


def test_a_refusal_says_what_was_asked_and_answered(api: AirflowApi, requests_mock: Mocker) -> None:
    requests_mock.get(RUN, status_code=404, text='{"detail": "no such run"}')
    with pytest.raises(AirflowFailed, match=r"GET /api/v2/dags/tiny/dagRuns/run-1 was answered 404: .*no such run"):
        api.run_state("tiny", "run-1")


def test_silence_is_an_error_too(api: AirflowApi, requests_mock: Mocker) -> None:
    requests_mock.get(RUN, exc=requests.ConnectTimeout)
    with pytest.raises(AirflowFailed, match="was not answered"):
        api.run_state("tiny", "run-1")


def test_a_dag_is_waited_for_until_it_is_known(api: AirflowApi, requests_mock: Mocker) -> None:
    similar = {"dags": [{"dag_id": "tiny_too"}]}
    known = {"dags": [{"dag_id": "tiny_too"}, {"dag_id": "tiny"}]}
    requests_mock.get(f"{URL}/api/v2/dags", [{"json": similar}, {"json": known}])
    requests_mock.get(f"{URL}/api/v2/importErrors", json={"import_errors": []})
    api.wait_for_dag("tiny")
    assert len([call for call in requests_mock.request_history if call.path == "/api/v2/dags"]) == 2


def test_a_dag_that_cannot_be_imported_is_not_waited_for(api: AirflowApi, requests_mock: Mocker) -> None:
    error = {"filename": "tiny.py", "stack_trace": "SyntaxError: what is this"}
    requests_mock.get(f"{URL}/api/v2/dags", json={"dags": []})
    requests_mock.get(f"{URL}/api/v2/importErrors", json={"import_errors": [error]})
    with pytest.raises(AirflowFailed, match=r"tiny\.py cannot be imported:\nSyntaxError"):
        api.wait_for_dag("tiny")


def test_waiting_has_an_end(api: AirflowApi, requests_mock: Mocker) -> None:
    requests_mock.get(f"{URL}/api/v2/dags", json={"dags": []})
    requests_mock.get(f"{URL}/api/v2/importErrors", json={"import_errors": []})
    requests_mock.get(RUN, json={"state": "running"})
    with pytest.raises(AirflowFailed, match="'tiny' was not found"):
        api.wait_for_dag("tiny", timeout=0)
    with pytest.raises(AirflowFailed, match="still running"):
        api.wait_for_run("tiny", "run-1", timeout=0)


def test_an_xcom_that_was_not_pushed_is_none(api: AirflowApi, requests_mock: Mocker) -> None:
    entries = f"{RUN}/taskInstances/submit/xcomEntries"
    requests_mock.get(entries, [{"json": {"xcom_entries": []}}, {"json": {"xcom_entries": [{"key": "batch_id"}]}}])
    requests_mock.get(f"{entries}/batch_id", json={"key": "batch_id", "value": "msgbatch_01"})
    assert [api.xcom("tiny", "run-1", "submit", "batch_id") for _ in range(2)] == [None, "msgbatch_01"]


def test_a_log_is_a_line_an_event_with_its_exception(api: AirflowApi, requests_mock: Mocker) -> None:
    content = [
        "plain text",
        {"event": "::group::Pre Execute"},
        {
            "timestamp": "2026-11-24T03:54:54.123456Z",
            "level": "error",
            "event": "Task failed with exception",
            "error_detail": [{"exc_type": "ApiError", "exc_value": "401"}],
        },
    ]
    requests_mock.get(f"{RUN}/taskInstances/submit/logs/1", json={"content": content})
    assert api.log("tiny", "run-1", "submit", 1).splitlines() == [
        "plain text",
        "::group::Pre Execute",
        "03:54:54 error Task failed with exception ApiError: 401",
    ]
