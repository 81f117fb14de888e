"""A request refused by its head alone: answered before its body, and in a way that the client can read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_batches.api import ApiError, BatchesClient, RetryPolicy
from airflow_batches.emulator import Emulator
from airflow_batches.emulator.wire import Connection
from tests.unit.emulator.client import Client, answers, dial, everything, head, lines
from tests.unit.emulator.conftest import Start, emulator_threads

BATCHES = "/v1/messages/batches"
LARGE = 32_000_000
"""Bytes; more than the sockets of both sides buffer."""
TOO_LARGE = 256_000_001
WRONG = {"authorization": "Bearer sk-ant-wrong"}


def refused(what: str, length: int) -> bytes:
    """Return a head that announces a body and is refused for what it says."""
    target, headers = BATCHES, ["anthropic-version: 2023-06-01"]
    if what == "version":
        headers = ["anthropic-version: 1999-01-01"]
    if what == "route":
        target += "/a/b/c"
    whole = head("POST", target, *headers, f"content-length: {length}")
    return whole.replace(b"sk-ant-emulator", b"sk-ant-wrong") if what == "key" else whole


STATUS = {"length": b"413", "key": b"401", "version": b"400", "route": b"404"}


@pytest.mark.parametrize("what", STATUS)
def test_the_answer_comes_before_a_byte_of_the_body_was_sent(what: str, emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(refused(what, TOO_LARGE if what == "length" else LARGE))
        answer = everything(sock)
    assert answer.startswith(b"HTTP/1.1 " + STATUS[what])
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("what", STATUS)
def test_a_client_that_sends_all_of_its_body_first_still_gets_the_answer(what: str, emulator: Emulator) -> None:
    length = TOO_LARGE if what == "length" else LARGE
    piece = b" " * 1_000_000
    with dial(emulator) as sock:
        sock.sendall(refused(what, length))
        for _ in range(length // len(piece)):
            sock.sendall(piece)
        assert everything(sock).startswith(b"HTTP/1.1 " + STATUS[what])


def test_a_call_beyond_the_rate_limit_is_refused_before_its_body_too(start: Start) -> None:
    emulator, client = start(requests_per_minute=1, enforce_rate_limit=True)
    emulator.clock.advance(60 - emulator.clock.now().second)
    client.list()
    with dial(emulator) as sock:
        sock.sendall(head("POST", BATCHES, f"content-length: {LARGE}"))
        assert everything(sock).startswith(b"HTTP/1.1 429")


def test_a_small_body_of_a_refused_request_costs_no_connection(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(refused("key", 2))
        assert answers(sock, 1)[0].startswith(b"HTTP/1.1 401")
        sock.sendall(b"{}" + head("GET", BATCHES))
        assert answers(sock, 1)[0].startswith(b"HTTP/1.1 200")
    assert emulator.connections == 1


def test_a_client_that_waits_for_100_continue_is_refused_instead(emulator: Emulator) -> None:
    request = refused("key", 2).replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n")
    with dial(emulator) as sock:
        sock.sendall(request)
        assert everything(sock).startswith(b"HTTP/1.1 401")


class Spaces:
    """`length` bytes of JSON's white space, never in memory as a whole."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[bytes]:
        whole, rest = divmod(self.length, 1_000_000)
        yield from [b" " * 1_000_000] * whole
        yield b" " * rest


@pytest.mark.parametrize(
    ("key", "length", "status", "kind"),
    [
        ("sk-ant-wrong", LARGE, 401, "authentication_error"),
        ("sk-ant-emulator", TOO_LARGE, 413, "request_too_large"),
    ],
)
def test_our_client_reads_the_refusal_of_a_body_that_it_is_still_sending(
    key: str, length: int, status: int, kind: str, emulator: Emulator
) -> None:
    with BatchesClient(key, base_url=emulator.url, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(ApiError) as caught:
            client.create_streamed(Spaces(length))
        assert (caught.value.status, caught.value.kind) == (status, kind)
        if status == 413:
            client.check()
    assert emulator.batches() == []
    assert emulator.counters["create"] == 1


def test_requests_reads_the_refusal_too_and_goes_on_over_another_connection(emulator: Emulator) -> None:
    client = Client(emulator)
    refusal = requests.post(client.url, data=b" " * LARGE, headers=WRONG, timeout=30)
    assert refusal.status_code == 401
    assert client.send(b" " * LARGE, **{"x-api-key": "sk-ant-wrong"}).status_code == 401
    assert client.create(lines(1)).status_code == 200
    client.close()


def lingering(**bounds: Any) -> tuple[socket.socket, threading.Thread]:
    """Return the client's end of a connection whose other end lingers."""
    ours, theirs = socket.socketpair()

    def linger() -> None:
        connection = Connection(ours, threading.Event())
        connection.linger(**bounds)
        connection.close()

    thread = threading.Thread(target=linger)
    thread.start()
    return theirs, thread


def send_for_ever(sock: socket.socket) -> None:
    while True:
        sock.sendall(b" " * 10_000)


@pytest.mark.parametrize("bounds", [{"max_bytes": 1_000_000}, {"seconds": 0.2}], ids=str)
def test_a_client_that_sends_without_end_loses_the_connection(bounds: dict[str, Any]) -> None:
    theirs, thread = lingering(**bounds)
    with theirs, pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
        send_for_ever(theirs)
    thread.join()


@pytest.mark.parametrize("bounds", [{"idle": 0.05}, {"seconds": 0.05}], ids=str)
def test_a_client_that_falls_silent_loses_the_connection(bounds: dict[str, Any]) -> None:
    theirs, thread = lingering(**bounds)
    with theirs:
        assert theirs.recv(1) == b""
        thread.join()


def test_a_server_that_closes_does_not_wait_for_a_client_that_still_sends() -> None:
    emulator = Emulator()
    with dial(emulator) as sock:
        sock.sendall(refused("key", LARGE))
        assert everything(sock).startswith(b"HTTP/1.1 401")
        emulator.close()
        assert emulator_threads() == []
