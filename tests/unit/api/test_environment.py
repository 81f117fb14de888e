"""Faults of the environment: certificates and proxies that cannot be used, named before anything is sent."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import ApiError, BatchesClient, BatchesError, DecodeError, InvalidRequest, TransportError
from airflow_batches.api.environment import CA_VARIABLES, check_proxy, trusted_certificates
from airflow_batches.api.errors import EnvironmentFault
from airflow_batches.api.retry import ONCE
from tests.unit.api.conftest import KEY
from tests.unit.api.wire import Script, answer, answering, batch_bytes, read_head, read_request, serving

BODY = b'{"requests":[]}'
CALLS: Mapping[str, Callable[[BatchesClient], object]] = {
    "get": lambda client: client.get("b"),
    "create": lambda client: client.create_streamed(BODY),
    "results": lambda client: client.results("b"),
    "cancel": lambda client: client.cancel("b"),
    "delete": lambda client: client.delete("b"),
    "check": lambda client: client.check(),
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CA_VARIABLES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def failure(call: Callable[[], object]) -> TransportError:
    with pytest.raises(TransportError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("name", CA_VARIABLES)
@pytest.mark.parametrize("call", CALLS)
def test_certificates_that_do_not_exist_are_named_and_nothing_is_sent(
    name: str, call: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, f"{tmp_path}/gone.pem")
    with BatchesClient(KEY, base_url="https://localhost:1", retry=ONCE, name="Connection 'c'") as client:
        error = failure(lambda: CALLS[call](client))
    assert error.maybe_sent is False
    assert str(error).startswith(
        f"Connection 'c' (https://localhost:1): {name} names '{tmp_path}/gone.pem', which does"
    )
    assert "Correct or unset" in str(error)


def test_a_fault_of_the_environment_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, naps: list[float]) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/gone.pem")
    with BatchesClient(KEY) as client, pytest.raises(EnvironmentFault):
        client.get("b")
    assert not naps


def test_certificates_play_no_part_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/gone")
    with serving(answering(batch_bytes())) as server, BatchesClient(KEY, base_url=server.url) as client:
        assert client.get("b").id


@pytest.mark.parametrize("name", CA_VARIABLES)
def test_each_variable_makes_its_certificates_trusted(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tls: ssl.SSLContext, certificate: Path
) -> None:
    monkeypatch.setenv(name, str(certificate))
    if name == "SSL_CERT_DIR":  # several, of which one does not exist
        monkeypatch.setenv(name, f"/gone{os.pathsep}{hashed_directory(certificate, tmp_path / 'hashed')}")
    with serving(answering(batch_bytes()), tls=tls) as server, BatchesClient(KEY, base_url=server.url) as client:
        assert client.get("b").id


def hashed_directory(certificate: Path, folder: Path) -> Path:
    """The certificate where OpenSSL looks in a directory: under the hash of its subject (`X509_NAME_hash`)."""
    subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject.public_bytes()
    canonical = subject[2:]  # for a name of small letters, its DER without the outer header
    hashed = int.from_bytes(hashlib.sha1(canonical, usedforsecurity=False).digest()[:4], "little")
    folder.mkdir()
    (folder / f"{hashed:08x}.0").write_bytes(certificate.read_bytes())
    return folder


def test_the_variables_of_requests_come_before_those_of_openssl(tmp_path: Path) -> None:
    for name in CA_VARIABLES:
        (tmp_path / name).touch()
    given_all = {name: str(tmp_path / name) for name in CA_VARIABLES}
    for number, name in enumerate(CA_VARIABLES):
        rest = {each: given_all[each] for each in CA_VARIABLES[number:]}
        assert trusted_certificates(rest) == str(tmp_path / name)
    assert trusted_certificates({}) is True
    assert trusted_certificates(dict.fromkeys(CA_VARIABLES, "")) is True


def test_a_bundle_that_holds_no_certificate_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tls: ssl.SSLContext
) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/empty.pem")
    with (
        serving(answering(b""), tls=tls) as server,
        BatchesClient(KEY, base_url=server.url, retry=ONCE) as client,
    ):
        error = failure(lambda: client.create_streamed(BODY))
    assert error.maybe_sent is False
    assert f"SSL_CERT_FILE={tmp_path}/empty.pem" in str(error)


def test_a_certificate_that_is_not_trusted_says_whose_trust_was_asked(tls: ssl.SSLContext) -> None:
    with (
        serving(answering(b""), tls=tls) as server,
        BatchesClient(KEY, base_url=server.url, retry=ONCE) as client,
    ):
        error = failure(lambda: client.get("b"))
    assert error.maybe_sent is False
    assert "Trusted certificates are those of the package certifi" in str(error)
    assert "SSL_CERT_FILE" in str(error)


PROXIES = [
    "http://",
    "http://[::1",
    "http://proxy:99999",
    "http://proxy:port",
    "http://a..b:3128",
    f"http://{'x' * 64}:3128",
    "ftp://proxy:21",
    "http://us\u20acr:S3CR3T@proxy:3128",
    "http:// proxy:3128",
    "://",
    "@",
    "me@",
]


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_none_is_named_by_its_variable_without_its_password(
    proxy: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy)
    with BatchesClient(KEY, base_url=f"{scheme}://api.example", retry=ONCE) as client:
        error = failure(lambda: client.get("b"))
    assert error.maybe_sent is False
    assert f"{scheme.upper()}_PROXY" in str(error)
    assert "S3CR3T" not in str(error)


def test_a_socks_proxy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_batches.api.environment.find_spec", lambda name: None)
    monkeypatch.setenv("ALL_PROXY", "socks5h://me:S3CR3T@localhost:1080")
    with BatchesClient(KEY, retry=ONCE) as client:
        error = failure(lambda: client.get("b"))
    assert "ALL_PROXY is a SOCKS proxy, which needs: pip install pysocks" in str(error)
    assert "S3CR3T" not in str(error)


def test_no_proxy_takes_a_host_out_of_a_broken_proxys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://")
    monkeypatch.setenv("NO_PROXY", "localhost")
    with serving(answering(batch_bytes())) as server, BatchesClient(KEY, base_url=server.url) as client:
        assert client.get("b").id


def wants_a_login(connection: socket.socket) -> None:
    read_head(connection)
    answer(connection, b"<html>log in</html>", "407 Proxy Authentication Required", "content-type: text/html")


def test_a_proxy_that_wants_a_login_is_told_as_such_and_got_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(wants_a_login, wants_a_login) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with BatchesClient(KEY, base_url="https://api.example", retry=ONCE) as client:
            for call in (CALLS["create"], CALLS["delete"]):
                error = failure(lambda call=call: call(client))  # type: ignore[misc]
                assert error.maybe_sent is False
                assert "407" in str(error)
                assert "HTTPS_PROXY" in str(error)


def test_a_proxy_that_wants_a_login_of_a_plain_request_is_not_taken_for_the_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(wants_a_login) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with (
            BatchesClient(KEY, base_url="http://api.example", retry=ONCE) as client,
            pytest.raises(ApiError, match="put its user and password into HTTPS_PROXY") as caught,
        ):
            client.get("b")
    assert not caught.value.from_api


@given(st.text(st.characters(codec="latin-1"), max_size=30), st.sampled_from(["http", "https"]))
def test_no_proxy_is_too_odd_to_be_judged(proxy: str, scheme: str) -> None:
    with suppress(EnvironmentFault):
        check_proxy(f"{scheme}://api.example", {scheme: proxy})


@given(st.dictionaries(st.sampled_from(CA_VARIABLES), st.text(max_size=30)))
def test_no_path_of_certificates_is_too_odd_to_be_judged(environ: dict[str, str]) -> None:
    with suppress(EnvironmentFault):
        assert trusted_certificates(environ) in {True, *environ.values()}


def saying(raw: bytes) -> Script:
    """Reads a request and sends bytes, whatever they are."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(raw)

    return script


OK = b"HTTP/1.1 200 OK\r\n"
ODD_ANSWERS = [
    b"",
    b"\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 99999 X\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    OK + b"content-length: many\r\n\r\n{}",
    OK + b"content-length: -1\r\n\r\n{}",
    OK + b"content-length: 5, 6\r\n\r\n{}",
    OK + b"content-length: 99\r\n\r\n{}",
    OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    OK + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
    OK + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
    OK + b"content-encoding: deflate\r\ncontent-length: 4\r\n\r\nnope",
    OK + b"content-encoding: gzip, gzip, gzip, gzip, gzip, gzip\r\ncontent-length: 4\r\n\r\nnope",
    OK + b"content-encoding: \xff\xfe\r\ncontent-length: 2\r\n\r\n{}",
    OK + b"content-type: text/html; charset=\xff\r\ncontent-length: 6\r\n\r\n<html>",
    OK + b"set-cookie: \x00=\xff; expires=never; domain=[::1\r\ncontent-length: 2\r\n\r\n{}",
    OK + b"no colon here\r\n\r\n{}",
    OK + b"x: " + b"y" * 70_000 + b"\r\n\r\n{}",
    OK + b"x: y\r\n" * 200 + b"\r\n{}",
    b"HTTP/1.1 302 Found\r\nlocation: http://[::1\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 401 No\r\nwww-authenticate: \xff\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
]


@pytest.mark.parametrize("raw", ODD_ANSWERS, ids=range(len(ODD_ANSWERS)))
@pytest.mark.parametrize("call", ["get", "create"])
def test_no_answer_is_too_odd_for_an_error_of_ours(raw: bytes, call: str) -> None:
    with (
        serving(saying(raw)) as server,
        BatchesClient(KEY, base_url=server.url, retry=ONCE, timeout=timedelta(seconds=20)) as client,
        pytest.raises((ApiError, TransportError, DecodeError)) as caught,
    ):
        CALLS[call](client)
    assert str(caught.value).startswith(server.url)
    assert getattr(caught.value, "maybe_sent", True)


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "\u00e9" * 64, "*.example", "-\u00e9", "[::1]x"])
def test_a_host_that_can_be_none_is_refused_when_the_client_is_made(host: str) -> None:
    with pytest.raises(InvalidRequest, match="the base URL must be like"):
        BatchesClient(KEY, base_url=f"https://{host}")


def test_a_host_of_another_alphabet_is_taken() -> None:
    with BatchesClient(KEY, base_url="https://b\u00fccher.invalid", retry=ONCE) as client:
        with pytest.raises(BatchesError) as caught:
            client.get("b")
        assert isinstance(caught.value, TransportError)
