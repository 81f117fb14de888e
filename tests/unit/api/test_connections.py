"""Nothing is left open: no socket of ours outlives its client, whatever went wrong."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import Iterator

import pytest

from airflow_batches.api import ApiError, BatchesClient, BatchesError, RetryPolicy
from tests.unit.api.conftest import KEY
from tests.unit.api.wire import (
    Script,
    answer,
    answering,
    batch_bytes,
    closed_by_peer,
    hang_up,
    read_request,
    reset,
    serving,
)

ONCE = RetryPolicy(attempts=1)


@pytest.fixture(autouse=True)
def _no_socket_is_forgotten() -> Iterator[None]:
    """A socket that only the garbage collector closes is one that we forgot."""
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert not [str(warning.message) for warning in caught if "socket" in str(warning.message)]


def keeping(closed: list[bool], body: bytes, status: str = "200 OK") -> Script:
    """Answers once, keeps the connection, and notes that the client closed it."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        answer(connection, body, status)
        closed.append(closed_by_peer(connection))

    return script


def test_closing_the_client_closes_a_connection_kept_for_the_next_call() -> None:
    closed: list[bool] = []
    with serving(keeping(closed, batch_bytes())) as server, BatchesClient(KEY, base_url=server.url) as client:
        client.get("b")
    assert closed == [True]


def test_an_error_that_is_kept_keeps_no_connection_open() -> None:
    closed: list[bool] = []
    with serving(keeping(closed, b"", "404 Not Found")) as server:
        with BatchesClient(KEY, base_url=server.url) as client, pytest.raises(ApiError) as kept:
            client.get("b")
        client.close()
    assert closed == [True]
    assert kept.value.__traceback__ is not None


def test_a_create_leaves_the_connection_before_it_closed() -> None:
    closed: list[bool] = []
    done = threading.Event()

    def first(connection: socket.socket) -> None:
        keeping(closed, b"", "404 Not Found")(connection)
        done.set()

    with serving(first, answering(batch_bytes())) as server, BatchesClient(KEY, base_url=server.url) as client:
        with pytest.raises(ApiError) as kept:
            client.get("b")
        client.create_streamed(b"{}")
        assert done.wait(30)
    assert closed == [True]
    assert kept.value.status == 404


def _cut(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{")


@pytest.mark.parametrize(
    "script",
    [
        hang_up,
        reset,
        _cut,
        answering(b"<html>"),
        answering(b"", "500 Broken"),
        answering(b"", "302 Found", "location: /"),
    ],
)
@pytest.mark.parametrize("call", ["get", "results", "cancel"])
def test_no_failure_leaves_a_socket_behind(script: Script, call: str) -> None:
    with (
        serving(script) as server,
        BatchesClient(KEY, base_url=server.url, retry=ONCE) as client,
        pytest.raises(BatchesError),
    ):
        getattr(client, call)("b")


def test_a_stream_left_early_leaves_no_socket_behind() -> None:
    def endless(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n" + b'{"custom_id":"a","result":{"type":"x"}}\n'
        )
        assert closed_by_peer(connection)

    with (
        serving(endless) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        client.results_stream("b") as items,
    ):
        assert next(items).custom_id == "a"
    assert not server.failures


def test_a_body_that_fails_leaves_no_socket_behind() -> None:
    class Failing:
        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[bytes]:
            yield b"1"
            raise KeyError("gone")

    with serving(hang_up) as server, BatchesClient(KEY, base_url=server.url) as client, pytest.raises(KeyError):
        client.create_streamed(Failing())
