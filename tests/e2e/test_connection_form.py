"""The connection type as Airflow's own form shows and tests it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batches.demo.private_airflow import PrivateAirflow
from airflow_batches.demo.service import Service

pytestmark = pytest.mark.e2e

WRONG_KEY = "sk-ant-this-is-not-the-key"


def tried(airflow: PrivateAirflow, **fields: str) -> dict[str, Any]:
    """What the form's Test button answers."""
    body = {"connection_id": "anthropic_new", "conn_type": "anthropicbatches", **fields}
    answer: dict[str, Any] = airflow.api.call("POST", "/api/v2/connections/test", json=body)
    return answer


def test_the_form_offers_the_type_with_its_fields(airflow: PrivateAirflow) -> None:
    types = {each["connection_type"]: each for each in airflow.api.call("GET", "/ui/connections/hook_meta")}
    ours = types["anthropicbatches"]
    assert ours["hook_name"] == "Anthropic Message Batches"
    assert ours["standard_fields"]["password"]["title"] == "API key"
    assert ours["standard_fields"]["host"]["title"] == "Base URL"
    assert {name for name, field in ours["standard_fields"].items() if field and field["hidden"]} == {
        "login",
        "url_schema",
    }
    assert set(ours["extra_fields"]) == {
        "model",
        "auth",
        "anthropic_version",
        "anthropic_beta",
        "workspace_id",
        "timeout",
        "headers",
    }
    assert ours["extra_fields"]["auth"]["schema"]["enum"] == ["api_key", "bearer"]
    assert ours["extra_fields"]["auth"]["value"] == "api_key"


def test_a_good_key_is_accepted(airflow: PrivateAirflow, service: Service) -> None:
    answer = tried(airflow, host=service.url, password=service.api_key)
    assert answer["status"] is True
    assert service.url in answer["message"]


def test_a_wrong_key_is_refused_and_not_shown(airflow: PrivateAirflow, service: Service) -> None:
    answer = tried(airflow, host=service.url, password=WRONG_KEY)
    assert answer["status"] is False
    assert "401 authentication_error" in answer["message"]
    assert WRONG_KEY not in str(answer)


def test_a_missing_key_is_named(airflow: PrivateAirflow, service: Service) -> None:
    answer = tried(airflow, host=service.url)
    assert answer["status"] is False
    assert "API key" in answer["message"]
