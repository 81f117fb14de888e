"""From a connection to a client."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests_mock
from airflow.sdk import Connection

from airflow_batches.api import InvalidRequest
from airflow_batches.emulator import Emulator, Fault
from airflow_batches.hooks import MessageBatchesHook
from airflow_batches.hooks.connection import client_for, default_model

KEY = "sk-ant-unit-test-key"
PAGE = {"data": [], "has_more": False, "first_id": None, "last_id": None}


def connection(extra: dict[str, Any] | None = None, **fields: Any) -> Connection:
    fields = {"conn_id": "c", "conn_type": "anthropicbatches", "password": KEY, **fields}
    return Connection(extra=json.dumps(extra) if extra else None, **fields)


def sent(conn: Connection) -> Any:
    """The one request that a check through this connection sends."""
    with requests_mock.Mocker() as http, client_for(conn) as client:
        http.get(requests_mock.ANY, json=PAGE)
        client.check()
        (request,) = http.request_history
        return request


def test_a_password_alone_reaches_anthropic_with_the_key_in_one_header() -> None:
    request = sent(connection())
    assert request.url.startswith("https://api.anthropic.com/v1/messages/batches?")
    assert request.headers["x-api-key"] == KEY
    assert request.headers["anthropic-version"] == "2026-10-21"
    assert [name for name, value in request.headers.items() if KEY in value] == ["x-api-key"]
    assert KEY not in request.url


def test_bearer_auth_sends_the_key_as_a_bearer_token_and_nowhere_else() -> None:
    request = sent(connection({"auth": "bearer"}))
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in request.headers


@pytest.mark.parametrize(
    ("fields", "base"),
    [
        ({"host": "http://localhost:8080/prefix/"}, "http://localhost:8080/prefix/v1/messages/batches"),
        ({"host": "gateway.example"}, "https://gateway.example/v1/messages/batches"),
        ({"host": "gateway.example", "schema": "http", "port": 81}, "http://gateway.example:81/v1/messages/batches"),
        (
            {"host": "gateway.example/anthropic", "port": 8443},
            "https://gateway.example:8443/anthropic/v1/messages/batches",
        ),
        ({"host": "http://localhost", "port": 8080}, "http://localhost:8080/v1/messages/batches"),
        ({"host": "http://localhost:8080/x", "port": 81}, "http://localhost:8080/x/v1/messages/batches"),
        ({"host": "  "}, "https://api.anthropic.com/v1/messages/batches"),
    ],
)
def test_the_host_is_the_base_url_in_whatever_form_it_is_written(fields: dict[str, Any], base: str) -> None:
    assert sent(connection(**fields)).url.partition("?")[0] == base


def test_a_connection_of_the_other_providers_type_works_as_it_is() -> None:
    other = connection({"platform": "anthropic"}, conn_type="anthropic", host="https://proxy.example")
    request = sent(other)
    assert request.url.startswith("https://proxy.example/v1/")
    assert request.headers["x-api-key"] == KEY


def other(extra: dict[str, Any], **fields: Any) -> Connection:
    """A connection as the form of the official provider makes it."""
    return connection(extra, conn_type="anthropic", **fields)


@pytest.mark.parametrize(
    ("platform", "why"),
    [
        ("foundry", "Microsoft Foundry does not have this API"),
        ("bedrock", "Amazon Bedrock does not have this API"),
        ("vertex", "Google Vertex AI does not have this API"),
        ("aws", "not served yet"),
        (" AWS ", "not served yet"),
        ("elsewhere", "that platform is not known"),
        (["aws"], "that platform is not known"),
    ],
)
def test_the_key_of_another_platform_is_never_sent(platform: Any, why: str) -> None:
    with pytest.raises(InvalidRequest, match="Connection 'c' has platform") as caught:
        client_for(other({"platform": platform, "resource": "my-resource", "aws_region": "us-east-1"}))
    assert why in str(caught.value)
    assert "Nothing was sent. Use a connection with an API key" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("platform", [None, "", " ", "anthropic", "Anthropic"])
def test_fields_of_other_platforms_that_the_form_leaves_behind_change_nothing(platform: str | None) -> None:
    extra = {"platform": platform, "aws_region": "us-east-1", "project_id": "p", "region": "r", "resource": ""}
    request = sent(other(extra))
    assert request.url.startswith("https://api.anthropic.com/")
    assert request.headers["x-api-key"] == KEY


def test_a_workload_identity_is_refused_even_beside_a_key() -> None:
    with pytest.raises(InvalidRequest, match="workload_identity in its extra, which is not served"):
        client_for(other({"workload_identity": {"federation_rule_id": "fdrl_1"}}))
    assert sent(other({"workload_identity": {}}))


def test_what_the_sdks_client_is_given_reaches_the_wire() -> None:
    kwargs = {
        "base_url": "https://gateway.example/anthropic",
        "timeout": 30,
        "max_retries": 5,
        "default_headers": {"x-team": "data"},
    }
    request = sent(other({"anthropic_client_kwargs": kwargs}, host="https://not-this.example"))
    assert request.url.startswith("https://gateway.example/anthropic/v1/messages/batches?")
    assert request.headers["x-team"] == "data"
    assert request.timeout == (10.0, 30.0)


def test_our_own_fields_come_before_those_of_the_sdks_client() -> None:
    kwargs = {"timeout": 30, "default_headers": {"x-team": "theirs"}}
    extra = {"timeout": 7, "headers": {"x-team": "ours"}, "anthropic_client_kwargs": kwargs}
    request = sent(other(extra))
    assert (request.timeout, request.headers["x-team"]) == ((10.0, 7.0), "ours")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"api_key": "s3cret-in-extra"}, "'api_key' in the anthropic_client_kwargs of its extra; move it into"),
        ({"auth_token": "s3cret-in-extra"}, "set the extra auth to bearer"),
        ({"default_query": {"a": "s3cret-in-extra"}}, "'default_query' .* is not served: remove it"),
        ({"default_headers": {"Authorization": "s3cret-in-extra"}}, "secret in its headers"),
        ({"timeout": "s3cret-in-extra"}, "timeout that is not a number of seconds"),
        ({"base_url": "https://me:s3cret-in-extra@host"}, "no credentials"),
        ("s3cret-in-extra", "anthropic_client_kwargs that is not a JSON object"),
    ],
)
def test_what_the_sdks_client_is_given_and_is_not_served_is_refused(kwargs: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        client_for(other({"anthropic_client_kwargs": kwargs}))
    assert str(caught.value).startswith("Connection 'c' ")
    assert "s3cret-in-extra" not in str(caught.value)


def test_extras_reach_the_wire() -> None:
    extra = {
        "anthropic_version": "2023-06-01",
        "anthropic_beta": "output-300k-2026-03-24, other,,",
        "workspace_id": "wrkspc_1",
        "headers": '{"x-team": "data"}',
    }
    request = sent(connection(extra))
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["anthropic-beta"] == "output-300k-2026-03-24,other"
    assert request.headers["anthropic-workspace-id"] == "wrkspc_1"
    assert request.headers["x-team"] == "data"


def test_the_timeout_is_that_of_the_connection() -> None:
    assert sent(connection({"timeout": "7.5"})).timeout == (10.0, 7.5)


@pytest.mark.parametrize(
    ("conn", "message"),
    [
        (connection(password=None), "no API key; put it into the password field"),
        (connection({"auth": "magic"}), "auth 'magic'; it must be one of api_key, bearer"),
        (connection({"anthropic_beta": 5}), "anthropic_beta that is neither a text nor a list of texts"),
        (connection({"anthropic_beta": ["a", 1]}), "anthropic_beta that is neither a text nor a list of texts"),
        (connection({"timeout": "soon"}), "timeout that is not a number of seconds"),
        (connection({"timeout": -1}), "timeout that is not a number of seconds"),
        (connection({"headers": "[1]"}), "headers that are not a JSON object"),
        (connection({"headers": {"X-Api-Key": "s3cret-in-header"}}), "secret in its headers"),
        (Connection(conn_id="c", conn_type="x", password=KEY, extra="[1]"), "extra that is not a JSON object"),
        (connection(host="ftp://x"), "base URL must be like"),
        (connection(host="https://user:s3cret-in-header@x"), "no credentials"),
        (connection(password="with space"), "characters that no header can hold"),
    ],
)
def test_a_wrong_connection_is_refused_with_the_field_and_the_cure_but_no_secret(
    conn: Connection, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        client_for(conn)
    assert str(caught.value).startswith("Connection 'c' ")
    assert "s3cret-in-header" not in str(caught.value)
    assert "with space" not in str(caught.value)


def test_a_missing_connection_is_named() -> None:
    with pytest.raises(Exception, match="nowhere_default"):
        MessageBatchesHook("nowhere_default").get_conn()


def test_the_default_model_is_that_of_the_connection() -> None:
    assert default_model(connection({"model": "claude-haiku-4-5"})) == "claude-haiku-4-5"
    assert default_model(connection({"model": " "})) is None


def test_the_test_button_says_that_a_good_key_is_accepted(emulator: Emulator, connection: str) -> None:
    assert MessageBatchesHook(connection).test_connection() == (True, f"{emulator.url} accepts the key.")


def test_the_test_button_says_what_is_wrong_with_a_bad_key_without_showing_it(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {"conn_type": "anthropicbatches", "password": "sk-wrong-key", "host": emulator.url}
    monkeypatch.setenv("AIRFLOW_CONN_ANTHROPIC_DEFAULT", json.dumps(fields))
    good, message = MessageBatchesHook().test_connection()
    assert not good
    assert message.startswith(f"The connection ({emulator.url}): 401 authentication_error: ")
    assert "The API key was refused. Check the connection's password" in message
    assert "sk-wrong-key" not in message


def test_the_test_button_does_not_wait_longer_than_a_person_looks(emulator: Emulator, connection: str) -> None:
    emulator.fault(Fault(endpoint="list", action="stall", seconds=30))
    good, message = MessageBatchesHook(connection).test_connection(timeout_s=0.3)
    assert (good, "timed out" in message) == (False, True)


def test_the_test_button_names_what_the_environment_lacks(connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"conn_type": "anthropicbatches", "password": KEY}
    monkeypatch.setenv("AIRFLOW_CONN_ANTHROPIC_DEFAULT", json.dumps(fields))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/gone.pem")
    good, message = MessageBatchesHook(connection).test_connection()
    assert not good
    assert message.startswith("The connection (https://api.anthropic.com): REQUESTS_CA_BUNDLE names '/gone.pem', ")
