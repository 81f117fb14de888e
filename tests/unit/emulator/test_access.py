"""Who may call, and what the others are told."""

from __future__ import annotations

import pytest
import requests

from airflow_batches.emulator import Emulator
from tests.unit.emulator.client import VERSION, Client, lines
from tests.unit.emulator.conftest import Start

KEY = "sk-ant-emulator"


def ask(emulator: Emulator, **headers: str) -> requests.Response:
    given = {"anthropic-version": VERSION} | headers
    return requests.get(f"{emulator.url}/v1/messages/batches", headers=given, timeout=30)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"x-api-key": "sk-ant-other", "authorization": f"Bearer {KEY}"},
        {"x-api-key": KEY, "authorization": "Bearer sk-ant-other"},
    ],
    ids=str,
)
def test_a_key_is_taken_from_either_header(headers: dict[str, str], emulator: Emulator) -> None:
    assert ask(emulator, **headers).status_code == 200


@pytest.mark.parametrize(
    "headers", [{"x-api-key": "sk-ant-other"}, {"authorization": "Bearer x"}, {"x-api-key": KEY + "x"}], ids=str
)
def test_a_bad_key_is_told_so_with_a_null_request_id_in_the_body(headers: dict[str, str], emulator: Emulator) -> None:
    response = ask(emulator, **headers)
    assert response.status_code == 401
    assert response.text == (
        '{"type":"error","error":{"type":"authentication_error","message":"API key is invalid."},"request_id":null}'
    )
    assert response.headers["request-id"].startswith("req_")
    assert "anthropic-workspace-id" not in response.headers
    assert "anthropic-organization-id" not in response.headers


@pytest.mark.parametrize("headers", [{}, {"authorization": f"Basic {KEY}"}, {"x-api-key": ""}], ids=str)
def test_no_key_is_an_authentication_error_that_names_its_request(headers: dict[str, str], emulator: Emulator) -> None:
    response = ask(emulator, **headers)
    assert response.status_code == 401
    assert response.json()["error"] == {"type": "authentication_error", "message": "x-api-key header is required"}
    assert response.json()["request_id"] == response.headers["request-id"]
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("sk-ant-oat01-other", "OAuth access token is invalid."),
        ("sk-ant-oat01-old", "OAuth access token has expired. Re-authenticate to continue."),
        ("sk-ant-oat01-taken", "OAuth access token has been revoked."),
    ],
)
def test_an_oauth_token_is_refused_for_its_own_reason(token: str, message: str, start: Start) -> None:
    settings = {"sk-ant-oat01-old": "expired", "sk-ant-oat01-taken": "revoked"}
    emulator, _ = start(refused_tokens=settings, workspaces={"sk-ant-oat01-good": "wrkspc_a"})
    response = ask(emulator, authorization=f"Bearer {token}")
    assert (response.status_code, response.json()["error"]["message"]) == (401, message)
    assert response.json()["request_id"] is None
    assert ask(emulator, authorization="Bearer sk-ant-oat01-good").status_code == 200


def test_a_token_that_expires_is_refused_from_then_on(start: Start) -> None:
    emulator, _ = start(api_key=None)
    assert ask(emulator, authorization="Bearer sk-ant-oat01-x").status_code == 200
    emulator.settings.refused_tokens = {"sk-ant-oat01-x": "expired"}
    assert ask(emulator, authorization="Bearer sk-ant-oat01-x").status_code == 401


def test_a_key_of_the_whole_organization_must_name_a_workspace(start: Start) -> None:
    emulator, _ = start(workspaces={"sk-ant-all": "*"})
    refused = ask(emulator, **{"x-api-key": "sk-ant-all"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    assert refused.json()["error"]["message"] == (
        "This API key is not scoped to a workspace, so this request must include the anthropic-workspace-id header with"
        " the ID of the workspace to use. Add the header, or use an API key that is scoped to a workspace."
    )
    named = ask(emulator, **{"x-api-key": "sk-ant-all", "anthropic-workspace-id": "wrkspc_b"})
    assert named.headers["anthropic-workspace-id"] == "wrkspc_b"


def test_without_a_key_of_its_own_the_emulator_takes_any(start: Start) -> None:
    emulator, _ = start(api_key=None)
    assert ask(emulator, **{"x-api-key": "whatever"}).status_code == 200
    assert ask(emulator, **{"x-api-key": emulator.api_key}).status_code == 200
    assert ask(emulator).status_code == 401


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_both_versions_are_spoken(version: str, emulator: Emulator) -> None:
    assert ask(emulator, **{"x-api-key": KEY, "anthropic-version": version}).status_code == 200


def test_an_unknown_or_missing_version_is_refused_unless_none_is_required(start: Start) -> None:
    emulator, _ = start()
    assert ask(emulator, **{"x-api-key": KEY, "anthropic-version": "2020-01-01"}).status_code == 400
    url = f"{emulator.url}/v1/messages/batches"
    refused = requests.get(url, headers={"x-api-key": KEY}, timeout=30)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "anthropic-version: header is required"
    emulator.settings.require_version = False
    assert requests.get(url, headers={"x-api-key": KEY}, timeout=30).status_code == 200


def test_workspaces_do_not_see_each_others_batches(start_kept: Start) -> None:
    emulator, own = start_kept(workspaces={"sk-ant-b": "wrkspc_b", "sk-ant-all": "*"})
    other = Client(emulator, **{"x-api-key": "sk-ant-b"})
    batch = own.made(lines(1))
    assert other.list().json()["data"] == []
    assert other.get(batch).status_code == other.results(batch).status_code == other.delete(batch).status_code == 404
    assert other.list(after_id=batch).status_code == 400
    foreign = other.made(lines(1))
    assert other.get(foreign).headers["anthropic-workspace-id"] == "wrkspc_b"
    spanning = Client(emulator, **{"x-api-key": "sk-ant-all", "anthropic-workspace-id": "wrkspc_b"})
    assert spanning.get(foreign).status_code == 200
    assert spanning.get(batch).status_code == 404
    spanning.session.headers["anthropic-workspace-id"] = emulator.settings.workspace_id
    assert spanning.get(batch).status_code == 200
    assert {found["id"] for found in emulator.batches()} == {batch, foreign}
    other.close()
    spanning.close()


def test_the_workspace_header_must_match_a_bound_key_or_be_absent(emulator: Emulator) -> None:
    own = {"x-api-key": KEY, "anthropic-workspace-id": emulator.settings.workspace_id}
    assert ask(emulator, **own).status_code == 200
    refused = ask(emulator, **own | {"anthropic-workspace-id": "wrkspc_other"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")


def test_a_key_may_lack_the_permission_for_single_calls(start: Start) -> None:
    _, client = start(denied=["delete", "cancel"])
    batch = client.made(lines(1))
    for refused in (client.delete(batch), client.cancel(batch)):
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")
    assert client.get(batch).status_code == 200


def test_the_rate_limit_can_be_enforced(start: Start) -> None:
    emulator, client = start(requests_per_minute=2, enforce_rate_limit=True)
    emulator.clock.advance(60 - emulator.clock.now().second)
    answers = [client.list() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["anthropic-ratelimit-requests-remaining"] == "0"
    emulator.clock.advance(int(answers[-1].headers["retry-after"]))
    assert client.list().status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/unknown", 404, "Not found"),
        ("GET", "/", 404, "Not found"),
        ("GET", "/v1/messages/batches/a/b/c", 404, "Not found"),
        ("PUT", "/v1/messages/batches", 405, "Method Not Allowed"),
        ("GET", "/v1/messages/batches/a/cancel", 405, "Method Not Allowed"),
    ],
)
def test_other_routes_lead_nowhere(method: str, path: str, status: int, message: str, emulator: Emulator) -> None:
    response = requests.request(method, emulator.url + path, headers={"x-api-key": KEY}, timeout=30)
    assert (response.status_code, response.json()["error"]["message"]) == (status, message)
    assert ("request_id" in response.json()) == (status == 404)
    assert sum(emulator.counters.values()) == 0
