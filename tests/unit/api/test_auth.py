"""Signing: one header, and a secret that never shows."""

from __future__ import annotations

import traceback

import pytest
import requests
import requests_mock

from airflow_batches.api import ApiKeyAuth, BatchesClient, BatchesError, BearerAuth, InvalidRequest, RetryPolicy
from tests.unit.api.wire import batch_bytes, noting, serving

SECRET = "sk-ant-api03-SECRET"


@pytest.mark.parametrize(
    ("auth", "header"),
    [(ApiKeyAuth(SECRET), ("x-api-key", SECRET)), (BearerAuth(SECRET), ("Authorization", f"Bearer {SECRET}"))],
)
def test_each_way_sets_its_one_header(auth: requests.auth.AuthBase, header: tuple[str, str]) -> None:
    bare = requests.Request("GET", "http://localhost").prepare()
    signed = auth(bare.copy())
    assert dict(signed.headers.items()) == dict([*bare.headers.items(), header])


@pytest.mark.parametrize("auth", [ApiKeyAuth(SECRET), BearerAuth(SECRET)])
def test_the_secret_goes_over_the_wire_once_and_shows_in_no_repr(auth: requests.auth.AuthBase) -> None:
    heads: list[bytes] = []
    with serving(noting(heads, batch_bytes())) as server, BatchesClient(auth=auth, base_url=server.url) as client:
        client.get("b")
    assert heads[0].count(SECRET.encode()) == 1
    assert SECRET not in repr(auth) + str(auth) + repr(client)


@pytest.mark.parametrize("kind", [ApiKeyAuth, BearerAuth])
@pytest.mark.parametrize(
    "secret", ["", " \n", f"{SECRET}\nx: y", f"{SECRET} x", f"{SECRET}é", f"{SECRET}\x00", "\u2028"]
)
def test_a_secret_that_no_header_can_hold_is_refused_without_being_shown(
    kind: type[ApiKeyAuth | BearerAuth], secret: str
) -> None:
    with pytest.raises(InvalidRequest, match="no header can hold") as caught:
        kind(secret)
    assert SECRET not in str(caught.value)


def test_the_newline_that_a_file_ends_with_is_no_part_of_the_key() -> None:
    heads: list[bytes] = []
    with serving(noting(heads, batch_bytes())) as server, BatchesClient(f" {SECRET}\n", base_url=server.url) as client:
        client.get("b")
    assert f"x-api-key: {SECRET}\r\n".encode() in heads[0] + b"\r\n"


def test_a_netrc_file_does_not_sign_for_us(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine localhost login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    heads: list[bytes] = []
    with serving(noting(heads, batch_bytes())) as server, BatchesClient(SECRET, base_url=server.url) as client:
        client.get("b")
    assert b"authorization" not in heads[0].lower()


@pytest.mark.parametrize("status", [200, 400, 502])
def test_a_gateway_that_echoes_the_key_finds_it_hidden_in_the_error(
    status: int, requests_mock: requests_mock.Mocker
) -> None:
    requests_mock.get("https://gateway.example/v1/messages/batches/b", status_code=status, text=f"you sent {SECRET}")
    with (
        BatchesClient(SECRET, base_url="https://gateway.example", retry=RetryPolicy(attempts=1)) as client,
        pytest.raises(BatchesError, match=r"you sent \*\*\*") as caught,
    ):
        client.get("b")
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told
