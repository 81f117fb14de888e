"""HTTP/1.1 over one socket: a request read, a response written.

Rules: handlers return a `Response`, and only `Connection.answer` writes one. A body is bytes or an iterator of
blocks; both travel chunked, as the API's do. `Hangup`, raised anywhere between the first byte of a request and the
last byte of its response, ends the connection at that point: that is how a torn answer is made.
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
READ: Final = 262_144
LINGER_SECONDS: Final = 30.0
LINGER_BYTES: Final = 1_000_000_000
_LINGER_IDLE: Final = 5.0  # seconds
_WORTH_READING: Final = 65_536  # bytes
_BODILESS: Final = (204, 304)
_OF_CONTENT: Final = ("date", "content-type", "content-disposition", "content-encoding")
_RESET: Final = struct.pack("ii", 1, 0)  # linger on, zero seconds: close() sends RST


class Hangup(Exception):
    """The connection ends here, without the rest of the answer; `reset` with RST instead of FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        self.reset = reset


class MalformedRequest(ValueError):
    """What came is not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """Request line and headers; header names in lower case, a repeated header joined by a comma."""

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

    `close`: the connection ends after it; `edge`: it is not the API's, but of the edge in front of it.
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
    """One client's socket; `closing` is set when the server goes down and interrupts every pause."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.sock = sock
        self.closing = closing
        self._ahead = b""

    def read_head(self) -> Head | None:
        """The next request's head, None when the client is done. Raises MalformedRequest."""
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
        """At least one and at most `size` bytes. Raises ConnectionError when the client is gone."""
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
        """Real seconds; a closing server ends the pause and the connection."""
        if self.closing.wait(seconds):
            raise Hangup

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, response: Response, *, keep_alive: bool, head_only: bool = False) -> None:
        """Writes a response. A body that raises Hangup leaves the chunked encoding torn."""
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
        """After a last answer: takes what the client still sends, within bounds. To close over unread bytes would
        reset the connection, and the client might lose the answer that it has not read yet."""
        deadline, left = monotonic() + LINGER_SECONDS, LINGER_BYTES
        with suppress(OSError):  # the client is done, too slow, or gone
            self.sock.shutdown(socket.SHUT_WR)
            while left > 0 and (wait := deadline - monotonic()) > 0:
                self.sock.settimeout(min(wait, _LINGER_IDLE))
                if not (part := self.sock.recv(READ)):
                    return
                left -= len(part)

    def close(self, *, reset: bool = False) -> None:
        if reset:
            with suppress(OSError):  # a socket that is down already cannot be told
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()


class Body:
    """A request's body, read at most once and only when asked for, so that a fault can strike before or within it."""

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
        """Whether what is left is sure to come and so little that to read it costs less than a new connection."""
        return self.done or not (self._expects or self._chunked or self._left > _WORTH_READING)

    def discard(self) -> None:
        """Reads what is left."""
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
                # consumed before the block goes out: the generator may never be resumed
                self._connection.read_line()
            yield block


def rechunked(blocks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in blocks of exactly `size`, the last one shorter."""
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
    """Status line and headers; those of the framing stand behind those of the content, as recorded live."""
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
