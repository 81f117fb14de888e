"""HTTP/1.1 over one socket: read a request, write a response.

h11 parses requests and frames both sides; this file moves the bytes. Against a parser by hand, bodies of 200 MB pass as
fast, and a small call costs about 0.14 ms more CPU (benchmarks/emulator.py). Rules: handlers return a `Response`, and
only `Connection.answer` writes one. A body is bytes or an iterator of blocks; both are sent chunked, as the API does,
or to a client of HTTP/1.0 until the connection closes. `Hangup`, raised anywhere between the first byte of a request
and the last byte of its response, ends the connection at that point: faults produce incomplete answers with it.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from time import monotonic
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11

MAX_HEAD: Final = 65_536
"""Bytes of a request's head or of a line of its framing; chosen: several times what clients send."""
READ: Final = 262_144
"""Bytes read from the socket at once; chosen: few system calls for bodies of up to 256 MB."""
LINGER_SECONDS: Final = 30.0
"""Longest time to read on after a last answer; chosen: time enough for a body of 256 MB on a busy machine."""
LINGER_BYTES: Final = 1_000_000_000
"""Most bytes to read on after a last answer; chosen: several times the largest body that the API takes."""
LINGER_IDLE: Final = 5.0
"""Seconds without a byte after which the client has nothing more to send; chosen."""
_WORTH_READING: Final = 65_536
"""Bytes of a remaining body that are cheaper to read than a new connection; chosen, not measured."""
_WORTH_JOINING: Final = 65_536
"""Bytes that are cheaper to copy than to send one by one; chosen: a fraction of a socket's buffer."""
_VERSIONS: Final = (b"1.0", b"1.1")
_BODILESS: Final = (204, 304)
_OF_CONTENT: Final = ("date", "content-type", "content-disposition", "content-encoding")
_FRAMING: Final = ("transfer-encoding", "content-length", "connection")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_RESET: Final = struct.pack("ii", 1, 0)  # linger on, zero seconds: close() sends RST


class Hangup(Exception):
    """Ends the connection without the rest of the answer; `reset`: with RST, not FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


class MalformedRequest(ValueError):
    """The client sent something that is not HTTP/1.1; `status` is what the answer should have."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """Request line and headers; names in lower case, repeated headers joined by a comma."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers in wire order, and the body: bytes, or blocks made while they are sent.

    `close`: the connection ends after it; `edge`: it is sent by the edge in front of the API.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Iterable[bytes] = b""
    close: bool = field(default=False, kw_only=True)
    edge: bool = field(default=False, kw_only=True)

    def blocks(self) -> Iterable[bytes]:
        return (self.body,) if isinstance(self.body, bytes) else self.body

    def with_headers(self, **headers: str) -> Response:
        return replace(self, headers={**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}})

    def with_body(self, body: bytes | Iterable[bytes]) -> Response:
        return replace(self, body=body)


class Connection:
    """One client's socket; `closing` is set when the server closes, and ends every pause."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.sock = sock
        self.closing = closing
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    def read_head(self) -> Head | None:
        """Read the next request's head; None when the client has closed. Raises MalformedRequest."""
        while (event := self._idle_event()) is h11.NEED_DATA:
            self._receive()
        if not isinstance(event, h11.Request):
            return None
        if event.http_version not in _VERSIONS:
            raise MalformedRequest("The HTTP version must be 1.1 or 1.0.", HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        return _head(event)

    def read_body(self) -> bytes | None:
        """Read a block of the body; None at its end.

        Raises MalformedRequest for wrong framing, ConnectionError when the client has closed.
        """
        if self.awaits_continue:
            self._send(self._encoded(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
        while (event := self._event()) is h11.NEED_DATA:
            self._receive(closed="the client left in the middle of a body")
        return event.data if isinstance(event, h11.Data) else None

    @property
    def awaits_continue(self) -> bool:
        """Whether the client sends the body only after a `100 Continue`."""
        return self._http.they_are_waiting_for_100_continue

    def pause(self, seconds: float) -> None:
        """Wait for real seconds; a closing server ends the pause and the connection."""
        if self.closing.wait(seconds):
            raise Hangup

    def answer(self, response: Response, *, keep_alive: bool = False, head_only: bool = False) -> bool:
        """Write a response, and return whether the connection can serve another call.

        A body that raises Hangup leaves the chunked encoding incomplete.
        """
        head = self._encoded_head(response, keep_alive=keep_alive)
        if head_only or response.status in _BODILESS:
            self._send([head, *self._encoded(h11.EndOfMessage())])
        elif isinstance(response.body, bytes):
            body = self._encoded(h11.Data(data=response.body))
            self._send([head, *body, *self._encoded(h11.EndOfMessage())])
        else:
            self._send([head])
            for block in response.body:
                self._send(self._encoded(h11.Data(data=block)))
            self._send(self._encoded(h11.EndOfMessage()))
        return self._http.our_state is h11.DONE

    def start_next_call(self) -> None:
        """Make ready for the next request, after both sides of this one have ended."""
        self._http.start_next_cycle()

    def linger(
        self, *, seconds: float = LINGER_SECONDS, max_bytes: int = LINGER_BYTES, idle: float = LINGER_IDLE
    ) -> None:
        """Read what the client still sends after a last answer, within bounds.

        Closing a socket with unread bytes resets the connection, and the client may lose the answer.
        """
        deadline = monotonic() + seconds
        with suppress(OSError):  # the client has closed, or is too slow
            self.sock.shutdown(socket.SHUT_WR)
            while max_bytes > 0 and (wait := deadline - monotonic()) > 0:
                self.sock.settimeout(min(wait, idle))
                if not (part := self.sock.recv(READ)):
                    return
                max_bytes -= len(part)

    def close(self, *, reset: bool = False) -> None:
        if reset:
            with suppress(OSError):  # the socket is shut down already
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()

    def _idle_event(self) -> object:
        """Return h11's next event between two calls.

        h11 takes lines that end with LF alone, as servers may (RFC 9112, 2.2). Here they are refused: proxies that
        disagree about such lines are how requests are smuggled.
        """
        if _BARE_LF.search(self._http.trailing_data[0].partition(b"\r\n\r\n")[0]):
            raise MalformedRequest("A line of the head ends with LF, not with CR LF.")
        return self._event()

    def _event(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise MalformedRequest(f"The request is not HTTP/1.1: {error}", error.error_status_hint) from None

    def _receive(self, closed: str = "") -> None:
        data = self.sock.recv(READ)
        if closed and not data:
            raise ConnectionAbortedError(closed)
        self._http.receive_data(data)

    def _send(self, parts: list[bytes]) -> None:
        """Send small parts with one system call; a large block is not copied for that."""
        if sum(map(len, parts)) <= _WORTH_JOINING:
            parts = [b"".join(parts)]
        for part in parts:
            self.sock.sendall(part)

    def _encoded(self, event: h11.Event) -> list[bytes]:
        return self._http.send_with_data_passthrough(event) or []

    def _encoded_head(self, response: Response, *, keep_alive: bool) -> bytes:
        """Return the head: content headers, h11's framing, the other headers, which is the order recorded live.

        h11 would put the framing last. It gets no other header, because it checks each of them three times: a small
        call took 2.7 times the CPU of a parser by hand then, measured.
        """
        framing = [(b"connection", b"keep-alive" if keep_alive else b"close")]
        event = h11.Response(status_code=response.status, headers=framing, reason=_reason(response.status))
        status, *framed = b"".join(self._encoded(event)).removesuffix(b"\r\n\r\n").split(b"\r\n")
        content: list[bytes] = []
        others: list[bytes] = []
        for name, value in response.headers.items():
            if name not in _FRAMING:
                lines = content if name in _OF_CONTENT else others
                lines.append(f"{name}: {value}".encode("latin-1", "replace"))
        return b"\r\n".join([status, *content, *map(bytes.lower, framed), *others, b"", b""])


class Body:
    """A request's body, read on demand, so that a fault can strike before or within it.

    `declared` is its length in bytes, None for a chunked one.
    """

    def __init__(self, connection: Connection, head: Head) -> None:
        self._connection = connection
        chunked = "transfer-encoding" in head.headers
        self._left = 0 if chunked else int(head.headers.get("content-length", "0"))
        self.declared = None if chunked else self._left
        self.done = self.declared == 0 and connection.read_body() is None

    def blocks(self) -> Iterator[bytes]:
        while not self.done:
            block = self._connection.read_body()
            if block is None:
                self.done = True
            else:
                self._left -= len(block)
                yield block

    @property
    def nearly_done(self) -> bool:
        """Whether the rest is certain to be sent, and cheaper to read than a new connection."""
        if self.done:
            return True
        return self.declared is not None and self._left <= _WORTH_READING and not self._connection.awaits_continue

    def discard(self) -> None:
        """Read the rest."""
        for _ in self.blocks():
            pass


def rechunked(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the same bytes in blocks of exactly `size`, the last one shorter."""
    waiting = bytearray()
    for block in blocks:
        waiting += block
        whole = len(waiting) - len(waiting) % size
        for start in range(0, whole, size):
            yield bytes(waiting[start : start + size])
        del waiting[:whole]
    if waiting:
        yield bytes(waiting)


def _head(request: h11.Request) -> Head:
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    target = request.target.decode("latin-1")
    try:
        url = urlsplit(target)
    except ValueError:
        raise MalformedRequest(f"{target[:80]!r} is not the target of a request.") from None
    return Head(request.method.decode("latin-1"), url.path, dict(parse_qsl(url.query, True)), headers)


def _reason(status: int) -> bytes:
    return _REASONS.get(status, "Unknown").encode()


_REASONS: Final[Mapping[int, str]] = {529: "Overloaded"} | {status.value: status.phrase for status in HTTPStatus}
