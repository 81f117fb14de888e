"""The headers of an answer: which, in what order, and what they say."""

from __future__ import annotations

import json
import re

import pytest

from airflow_batches.emulator import Emulator, Fault
from tests.unit.emulator.client import dial, everything, head, lines
from tests.unit.emulator.conftest import Start

BATCHES = "/v1/messages/batches"
FRAMING = ["transfer-encoding", "connection"]
LIMITS = [f"anthropic-ratelimit-requests-{name}" for name in ("limit", "remaining", "reset")]
IDENTITY = [
    "request-id",
    "strict-transport-security",
    "anthropic-organization-id",
    "anthropic-workspace-id",
]
EDGE = [
    "server",
    "x-envoy-upstream-service-time",
    "x-robots-tag",
    "vary",
    "server-timing",
    "cf-cache-status",
    "content-security-policy",
    "cf-ray",
]


def sent(emulator: Emulator, request: bytes) -> dict[str, str]:
    """The headers of the answer, in wire order."""
    with dial(emulator) as sock:
        sock.sendall(request)
        answer, _, _ = everything(sock).partition(b"\r\n\r\n")
    _, *found = answer.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in found)
    assert len(headers) == len(found), found
    return headers


def asked(method: str, path: str = "", body: bytes = b"") -> bytes:
    return head(method, BATCHES + path, "connection: close", f"content-length: {len(body)}") + body


def test_the_answer_to_a_create_has_the_recorded_headers_in_the_recorded_order(emulator: Emulator) -> None:
    headers = sent(emulator, asked("POST", body=json.dumps({"requests": lines(1)}).encode()))
    assert list(headers) == ["date", "content-type", *FRAMING, *LIMITS, *IDENTITY, *EDGE]
    told = {name: headers[name] for name in ("strict-transport-security", "server", "x-robots-tag", *EDGE[4:7])}
    milliseconds = headers["x-envoy-upstream-service-time"]
    assert milliseconds.isdigit()
    assert told == {
        "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
        "server": "cloudflare",
        "x-robots-tag": "none",
        "server-timing": f"x-originResponse;dur={milliseconds}",
        "cf-cache-status": "DYNAMIC",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    }
    assert re.fullmatch(r"[0-9a-f]{16}-[A-Z]{3}", headers["cf-ray"])


def test_the_answer_with_results_has_the_same_order_and_its_own_headers_of_content(start: Start) -> None:
    emulator, client = start(gzip=True)
    batch = client.made(lines(1))
    request = head("GET", f"{BATCHES}/{batch}/results", "connection: close", "accept-encoding: gzip")
    content = ["content-type", "content-disposition", "content-encoding"]
    assert list(sent(emulator, request)) == ["date", *content, *FRAMING, *LIMITS, *IDENTITY, *EDGE]


def test_a_hint_when_to_ask_again_comes_with_a_batch_in_progress(start: Start) -> None:
    emulator, client = start(processing_time=60)
    headers = sent(emulator, asked("GET", f"/{client.made(lines(1))}"))
    assert list(headers) == ["date", "content-type", *FRAMING, "retry-after", *LIMITS, *IDENTITY, *EDGE]
    assert headers["retry-after"] == "10"


@pytest.mark.parametrize(("method", "path", "told"), [("GET", "/x", True), ("PUT", "", False)])
def test_whether_to_retry_is_told_where_it_was_recorded(method: str, path: str, told: bool, emulator: Emulator) -> None:
    headers = sent(emulator, asked(method, path))
    assert headers.get("x-should-retry") == ("false" if told else None)
    if told:
        assert list(headers)[:5] == ["date", "content-type", *FRAMING, "x-should-retry"]


def test_without_a_key_nothing_tells_of_organization_workspace_or_limits(emulator: Emulator) -> None:
    headers = sent(emulator, asked("GET").replace(emulator.api_key.encode(), b"sk-ant-wrong"))
    assert list(headers) == ["date", "content-type", *FRAMING, *IDENTITY[:2], *EDGE]


def test_an_answer_of_the_edge_has_only_the_edges_headers(emulator: Emulator) -> None:
    emulator.fault(Fault(endpoint="list", action="status", status=502))
    assert list(sent(emulator, asked("GET"))) == ["date", "content-type", *FRAMING, "server", "cf-ray"]


def test_a_header_of_a_fault_takes_the_place_of_the_usual_one(emulator: Emulator) -> None:
    given = {"Request-Id": "req_mine", "Content-Type": "text/odd", "connection": "upgrade"}
    emulator.fault(Fault(endpoint="list", action="status", status=500, headers=given))
    headers = sent(emulator, asked("GET"))
    assert (headers["request-id"], headers["content-type"]) == ("req_mine", "text/odd")
    assert headers["connection"] == "close"
