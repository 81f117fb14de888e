"""What is refused before anything is sent, and how ids become paths."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
import requests_mock
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import BatchesClient, InvalidRequest
from tests.unit.api.conftest import KEY
from tests.unit.api.wire import batch_bytes, batch_json, noting, serving

NO_IDS = ["", ".", "..", "\ud800"]


@pytest.mark.parametrize(
    ("batch_id", "segment"),
    [
        ("msgbatch_01", "msgbatch_01"),
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("a?b", "a%3Fb"),
        ("a#b", "a%23b"),
        ("%2e%2e", "%252e%252e"),
        ("a b", "a%20b"),
        ("...", "..."),
        ("é\u2028", "%C3%A9%E2%80%A8"),
        ("a\r\nx-admin: 1", "a%0D%0Ax-admin%3A%201"),
    ],
)
def test_an_id_is_one_segment_of_the_path_on_the_wire(batch_id: str, segment: str) -> None:
    heads: list[bytes] = []
    with serving(noting(heads, batch_bytes())) as server, BatchesClient(KEY, base_url=server.url) as client:
        client.get(batch_id)
    assert heads[0].split(b"\r\n")[0] == f"GET /v1/messages/batches/{segment} HTTP/1.1".encode()


@given(st.text(min_size=1).filter(lambda text: text not in NO_IDS and text.isprintable()))
def test_any_id_comes_back_out_of_its_path(batch_id: str) -> None:
    with requests_mock.Mocker() as api, BatchesClient(KEY) as client:
        api.get(requests_mock.ANY, json=batch_json())
        client.get(batch_id)
        prefix, _, segment = api.last_request.url.rpartition("/")
    assert prefix == "https://api.anthropic.com/v1/messages/batches"
    assert unquote(segment) == batch_id


@pytest.mark.parametrize("batch_id", NO_IDS)
@pytest.mark.parametrize("call", ["get", "cancel", "delete", "results", "wait_for"])
def test_what_can_be_no_id_is_refused_before_anything_is_sent(batch_id: str, call: str) -> None:
    with requests_mock.Mocker() as api, BatchesClient(KEY) as client:
        with pytest.raises(InvalidRequest, match="is not a batch id"):
            getattr(client, call)(batch_id)
        assert not api.called


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com"),
        ("https://api.anthropic.com/", "https://api.anthropic.com"),
        (" http://localhost:8080//\n", "http://localhost:8080"),
        ("https://gateway/a/b/", "https://gateway/a/b"),
        ("HTTPS://Gateway/p@th", "HTTPS://Gateway/p@th"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_base_url_keeps_its_path_and_loses_its_last_slash(given_url: str, kept: str) -> None:
    with requests_mock.Mocker() as api, BatchesClient(KEY, base_url=given_url) as client:
        assert client.base_url == kept
        api.get(f"{kept}/v1/messages/batches/b", json=batch_json())
        client.get("b")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.anthropic.com",
        "ftp://api.anthropic.com",
        "https://",
        "https:///v1",
        "https://user:s3cret@host",
        "https://s3cret@host",
        "https://@host",
        "https://:@host",
        "https://host?key=s3cret",
        "https://host/?",
        "https://host/#",
        "https://host:s3cret",
        "https://host:99999",
        "https://host:0",
        "https://[::1",
        "https://ho st",
        "https://host/a\nb",
        "https://host\\@s3cret",
    ],
)
def test_any_other_base_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(InvalidRequest, match="base URL") as caught:
        BatchesClient(KEY, base_url=url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "é" * 64])
def test_a_host_that_no_name_can_be_is_our_callers_mistake(host: str) -> None:
    with pytest.raises(InvalidRequest, match="base URL"):
        BatchesClient(KEY, base_url=f"http://{host}")


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-Gateway": "s3cret\nX-Admin: 1"}},
        {"headers": {"X-Gateway": " s3cret"}},
        {"headers": {"X-Gateway": "s3cret\u20ac"}},
        {"headers": {"X Gateway": "s3cret"}},
        {"headers": {"": "s3cret"}},
        {"anthropic_version": "s3cret\r"},
        {"betas": ["s3cret", "\u00e9"]},
        {"workspace_id": "s3cret\x00"},
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(options: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="no header can hold") as caught:
        BatchesClient(KEY, **options)  # type: ignore[arg-type]  # mixed options
    assert "s3cret" not in str(caught.value)
