"""The API key is in one request header, and nowhere else: no error, traceback or log record knows it."""

from __future__ import annotations

import logging
import pickle
import re
import socket
import traceback
from collections.abc import Callable, Iterator

import pytest
import requests

from airflow_batches.api import (
    ApiError,
    ApiKeyAuth,
    BatchesClient,
    BatchesError,
    BearerAuth,
    DecodeError,
    InvalidRequest,
    RetryPolicy,
    StreamInterrupted,
    TransportError,
    WaitTimeout,
)
from tests.unit.api.wire import answer, answering, batch_bytes, hang_up, read_request, refused_port, reset, serving

KEY = "sk-ant-api03-S3CR3T"
ONE_TRY = RetryPolicy(attempts=2, base=0.0)
Call = Callable[[BatchesClient], object]


class Signing(requests.auth.AuthBase):
    """A user's own auth object, which signs with a header that cannot be sent."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["x-api-key"] = self.value
        return request


def _cut(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{")


def echoing(status: str, after: bytes = b"") -> Callable[[socket.socket], None]:
    """A gateway's page that shows the key which it was sent, in one line, with the rest of the page after it."""

    def script(connection: socket.socket) -> None:
        head, _ = read_request(connection)
        shown = re.search(rb"^(?:x-api-key|authorization): [^\r]*", head, re.IGNORECASE | re.MULTILINE)
        assert shown
        answer(connection, b"<html>%s</html>" % shown[0] + after, status, "connection: close")

    return script


def _far_into_the_line(connection: socket.socket) -> None:
    """The echoed key lies across the end of what an error quotes."""
    read_request(connection)
    answer(connection, b"x" * (200 - len(KEY) + 1) + KEY.encode() + b"</html>", "200 OK", "connection: close")


def _no_http(connection: socket.socket) -> None:
    """The echo stands where the status should, and the parser of the status line quotes it."""
    read_request(connection)
    connection.sendall(b"x-api-key: " + KEY.encode() + b"\r\n\r\n")


def _no_chunk(connection: socket.socket) -> None:
    """The echo stands where the length of a chunk should."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + KEY.encode() + b"\r\n")


def _failing_body() -> Iterator[bytes]:
    yield b"1"
    raise OSError("the source is gone")


class Body:
    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[bytes]:
        return _failing_body()


def create(client: BatchesClient) -> object:
    return client.create_streamed(b"{}")


def get(client: BatchesClient) -> object:
    return client.get("b")


FAILURES: list[tuple[type[Exception], object, Call]] = [
    (ApiError, answering(b'{"error":{"type":"authentication_error","message":"No"}}', "401 No"), create),
    (ApiError, answering(b"<html>", "500 Broken"), get),
    (ApiError, answering(b"", "302 Found", "location: http://elsewhere.example/"), get),
    (TransportError, hang_up, get),
    (TransportError, reset, create),
    (TransportError, _cut, get),
    (DecodeError, answering(b"<html>"), get),
    (DecodeError, answering(b"{\n{}\n"), lambda client: client.results("b")),
    (StreamInterrupted, _cut, lambda client: client.results("b")),
    (ApiError, echoing("404 Not Found"), get),
    (DecodeError, echoing("200 OK"), get),
    (DecodeError, echoing("200 OK"), create),
    (ApiError, echoing("502 Bad Gateway"), lambda client: client.results("b")),
    (DecodeError, echoing("200 OK", after=b"\n<p>\n"), lambda client: client.results("b")),
    (StreamInterrupted, echoing("200 OK"), lambda client: client.results("b")),
    (DecodeError, echoing("200 OK"), lambda client: client.wait_for("b")),
    (TransportError, _no_http, get),
    (TransportError, _no_chunk, get),
    (StreamInterrupted, _no_chunk, lambda client: client.results("b")),
    (StreamInterrupted, _far_into_the_line, lambda client: client.results("b")),
    (WaitTimeout, answering(batch_bytes()), lambda client: client.wait_for("b", timeout=0)),
    (InvalidRequest, hang_up, lambda client: client.get("..")),
    (InvalidRequest, hang_up, lambda client: client.create([{"custom_id": object()}])),
    (OSError, hang_up, lambda client: client.create_streamed(Body())),
]


def everything_said_by(error: BaseException) -> str:
    """All texts that an error, and whatever it is chained to, shows or carries."""
    said: list[str] = []
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        said += [str(link), repr(link), repr(link.args), repr(vars(link)), *getattr(link, "__notes__", [])]
        for carried in vars(link).values():
            said.append(repr(getattr(carried, "headers", None)))
        waiting += [link.__cause__, link.__context__]
    said += traceback.format_exception(error)
    return "\n".join(said)


@pytest.mark.parametrize("auth", [ApiKeyAuth(KEY), BearerAuth(KEY)], ids=["api key", "bearer"])
@pytest.mark.parametrize(
    ("kind", "script", "call"), FAILURES, ids=[f"{n}-{row[0].__name__}" for n, row in enumerate(FAILURES)]
)
def test_no_failure_tells_the_key(
    auth: requests.auth.AuthBase,
    kind: type[Exception],
    script: Callable[[socket.socket], None],
    call: Call,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        serving(script, script) as server,
        BatchesClient(auth=auth, base_url=server.url, retry=ONE_TRY) as client,
        pytest.raises(kind) as caught,
    ):
        call(client)
    assert "S3CR3T" not in everything_said_by(caught.value)
    assert "S3CR3T" not in repr(client) + str(client)
    logged = [f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records]
    assert "S3CR3T" not in "\n".join(logged)


def test_a_refused_connection_does_not_tell_the_key_either(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        refused_port() as port,
        BatchesClient(KEY, base_url=f"http://127.0.0.1:{port}", retry=ONE_TRY) as client,
        pytest.raises(TransportError) as caught,
    ):
        client.get("b")
    assert "S3CR3T" not in everything_said_by(caught.value) + caplog.text
    assert "trying again" in caplog.text


@pytest.mark.parametrize("last", [b"", b"\n<p>\n"])
def test_what_a_broken_results_line_holds_is_quoted_with_the_key_hidden(last: bytes) -> None:
    with (
        serving(echoing("200 OK", after=last)) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        pytest.raises(BatchesError, match=r"results line 1 is not a result: '<html>x-api-key: \*\*\*</html>'"),
    ):
        client.results("b")


def test_an_answer_of_the_model_that_holds_the_key_comes_as_it_is() -> None:
    line = b'{"custom_id":"a","result":{"type":"succeeded","message":{"id":"%s"}}}' % KEY.encode()
    with serving(answering(line)) as server, BatchesClient(KEY, base_url=server.url) as client:
        assert KEY in repr(client.results("b"))


def test_a_successful_call_logs_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(answering(batch_bytes())) as server, BatchesClient(KEY, base_url=server.url) as client:
        client.get("b")
    assert "/v1/messages/batches/b" in caplog.text
    assert "S3CR3T" not in caplog.text


def test_an_error_can_be_pickled_without_the_key() -> None:
    with (
        serving(answering(b"", "403 No")) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        pytest.raises(BatchesError) as caught,
    ):
        client.get("b")
    assert b"S3CR3T" not in pickle.dumps(caught.value)


@pytest.mark.parametrize("value", [f"{KEY}\nx: y", f"{KEY}\u20ac"])
def test_a_foreign_auth_object_with_an_unsendable_header_does_not_tell_it(value: str) -> None:
    with serving() as server, BatchesClient(auth=Signing(value), base_url=server.url, retry=ONE_TRY) as client:
        with pytest.raises(InvalidRequest, match="cannot be sent") as caught:
            client.get("b")
        assert "S3CR3T" not in everything_said_by(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\nx: y", f"{KEY} x", f"{KEY}\u00e9"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_told(key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        BatchesClient(key)
    assert "S3CR3T" not in everything_said_by(caught.value)


@pytest.mark.parametrize("secret_url", ["https://S3CR3T@host", "https://me:S3CR3T@host", "https://host?key=S3CR3T"])
def test_a_base_url_with_a_secret_is_refused_without_being_told(secret_url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        BatchesClient(KEY, base_url=secret_url)
    assert "S3CR3T" not in everything_said_by(caught.value)
