"""The plainest client there is: requests, and raw sockets where requests is too polite."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests

MODEL = "claude-haiku-4-5"
VERSION = "2023-06-01"


def params(**changes: Any) -> dict[str, Any]:
    """Params of a fine line; a change to None takes the member out."""
    usual = {"model": MODEL, "max_tokens": 1024, "messages": [{"role": "user", "content": "Hello"}]}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def line(custom_id: str, **changes: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": params(**changes)}


def lines(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [line(f"row-{number}", **changes) for number in range(count)]


class Service(Protocol):
    """An emulator, in the process or beside it."""

    @property
    def url(self) -> str: ...
    @property
    def api_key(self) -> str: ...


class Client:
    """The six calls, answered with the raw response."""

    def __init__(self, emulator: Service, **headers: str) -> None:
        self.url = emulator.url + "/v1/messages/batches"
        self.session = requests.Session()
        self.session.headers.update({"x-api-key": emulator.api_key, "anthropic-version": VERSION, **headers})

    def close(self) -> None:
        self.session.close()

    def create(self, requests_: Iterable[Mapping[str, Any]], **headers: str) -> requests.Response:
        return self.send(json.dumps({"requests": list(requests_)}).encode(), **headers)

    def send(self, body: Any, **headers: str) -> requests.Response:
        return self.session.post(self.url, data=body, headers=headers, timeout=60)

    def get(self, batch_id: str, **headers: str) -> requests.Response:
        return self.session.get(f"{self.url}/{batch_id}", headers=headers, timeout=60)

    def list(self, **query: Any) -> requests.Response:
        return self.session.get(self.url, params=query, timeout=60)

    def cancel(self, batch_id: str) -> requests.Response:
        return self.session.post(f"{self.url}/{batch_id}/cancel", timeout=60)

    def delete(self, batch_id: str) -> requests.Response:
        return self.session.delete(f"{self.url}/{batch_id}", timeout=60)

    def results(self, batch_id: str, **options: Any) -> requests.Response:
        return self.session.get(f"{self.url}/{batch_id}/results", timeout=60, **options)

    def made(self, requests_: Iterable[Mapping[str, Any]], **headers: str) -> str:
        """The id of a batch just created."""
        response = self.create(requests_, **headers)
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    def outcome(self, requests_: Iterable[Mapping[str, Any]], **headers: str) -> dict[str, dict[str, Any]]:
        """custom_id -> result of a batch that ends at once."""
        return self.read(self.made(requests_, **headers))

    def read(self, batch_id: str) -> dict[str, dict[str, Any]]:
        response = self.results(batch_id)
        assert response.status_code == 200, response.text
        items = [json.loads(text) for text in response.content.split(b"\n")]
        assert len({item["custom_id"] for item in items}) == len(items)
        return {item["custom_id"]: item["result"] for item in items}

    def error(self, params_: Mapping[str, Any], **headers: str) -> dict[str, Any]:
        """The error object of a line with these params, which must be an errored one."""
        result = self.outcome([{"custom_id": "only", "params": params_}], **headers)["only"]
        assert result["type"] == "errored", result
        assert result["error"]["type"] == "error"
        found: dict[str, Any] = result["error"]["error"]
        return found


def dial(emulator: Service) -> socket.socket:
    """A raw connection."""
    address = urlsplit(emulator.url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=30)


def head(method: str, target: str, *headers: str) -> bytes:
    """A request's head, key and version included."""
    usual = ["host: localhost", "x-api-key: sk-ant-emulator", f"anthropic-version: {VERSION}"]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *usual, *headers, "", ""]).encode()


def everything(sock: socket.socket) -> bytes:
    """What comes until the other side closes."""
    parts = []
    while part := sock.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def answers(sock: socket.socket, count: int) -> list[bytes]:
    """Return `count` chunked answers of a connection that stays open."""
    received = b""
    found: list[bytes] = []
    while len(found) < count:
        part = sock.recv(65_536)
        assert part, received
        received += part
        *whole, received = received.split(b"\r\n0\r\n\r\n")
        found += whole
    return found
