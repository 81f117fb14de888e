"""Connections: which are made, kept, refused and lost."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airflow_batches.api import ApiError, BatchesClient, RetryPolicy, TransportError
from tests.unit.api.conftest import KEY, SOON
from tests.unit.api.wire import (
    API_ERROR,
    Script,
    answer,
    answering,
    batch_bytes,
    closed_by_peer,
    deaf_port,
    hang_up,
    read_head,
    read_request,
    refused_port,
    reset,
    serving,
)

ONE_TRY = RetryPolicy(attempts=1)
BODY = b'{"requests":[]}'
LINE = b'{"custom_id":"%s","result":{"type":"canceled"}}\n'


def failure(call: Callable[[], object]) -> TransportError:
    with pytest.raises(TransportError) as caught:
        call()
    return caught.value


def test_a_refused_connection_was_certainly_not_sent() -> None:
    with refused_port() as port, BatchesClient(KEY, base_url=f"http://127.0.0.1:{port}", retry=ONE_TRY) as client:
        for call in (lambda: client.create_streamed(BODY), lambda: client.delete("b"), lambda: client.get("b")):
            error = failure(call)
            assert error.maybe_sent is False
            assert "refused" in str(error)


def test_a_connect_timeout_was_certainly_not_sent() -> None:
    with deaf_port() as port:
        client = BatchesClient(KEY, base_url=f"http://127.0.0.1:{port}", timeout=(0.1, 30), retry=ONE_TRY)
        with client:
            for call in (lambda: client.create_streamed(BODY), lambda: client.delete("b")):
                error = failure(call)
                assert error.maybe_sent is False
                assert "timed out" in str(error)


def test_a_name_that_nobody_knows_was_certainly_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with BatchesClient(KEY, base_url="http://nowhere.example", retry=ONE_TRY) as client:
        for call in (lambda: client.create_streamed(BODY), lambda: client.delete("b")):
            assert failure(call).maybe_sent is False


def test_a_read_timeout_may_have_been_sent() -> None:
    def silent(connection: socket.socket) -> None:
        read_request(connection)
        assert closed_by_peer(connection)

    for body in (BODY, b" " * 1_000_000):
        with serving(silent) as server:
            with BatchesClient(KEY, base_url=server.url, timeout=(30, 0.2), retry=SOON) as client:
                error = failure(lambda body=body, client=client: client.create_streamed(body))  # type: ignore[misc]
            assert error.maybe_sent is True
            assert "timed out" in str(error)
            assert server.connections == 1
        assert not server.failures


@pytest.mark.parametrize("script", [hang_up, reset, answering(b"", "503 Unavailable"), answering(b"", "429 Slow")])
@pytest.mark.parametrize("call", ["get", "cancel"])
def test_a_read_and_a_cancel_are_tried_again_whatever_was_lost(script: Script, call: str) -> None:
    with serving(script, script, answering(batch_bytes())) as server:
        with BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
            assert getattr(client, call)("b").id
        assert server.connections == 3


def test_attempts_are_bounded_and_the_last_error_is_raised(naps: list[float]) -> None:
    scripts = [answering(b"", f"{status} X") for status in (500, 502, 503, 504)]
    with serving(*scripts) as server, BatchesClient(KEY, base_url=server.url, retry=RetryPolicy(attempts=3)) as client:
        with pytest.raises(ApiError, match="503"):
            client.get("b")
        assert server.connections == 3
    assert len(naps) == 2


def test_the_servers_retry_after_is_slept_and_one_above_the_maximum_is_raised(
    naps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    scripts = [answering(API_ERROR, "529 X", "retry-after: 40"), answering(API_ERROR, "429 X", "retry-after-ms: 2500")]
    with (
        serving(*scripts, answering(API_ERROR, "429 X", "retry-after: 86400")) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        pytest.raises(ApiError) as caught,
    ):
        client.create_streamed(BODY)
    assert naps == [40.0, 2.5]
    assert caught.value.retry_after == 86_400.0
    assert f"POST /v1/messages/batches failed; trying again in 40.0 s: {server.url}: 529" in caplog.text


def test_a_hint_given_as_a_date_is_measured_by_the_clients_clock(naps: list[float]) -> None:
    now = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
    refused = answering(b"", "503 X", "retry-after: Fri, 01 May 2026 12:00:20 GMT")
    with (
        serving(refused, answering(batch_bytes())) as server,
        BatchesClient(KEY, base_url=server.url, clock=lambda: now) as client,
    ):
        client.get("b")
    assert naps == [20.0]


def _answers(count: int, then: Script = hang_up) -> Script:
    """Answers so many requests on one connection."""

    def script(connection: socket.socket) -> None:
        for _ in range(count):
            read_request(connection)
            answer(connection, batch_bytes())
        then(connection)

    return script


def test_reads_share_a_connection() -> None:
    with serving(_answers(3)) as server, BatchesClient(KEY, base_url=server.url, retry=ONE_TRY) as client:
        for _ in range(3):
            client.get("b")
        assert server.connections == 1
    assert not server.failures


def test_a_read_gets_over_a_connection_that_was_closed_while_idle() -> None:
    with serving(_answers(1), _answers(1)) as server, BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
        client.get("b")
        assert client.get("b").id
        assert server.connections == 2


def _dies_with_the_next_request(connection: socket.socket) -> None:
    """What an idle connection does that a gateway has forgotten: the next request is swallowed, then it is reset."""
    head = connection.recv(65_536)
    assert not head, "the dead connection was used again"


def test_a_create_never_goes_into_a_connection_kept_from_before() -> None:
    first = _answers(1, then=_dies_with_the_next_request)
    with (
        serving(first, answering(batch_bytes())) as server,
        BatchesClient(KEY, base_url=server.url, retry=ONE_TRY) as client,
    ):
        client.get("b")
        assert client.create_streamed(BODY).id
        assert server.connections == 2
    assert not server.failures


@pytest.mark.parametrize("status", ["429 Slow", "529 X"])
def test_a_create_is_not_sent_again_because_a_gateway_asks_for_time(naps: list[float], status: str) -> None:
    with (
        serving(answering(b"<html>slow down</html>", status), answering(batch_bytes())) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        pytest.raises(ApiError),
    ):
        client.create_streamed(BODY)
    assert naps == []


def test_a_create_tried_again_goes_into_a_connection_of_its_own(naps: list[float]) -> None:
    def refuse(connection: socket.socket) -> None:
        read_request(connection)
        answer(connection, API_ERROR, "429 Too Many")
        _dies_with_the_next_request(connection)

    with serving(refuse, answering(batch_bytes())) as server, BatchesClient(KEY, base_url=server.url) as client:
        assert client.create_streamed(BODY).id
        assert server.connections == 2
    assert not server.failures


def test_a_create_leaves_a_results_stream_of_the_same_client_alone() -> None:
    def results(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 94\r\n\r\n" + LINE % b"a")
        assert created.wait(30)
        connection.sendall(LINE % b"b")

    created = threading.Event()
    with (
        serving(results, answering(batch_bytes())) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        client.results_stream("b") as items,
    ):
        client.create_streamed(BODY)
        created.set()
        assert [item.custom_id for item in items] == ["a", "b"]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
@pytest.mark.parametrize("call", [lambda c: c.get("b"), lambda c: c.create_streamed(BODY), lambda c: c.results("b")])
def test_a_redirect_is_raised_and_its_target_is_never_dialled(
    status: str, call: Callable[[BatchesClient], object]
) -> None:
    with serving(answering(batch_bytes())) as target:
        redirecting = answering(b"", status, f"location: {target.url}/v1/messages/batches/b")
        with serving(redirecting) as server, BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
            with pytest.raises(ApiError, match="redirects are not followed"):
                call(client)
            assert server.connections == 1
        assert target.connections == 0


@pytest.mark.parametrize("location", ["http://[::1", "//", "", "http://a..b", "\u20ac"])
def test_a_redirect_to_nowhere_is_still_a_redirect(location: str) -> None:
    with (
        serving(answering(b"", "302 Found", f"location: {location}")) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        pytest.raises(ApiError, match="302"),
    ):
        client.get("b")


@pytest.mark.parametrize("status", ["302 Found", "403 Forbidden", "500 Broken"])
def test_of_a_huge_error_only_the_beginning_is_read(status: str) -> None:
    sent: list[int] = []

    def huge(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(f"HTTP/1.1 {status}\r\nlocation: http://x/\r\ncontent-length: {1 << 40}\r\n\r\n".encode())
        sent.append(0)
        while True:  # until the client closes
            sent[0] += connection.send(b"<p>" * 100_000)

    with (
        serving(huge) as server,
        BatchesClient(KEY, base_url=server.url, retry=ONE_TRY) as client,
        pytest.raises(ApiError, match=status[:3]),
    ):
        client.get("b")
    assert sent[0] < 1 << 30


def test_an_error_whose_body_breaks_off_keeps_its_status() -> None:
    def half(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 100\r\nrequest-id: req_1\r\n\r\n{")

    with (
        serving(half) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        pytest.raises(ApiError, match="broke off") as caught,
    ):
        client.get("b")
    assert (caught.value.status, caught.value.kind, caught.value.request_id) == (403, "permission_error", "req_1")


def test_closing_the_client_closes_its_connections() -> None:
    seen: list[bool] = []

    def script(connection: socket.socket) -> None:
        read_request(connection)
        answer(connection, batch_bytes())
        seen.append(closed_by_peer(connection))

    with serving(script) as server, BatchesClient(KEY, base_url=server.url) as client:
        client.get("b")
    assert seen == [True]


def test_a_certificate_that_is_not_trusted_means_not_sent(tls: ssl.SSLContext) -> None:
    with serving(hang_up, hang_up, tls=tls) as server, BatchesClient(KEY, base_url=server.url, retry=ONE_TRY) as client:
        for call in (lambda: client.create_streamed(BODY), lambda: client.delete("b")):
            error = failure(call)
            assert error.maybe_sent is False
            assert "CERTIFICATE_VERIFY_FAILED" in str(error)


def test_a_server_that_speaks_no_tls_means_not_sent() -> None:
    def babble(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(babble) as server:
        url = server.url.replace("http", "https")
        with BatchesClient(KEY, base_url=url, retry=ONE_TRY) as client:
            assert failure(lambda: client.create_streamed(BODY)).maybe_sent is False


def test_over_tls_too_an_early_answer_is_the_answer(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: socket.socket) -> None:
        read_head(connection)
        answer(connection, b"", "413 Too Large", "connection: close")

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with (
        serving(refuse, tls=tls) as server,
        BatchesClient(KEY, base_url=server.url, retry=ONE_TRY) as client,
        pytest.raises(ApiError, match="413"),
    ):
        client.create_streamed(b" " * (32 << 20))
