"""Servers of a few lines on loopback, for what happens on the socket itself."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

Script = Callable[[socket.socket], None]
PATIENCE = 30.0
"""Seconds after which a test's server gives up a connection."""


@dataclass
class Served:
    """A server at work: its address, and what it met."""

    port: int
    scheme: str
    connections: int = 0
    failures: list[Exception] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


@contextmanager
def serving(*scripts: Script, tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """A server whose connections follow one script each, in turn; a connection beyond them is closed at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Served(listener.getsockname()[1], "https" if tls else "http")
        over = threading.Event()
        threads: list[threading.Thread] = []

        def play(connection: socket.socket, script: Script) -> None:
            try:
                with tls.wrap_socket(connection, server_side=True) if tls else connection as wrapped:
                    wrapped.settimeout(PATIENCE)
                    wrapped.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    script(wrapped)
            except (OSError, AssertionError) as exc:
                connection.close()
                served.failures.append(exc)

        def accept() -> None:
            with suppress(OSError):
                while not over.is_set():
                    connection, _ = listener.accept()
                    if over.is_set():
                        connection.close()
                        return
                    served.connections += 1
                    script = scripts[served.connections - 1] if served.connections <= len(scripts) else hang_up
                    threads.append(threading.Thread(target=play, args=(connection, script)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield served
        finally:
            over.set()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", served.port)).close()
            for thread in (accepting, *threads):
                thread.join(PATIENCE)


def hang_up(connection: socket.socket) -> None:
    """Close in order."""


def reset(connection: socket.socket) -> None:
    """Close with a RST, whatever is still under way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """A request's head, and what of its body came with it."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += (more := connection.recv(65_536))
        assert more, "the client closed before its request was complete"
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def read_request(connection: socket.socket) -> tuple[bytes, bytes]:
    """A request's head and whole body."""
    head, body = read_head(connection)
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(headers.get(b"content-length", b"0"))
    blocks = [body]
    missing = length - len(body)
    while missing > 0:
        blocks.append(connection.recv(65_536))
        assert blocks[-1], "the client closed before its request was complete"
        missing -= len(blocks[-1])
    return head, b"".join(blocks)


def answer(connection: socket.socket, body: bytes = b"{}", status: str = "200 OK", *headers: str) -> None:
    """One whole answer of known length."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode() + body)


API_ERROR: Final = b'{"type":"error","error":{"type":"rate_limit_error","message":"later"}}'
"""An error of the API's own: only that proves that a create was not accepted."""


def answering(body: bytes, status: str = "200 OK", *headers: str) -> Script:
    """Reads one request, gives one answer, closes."""

    def script(connection: socket.socket) -> None:
        read_request(connection)
        answer(connection, body, status, "connection: close", *headers)

    return script


def closed_by_peer(connection: socket.socket) -> bool:
    """Waits for the other side to close, and tells whether it did."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@contextmanager
def refused_port() -> Iterator[int]:
    """A port without a listener, which no other process can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port that answers no connection attempt: its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


def batch_json(status: str = "in_progress", **changes: Any) -> dict[str, Any]:
    """A batch object as the API sends it (2026)."""
    return {
        "id": "msgbatch_01QqYr4Qk28BBxwJ9N9L4PxX",
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
        "ended_at": None,
        "created_at": "2026-05-01T20:29:05.358585+00:00",
        "expires_at": "2026-05-02T20:29:05.358585+00:00",
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None,
    } | changes


def batch_bytes(status: str = "in_progress", **changes: Any) -> bytes:
    return json.dumps(batch_json(status, **changes)).encode()


def noting(heads: list[bytes], body: bytes, status: str = "200 OK") -> Script:
    """Like `answering`, and notes the head of the request."""

    def script(connection: socket.socket) -> None:
        heads.append(read_request(connection)[0])
        answer(connection, body, status, "connection: close")

    return script
