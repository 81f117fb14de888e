"""Error answers that a fault asks for have the kind of their status."""

from __future__ import annotations

import pytest

from airflow_batches.emulator import Fault
from tests.unit.emulator.conftest import Start


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, "invalid_request_error", "Invalid request"),
        (402, "billing_error", "There is an issue with your billing."),
        (403, "permission_error", "Your API key does not have permission to use the specified resource."),
        (409, "conflict_error", "The request conflicts with the current state of the resource."),
        (418, "invalid_request_error", "I'm a Teapot"),
        (422, "invalid_request_error", "Unprocessable"),
        (425, "invalid_request_error", "Too Early"),
        (499, "invalid_request_error", "Invalid request"),
        (500, "api_error", "Internal server error"),
        (501, "api_error", "Internal server error"),
        (504, "timeout_error", "Request timed out"),
        (529, "overloaded_error", "Overloaded"),
    ],
)
def test_a_fault_has_the_kind_of_its_status(status: int, kind: str, message: str, start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="list", action="status", status=status))
    response = client.list()
    assert response.status_code == status
    error = response.json()["error"]
    assert error["type"] == kind
    assert error["message"].startswith(message)
    assert response.json()["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(("status", "body"), [(401, {"request_id": None}), (405, {})])
def test_some_answers_do_not_name_their_request(status: int, body: dict[str, None], start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="list", action="status", status=status))
    found = client.list().json()
    assert {name: value for name, value in found.items() if name not in ("type", "error")} == body
