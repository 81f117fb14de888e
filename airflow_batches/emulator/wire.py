"""HTTP/1.1 over one socket: read a request, write a response.

Rules: handlers return a `Response`, and only `Connection.answer` writes one. A body is bytes or an iterator of
blocks; both are sent chunked, as the API does. `Hangup`, raised anywhere between the first byte of a request and the
last byte of its response, ends the connection at that point: faults produce incomplete answers with it.
"""

from __future__ import annotations

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

MAX_HEAD: Final = 65_536
"""Bytes of a request's head or of a line of its framing; chosen: several times what clients send."""
READ: Final = 262_144
"""Bytes read from the socket at once; chosen: few system calls for bodies of up to 256 MB."""
LINGER_SECONDS: Final = 30.0
"""Longest time to read on after a last answer; chosen: time enough for a body of 256 MB on a busy machine."""
LINGER_BYTES: Final = 1_000_000_000
"""Most bytes to read on after a last answer; chosen: several times the largest body that the API takes."""
_LINGER_IDLE: Final = 5.0
"""Seconds without a byte after which the client has nothing more to send; chosen."""
_WORTH_READING: Final = 65_536
"""Bytes of a remaining body that are cheaper to read than a new connection; chosen, not measured."""
_BODILESS: Final = (204, 304)
_OF_CONTENT: Final = ("date", "content-type", "content-disposition", "content-encoding")
_RESET: Final = struct.pack("ii", 1, 0)  # linger on, zero seconds: close() sends RST


class Hangup(Exception):
    """Ends the connection without the rest of the answer; `reset`: with RST, not FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


class MalformedRequest(ValueError):
    """The client sent something that is not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """Request line and headers; names in lower case, repeated headers joined by a comma."""

    method: str
    path: str
    query: Mapping[str, str]
    version: str
    headers: Mapping[str, str]

    @property
    def keep_alive(self) -> bool:
        options = self.headers.get("connection", "").lower()
        return "close" not in options if self.version == "HTTP/1.1" else "keep-alive" in options


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
        self._ahead = b""

    def read_head(self) -> Head | None:
        """Read the next request's head; None when the client has closed. Raises MalformedRequest."""
        data = self._ahead
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > MAX_HEAD:
                raise MalformedRequest("the head of the request is too long")
            if not (more := self.sock.recv(READ)):
                return None
            data += more
        self._ahead = data[end + 4 :]
        return _parse_head(data[:end].lstrip(b"\r\n"))

    def read(self, size: int) -> bytes:
        """Read at least one and at most `size` bytes.

        Raises ConnectionError when the client has closed.
        """
        if self._ahead:
            data, self._ahead = self._ahead[:size], self._ahead[size:]
            return data
        if not (data := self.sock.recv(min(size, READ))):
            raise ConnectionAbortedError("the client left in the middle of a body")
        return data

    def read_line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\n"):
            if len(line) > MAX_HEAD:
                raise MalformedRequest("a line of the body is too long")
            if not self._ahead:
                self._ahead = self.read(READ)
            cut = self._ahead.find(b"\n") + 1 or len(self._ahead)
            line += self._ahead[:cut]
            self._ahead = self._ahead[cut:]
        return bytes(line).strip()

    def pause(self, seconds: float) -> None:
        """Wait for real seconds; a closing server ends the pause and the connection."""
        if self.closing.wait(seconds):
            raise Hangup

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, response: Response, *, keep_alive: bool, head_only: bool = False) -> None:
        """Write a response. A body that raises Hangup leaves the chunked encoding incomplete."""
        head = _head(response, keep_alive=keep_alive)
        if head_only or response.status in _BODILESS:
            self.send(head)
        elif isinstance(response.body, bytes):
            self.send(head + _chunk(response.body) + b"0\r\n\r\n")
        else:
            self.send(head)
            for block in response.body:
                if block:
                    self.send(b"%x\r\n" % len(block))
                    self.send(block)
                    self.send(b"\r\n")
            self.send(b"0\r\n\r\n")

    def linger(self) -> None:
        """Read what the client still sends after a last answer, within bounds.

        Closing a socket with unread bytes resets the connection, and the client may lose the answer.
        """
        deadline, left = monotonic() + LINGER_SECONDS, LINGER_BYTES
        with suppress(OSError):  # the client has closed, or is too slow
            self.sock.shutdown(socket.SHUT_WR)
            while left > 0 and (wait := deadline - monotonic()) > 0:
                self.sock.settimeout(min(wait, _LINGER_IDLE))
                if not (part := self.sock.recv(READ)):
                    return
                left -= len(part)

    def close(self, *, reset: bool = False) -> None:
        if reset:
            with suppress(OSError):  # the socket is shut down already
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


class Body:
    """A request's body, read on demand, so that a fault can strike before or within it."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self._connection = connection
        self._chunked = "chunked" in head.headers.get("transfer-encoding", "").lower()
        self._left = 0 if self._chunked else _content_length(head.headers)
        self._expects = head.headers.get("expect", "").lower() == "100-continue"
        self.declared = None if self._chunked else self._left
        self.done = not self._chunked and self._left == 0

    def blocks(self) -> Iterator[bytes]:
        if self._expects and not self.done:
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._expects = False
        yield from self._chunks() if self._chunked else self._sized()
        self.done = True

    @property
    def nearly_done(self) -> bool:
        """Whether the rest is certain to be sent, and cheaper to read than a new connection."""
        return self.done or not (self._expects or self._chunked or self._left > _WORTH_READING)

    def discard(self) -> None:
        """Read the rest."""
        if not self.done:
            for _ in self.blocks():
                pass

    def _sized(self) -> Iterator[bytes]:
        while self._left:
            block = self._connection.read(self._left)
            self._left -= len(block)
            yield block

    def _chunks(self) -> Iterator[bytes]:
        while True:
            if not self._left:
                self._left = _chunk_size(self._connection.read_line())
                if not self._left:
                    while self._connection.read_line():
                        pass
                    return
            block = self._connection.read(self._left)
            self._left -= len(block)
            if not self._left:
                # read before the block is yielded: the generator may never be resumed
                self._connection.read_line()
            yield block


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


def _head(response: Response, *, keep_alive: bool) -> bytes:
    """Return status line and headers; framing follows content, as recorded live."""
    framing = {} if response.status in _BODILESS else {"transfer-encoding": "chunked"}
    framing["connection"] = "keep-alive" if keep_alive else "close"
    content = {name: value for name, value in response.headers.items() if name in _OF_CONTENT}
    headers = content | framing | dict(response.headers) | framing
    lines = [f"HTTP/1.1 {response.status} {_reason(response.status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _reason(status: int) -> str:
    known = {s.value: s.phrase for s in HTTPStatus}
    return known.get(status, "Overloaded" if status == 529 else "Unknown")


def _parse_head(data: bytes) -> Head:
    first, *rest = data.decode("latin-1").split("\r\n")
    try:
        method, target, version = first.split(" ")
    except ValueError:
        raise MalformedRequest(f"not a request line: {first[:80]!r}") from None
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise MalformedRequest(f"not a known version: {version[:20]!r}")
    headers: dict[str, str] = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise MalformedRequest("not a header line")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    try:
        url = urlsplit(target)
    except ValueError:
        raise MalformedRequest(f"not a target: {target[:80]!r}") from None
    return Head(method, url.path, dict(parse_qsl(url.query, True)), version, headers)


def _content_length(headers: Mapping[str, str]) -> int:
    value = headers.get("content-length", "0")
    if not value.isascii() or not value.isdigit():
        raise MalformedRequest("not a content-length")
    return int(value)


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError:
        raise MalformedRequest("not a chunk size") from None
