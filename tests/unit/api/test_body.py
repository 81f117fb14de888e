"""Sending a create's body: what arrives, what an error on the way means, and whose error it is."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
import urllib3.exceptions

from airflow_batches.api import ApiError, BatchesClient, InvalidRequest, RetryPolicy, TransportError
from airflow_batches.emulator import Emulator, Fault
from tests.unit.api.conftest import KEY, SOON
from tests.unit.api.wire import (
    API_ERROR,
    answer,
    answering,
    batch_bytes,
    closed_by_peer,
    read_head,
    read_request,
    reset,
    serving,
)

ONE_TRY = RetryPolicy(attempts=1)
LARGE = 32 << 20
"""More than any socket buffers swallow."""
SMALL_BODY = b'{"requests":[]}'


class Blocks:
    """A body in blocks that counts how often it was begun, and may raise before its last block."""

    def __init__(self, *blocks: bytes, length: int | None = None, error: Exception | None = None) -> None:
        self.blocks = blocks
        self.length = sum(map(len, blocks)) if length is None else length
        self.error = error
        self.begun = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[bytes]:
        self.begun += 1
        *first, last = self.blocks
        yield from first
        if self.error:
            raise self.error
        yield last


def test_a_streamed_body_arrives_whole_with_its_length() -> None:
    received: list[tuple[bytes, bytes]] = []

    def script(connection: socket.socket) -> None:
        received.append(read_request(connection))
        answer(connection, batch_bytes())

    blocks = [b"a" * 200_000, b"", b"b", b"c" * 65_536]
    with serving(script) as server, BatchesClient(KEY, base_url=server.url) as client:
        client.create_streamed(Blocks(*blocks))
    head, body = received[0]
    assert body == b"".join(blocks)
    assert b"content-length: 265537\r\n" in head.lower()
    assert b"transfer-encoding" not in head.lower()


def test_a_retry_sends_the_body_from_its_beginning(naps: list[float]) -> None:
    received: list[bytes] = []

    def script(body: bytes, status: str) -> Callable[[socket.socket], None]:
        def refuse(connection: socket.socket) -> None:
            received.append(read_request(connection)[1])
            answer(connection, body, status, "connection: close", "retry-after: 7")

        return refuse

    body = Blocks(b"a" * 100_000, b"b" * 100_000)
    scripts = [script(API_ERROR, "429 Too Many"), script(API_ERROR, "529 Overloaded"), script(batch_bytes(), "200 OK")]
    with serving(*scripts) as server, BatchesClient(KEY, base_url=server.url) as client:
        client.create_streamed(body)
    assert received == [b"a" * 100_000 + b"b" * 100_000] * 3
    assert body.begun == 3
    assert naps == [7.0, 7.0]


def test_a_whole_body_may_take_longer_than_the_timeout_for_one_piece() -> None:
    def slowly(connection: socket.socket) -> None:
        missing = LARGE - len(read_head(connection)[1])
        while missing > 0:
            missing -= len(connection.recv(1 << 20))
            time.sleep(0.05)
        answer(connection, batch_bytes())

    with serving(slowly) as server, BatchesClient(KEY, base_url=server.url, timeout=(0.8, 30), retry=ONE_TRY) as client:
        assert client.create_streamed(b" " * LARGE).id


def _drop_before_reading(connection: socket.socket) -> None:
    reset(connection)


def _drop_after_the_head(connection: socket.socket) -> None:
    read_head(connection)
    reset(connection)


def _drop_in_the_middle(connection: socket.socket) -> None:
    read_head(connection)
    for _ in range(20):
        connection.recv(65_536)
    reset(connection)


def _close_in_the_middle(connection: socket.socket) -> None:
    read_head(connection)
    connection.recv(65_536)


@pytest.mark.parametrize(
    "script", [_drop_before_reading, _drop_after_the_head, _drop_in_the_middle, _close_in_the_middle]
)
@pytest.mark.parametrize("body", [b" " * LARGE, Blocks(*[b" " * 300_000] * 110)], ids=["bytes", "streamed"])
def test_a_connection_lost_within_the_body_means_not_sent_and_it_is_sent_again(
    script: Callable[[socket.socket], None], body: bytes | Blocks
) -> None:
    with (
        serving(script) as server,
        BatchesClient(KEY, base_url=server.url, retry=ONE_TRY) as client,
        pytest.raises(TransportError) as caught,
    ):
        client.create_streamed(body)
    assert caught.value.maybe_sent is False
    with (
        serving(script, answering(batch_bytes())) as server,
        BatchesClient(KEY, base_url=server.url, retry=SOON) as client,
    ):
        assert client.create_streamed(body).id
        assert server.connections == 2


def _read_and_close(connection: socket.socket) -> None:
    read_request(connection)


def _read_and_reset(connection: socket.socket) -> None:
    read_request(connection)
    reset(connection)


def _answer_half(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n" + batch_bytes()[:50])


def _babble(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")


def _answer_broken_gzip(connection: socket.socket) -> None:
    read_request(connection)
    answer(connection, b"no gzip", "200 OK", "content-encoding: gzip")


def _answer_with_two_lengths(connection: socket.socket) -> None:
    read_request(connection)
    answer(connection, batch_bytes(), "200 OK", "content-length: 5")


@pytest.mark.parametrize(
    "script", [_read_and_close, _read_and_reset, _answer_half, _babble, _answer_broken_gzip, _answer_with_two_lengths]
)
@pytest.mark.parametrize("body", [SMALL_BODY, b" " * 1_000_000])
def test_after_the_whole_body_nobody_knows_and_it_is_never_sent_again(
    script: Callable[[socket.socket], None], body: bytes
) -> None:
    with (
        serving(script, answering(batch_bytes())) as server,
        BatchesClient(KEY, base_url=server.url, retry=SOON) as client,
    ):
        with pytest.raises(TransportError) as caught:
            client.create_streamed(body)
        assert server.connections == 1
    assert caught.value.maybe_sent is True


def _drop_when_the_body_is_there(connection: socket.socket) -> None:
    _, body = read_head(connection)
    if not body:
        connection.recv(1, socket.MSG_PEEK)
    reset(connection)


def test_a_small_body_dropped_before_it_was_read_may_have_been_sent_for_all_we_know() -> None:
    with serving(_drop_when_the_body_is_there) as server, BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
        with pytest.raises(TransportError) as caught:
            client.create_streamed(SMALL_BODY)
        assert server.connections == 1
    assert caught.value.maybe_sent is True


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_last_piece_that_the_socket_did_not_take_was_not_sent(pieces: int) -> None:
    gone = threading.Event()

    def script(connection: socket.socket) -> None:
        read_head(connection)
        reset(connection)
        gone.set()

    class Late:
        def __len__(self) -> int:
            return pieces

        def __iter__(self) -> Iterator[bytes]:
            if pieces == 2:
                yield b" "
            assert gone.wait(30)
            yield b" "

    with serving(script) as server, BatchesClient(KEY, base_url=server.url, retry=ONE_TRY) as client:
        with pytest.raises(TransportError) as caught:
            client.create_streamed(Late())
        assert server.connections == 1
    assert caught.value.maybe_sent is False


@pytest.mark.parametrize("action", ["drop_before_body", "drop_in_body"])
def test_the_emulator_agrees_that_nothing_came_of_a_body_cut_short(action: str) -> None:
    with Emulator() as emulator, BatchesClient(emulator.api_key, base_url=emulator.url, retry=ONE_TRY) as client:
        emulator.fault(Fault(endpoint="create", action=action, after_bytes=1_000_000))
        with pytest.raises(TransportError) as caught:
            client.create_streamed(b" " * LARGE)
        assert caught.value.maybe_sent is False
        assert emulator.batches() == []


@pytest.mark.parametrize("action", ["drop_after_accept", "late_accept"])
def test_the_emulator_agrees_that_a_batch_may_exist_without_an_answer(action: str) -> None:
    request = {"custom_id": "a", "params": {"model": "m", "max_tokens": 1, "messages": []}}
    with Emulator() as emulator, BatchesClient(emulator.api_key, base_url=emulator.url, retry=SOON) as client:
        emulator.fault(Fault(endpoint="create", action=action, seconds=0))
        with pytest.raises(TransportError) as caught:
            client.create([request])
        assert caught.value.maybe_sent is True
        assert (len(emulator.batches()), emulator.counters["create"]) == (1, 1)


def _refuse_early(status: str, body: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        read_head(connection)
        answer(connection, body, status, "connection: close")

    return script


def _refuse_early_and_drain(connection: socket.socket) -> None:
    read_head(connection)
    answer(connection, b"", "413 Too Large", "connection: close")
    connection.shutdown(socket.SHUT_WR)
    assert closed_by_peer(connection)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (_refuse_early("413 Too Large", b'{"error":{"type":"request_too_large","message":"Too large"}}'), 413),
        (_refuse_early("401 Unauthorized", b'{"error":{"type":"authentication_error","message":"Wrong"}}'), 401),
        (_refuse_early_and_drain, 413),
    ],
)
def test_an_answer_that_comes_before_the_body_was_read_is_the_answer(
    script: Callable[[socket.socket], None], status: int
) -> None:
    with serving(script) as server, BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
        with pytest.raises(ApiError) as caught:
            client.create_streamed(b" " * LARGE)
        assert server.connections == 1
    assert caught.value.status == status


class SourceError(Exception):
    """A body's own."""


@pytest.mark.parametrize(
    "error",
    [
        SourceError("the store is gone"),
        ValueError("no number"),
        FileNotFoundError(errno.ENOENT, "no such object"),
        BrokenPipeError(errno.EPIPE, "the store hung up"),
        ConnectionResetError(errno.ECONNRESET, "the store hung up"),
        TimeoutError("the store is slow"),
        requests.ConnectionError("the store is gone"),
        urllib3.exceptions.ProtocolError("the store is gone"),
        StopAsyncIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("first", [b" ", b" " * 1_000_000])
def test_what_the_body_itself_raises_comes_through_as_it_is(error: Exception, first: bytes) -> None:
    complete: list[bytes] = []

    def script(connection: socket.socket) -> None:
        complete.append(read_request(connection)[1])

    body = Blocks(first, b" ", error=error)
    with (
        serving(script) as server,
        BatchesClient(KEY, base_url=server.url, retry=SOON) as client,
        pytest.raises(type(error)) as caught,
    ):
        client.create_streamed(body)
    assert caught.value is error
    assert body.begun == 1
    assert not complete
    assert KEY not in "".join(repr(frame.frame.f_locals) for frame in caught.traceback[-1:])


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (Blocks(b"12345", length=6), "ended 1 bytes before the 6"),
        (Blocks(b"12345", length=4), "longer than the 4 bytes"),
        (Blocks(b"123", b"45", length=4), "longer than the 4 bytes"),
        (Blocks(b"1234", b"5", length=4), "longer than the 4 bytes"),
        (Blocks(b"", length=5), "ended 5 bytes before the 5"),
        (Blocks(b" " * 1_000_000, length=1_000_001), "ended 1 bytes before"),
    ],
)
def test_a_body_of_another_length_than_it_said_never_arrives_whole(body: Blocks, what: str) -> None:
    complete: list[bytes] = []

    def script(connection: socket.socket) -> None:
        complete.append(read_request(connection)[1])

    with (
        serving(script) as server,
        BatchesClient(KEY, base_url=server.url, retry=SOON) as client,
        pytest.raises(InvalidRequest, match=what),
    ):
        client.create_streamed(body)
    assert not complete
    assert body.begun == 1
