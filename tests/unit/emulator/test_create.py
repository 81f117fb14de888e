"""Creating a batch: what comes back, and what the envelope is refused for."""

from __future__ import annotations

import gzip
import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.emulator.client import dial, everything, head, line, lines, params
from tests.unit.emulator.conftest import Start

KEYS = [
    "id",
    "type",
    "processing_status",
    "request_counts",
    "ended_at",
    "created_at",
    "expires_at",
    "archived_at",
    "cancel_initiated_at",
    "results_url",
]


def test_a_new_batch_has_all_ten_members_in_wire_order(start_kept: Start) -> None:
    _, client = start_kept(processing_time=60)
    batch = client.create(lines(3)).json()
    assert list(batch) == KEYS
    assert batch["type"] == "message_batch"
    assert batch["processing_status"] == "in_progress"
    assert list(batch["request_counts"].items()) == [
        ("processing", 3),
        ("succeeded", 0),
        ("errored", 0),
        ("canceled", 0),
        ("expired", 0),
    ]
    assert [batch[key] for key in KEYS if key.endswith(("ended_at", "archived_at", "initiated_at", "url"))] == [
        None
    ] * 4


def test_ids_and_times_have_the_recorded_form(start_kept: Start) -> None:
    _, client = start_kept()
    batch = client.create(lines(1)).json()
    assert re.fullmatch(r"msgbatch_01[1-9A-HJ-NP-Za-km-z]{22}", batch["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", batch["created_at"])
    created, expires = (datetime.fromisoformat(batch[key]) for key in ("created_at", "expires_at"))
    assert expires - created == timedelta(hours=24)


def test_without_a_processing_time_a_batch_ends_at_once(start_kept: Start) -> None:
    _, client = start_kept()
    batch = client.create(lines(2)).json()
    assert batch["processing_status"] == "ended"
    assert batch["ended_at"] == batch["created_at"]
    assert batch["request_counts"] == {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0}


def test_every_answer_tells_request_organization_workspace_and_rate_limit(start: Start) -> None:
    emulator, client = start(requests_per_minute=50)
    headers = client.create(lines(1)).headers
    assert re.fullmatch(r"req_011C[1-9A-HJ-NP-Za-km-z]{20}", headers["request-id"])
    assert headers["content-type"] == "application/json"
    assert headers["anthropic-workspace-id"] == emulator.settings.workspace_id
    assert re.fullmatch(r"[0-9a-f-]{36}", headers["anthropic-organization-id"])
    assert headers["anthropic-ratelimit-requests-limit"] == "50"
    assert headers["anthropic-ratelimit-requests-remaining"] == "49"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", headers["anthropic-ratelimit-requests-reset"])
    assert headers["transfer-encoding"] == "chunked"
    assert "content-length" not in headers


def test_results_url_points_to_the_host_the_client_asked(start: Start) -> None:
    emulator, client = start()
    asked = client.create(lines(1)).json()
    assert asked["results_url"] == f"{emulator.url}/v1/messages/batches/{asked['id']}/results"
    elsewhere = client.get(asked["id"], host="batches.example:8080").json()
    assert elsewhere["results_url"] == f"http://batches.example:8080/v1/messages/batches/{asked['id']}/results"


def test_results_url_can_be_made_to_point_elsewhere(start: Start) -> None:
    _, client = start(results_base="https://api.anthropic.com")
    assert client.create(lines(1)).json()["results_url"].startswith("https://api.anthropic.com/v1/messages/batches/")


def test_a_path_prefix_stands_before_every_route(start: Start) -> None:
    emulator, client = start(prefix="/v1/projects/p/invoke")
    assert emulator.url.endswith("/v1/projects/p/invoke")
    batch = client.create(lines(1)).json()
    assert batch["results_url"] == f"{emulator.url}/v1/messages/batches/{batch['id']}/results"
    assert client.results(batch["id"]).status_code == 200
    client.url = client.url.replace("/v1/projects/p/invoke", "")
    assert client.list().status_code == 404


def test_the_beta_query_and_the_old_beta_header_are_ignored(start: Start) -> None:
    _, client = start()
    client.url += "?beta=true"
    assert client.create(lines(1), **{"anthropic-beta": "message-batches-2024-09-24"}).status_code == 200


def item(**members: Any) -> bytes:
    return json.dumps({"requests": [members]}).encode()


REFUSED = {
    "a duplicate": (
        json.dumps({"requests": [line("dup"), line("other"), line("dup")]}).encode(),
        "requests: custom_id's must be unique within a batch. Duplicate custom_id found: dup",
    ),
    "no custom_id": (item(params=params()), "requests.0.custom_id: Field required"),
    "a long custom_id": (
        item(custom_id="x" * 65, params=params()),
        "requests.0.custom_id: String should have at most 64 characters",
    ),
    "an empty custom_id": (
        item(custom_id="", params=params()),
        "requests.0.custom_id: String should have at least 1 character",
    ),
    "a custom_id with a space": (
        item(custom_id="a b", params=params()),
        "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
    ),
    "a custom_id with a newline at its end": (
        item(custom_id="a\n", params=params()),
        "requests.0.custom_id: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
    ),
    "a number as custom_id": (
        item(custom_id=7, params=params()),
        "requests.0.custom_id: Input should be a valid string",
    ),
    "no params": (item(custom_id="a"), "requests.0.params: Field required"),
    "params that are a list": (
        item(custom_id="a", params=[]),
        "requests.0.params: Input should be a valid dictionary or object to extract fields from",
    ),
    "a further member of a request": (
        item(custom_id="a", params=params(), metadata={}),
        "requests.0.metadata: Extra inputs are not permitted",
    ),
    "a request that is a number": (
        b'{"requests":[1]}',
        "requests.0: Input should be a valid dictionary or object to extract fields from",
    ),
    "an empty list": (
        b'{"requests":[]}',
        "requests: List should have at least 1 item after validation, not 0",
    ),
    "requests that are no list": (b'{"requests":{}}', "requests: Input should be a valid list"),
    "no requests": (b"{}", "requests: Field required"),
    "a further member": (
        json.dumps({"requests": [line("a")], "name": "x"}).encode(),
        "name: Extra inputs are not permitted",
    ),
    "a list as body": (b"[]", "Input should be a valid dictionary or object to extract fields from"),
    "the fault of a later request": (
        json.dumps({"requests": [line("a"), line("b"), {"params": params()}]}).encode(),
        "requests.2.custom_id: Field required",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_envelope_is_refused_for(what: str, start: Start) -> None:
    emulator, client = start()
    body, message = REFUSED[what]
    response = client.send(body)
    assert response.status_code == 400
    assert response.headers["x-should-retry"] == "false"
    answer = response.json()
    assert list(answer) == ["type", "error", "request_id"]
    assert answer["error"] == {"type": "invalid_request_error", "message": message}
    assert answer["request_id"] == response.headers["request-id"]
    assert emulator.batches() == []


@pytest.mark.parametrize(
    ("body", "tail"),
    [
        (b"", "unexpected end of data: line 1 column 1 (char 0)"),
        (b'{"requests":[', "unexpected end of data: line 1 column 14 (char 13)"),
        (b'{"requests":\n [x', "unexpected character: line 2 column 3 (char 15)"),
        (b'{"requests":[{"custom_id":"\xff","params":{}}]}', "invalid UTF-8"),
        (b'{"requests":[{"custom_id":"a","params":{"model":"\xff"}}]}', "invalid UTF-8"),
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes, tail: str, start: Start) -> None:
    _, client = start()
    response = client.send(body)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(f"The request body is not valid JSON: {tail}")


def test_a_schema_error_before_trailing_bytes_is_told_as_broken_json(start: Start) -> None:
    _, client = start()
    response = client.send(b'{"requests":[1]} x')
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("The request body is not valid JSON: unexpected character")


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_500,
        b'{"requests":' + b"[" * 1_500 + b"]" * 1_500 + b"}",
        b'{"requests":[{"custom_id":' + b"[" * 1_500 + b"]" * 1_500 + b',"params":{}}]}',
        b'{"requests":[{"custom_id":"a","params":{"metadata":' + b'{"a":' * 1_500 + b"1" + b"}" * 1_500 + b"}}]}",
        b'{"requests":[{"custom_id":"a","params":{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}",
    ],
    ids=["unclosed", "requests", "custom_id", "params", "far too deep"],
)
def test_a_body_nested_too_deeply_is_refused(body: bytes, start: Start) -> None:
    emulator, client = start()
    response = client.send(body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
    assert emulator.batches() == []


def test_of_a_member_that_is_there_twice_the_last_one_counts(start: Start) -> None:
    _, client = start()
    twice = b'{"requests":7,"requests":[{"custom_id":1,"custom_id":"a","params":0,"params":%b}]}'
    assert client.send(twice % json.dumps(params()).encode()).json()["request_counts"]["succeeded"] == 1
    response = client.send(b'{"requests":[{"custom_id":"a","params":{}}],"requests":7}')
    assert response.json()["error"]["message"] == "requests: Input should be a valid list"


def test_more_requests_than_the_limit_are_refused(start: Start) -> None:
    _, client = start(max_requests=3)
    assert client.create(lines(3)).status_code == 200
    response = client.create(lines(4))
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "requests: List should have at most 3 items after validation, not 4"


def test_a_hundred_thousand_requests_are_one_batch_and_one_more_is_none(start: Start) -> None:
    _, client = start(processing_time=60)
    assert client.create(lines(100_000)).json()["request_counts"]["processing"] == 100_000
    message = client.create(lines(100_001)).json()["error"]["message"]
    assert message == "requests: List should have at most 100000 items after validation, not 100001"


EDGE_413 = b'{"error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}'


def test_the_edge_refuses_a_body_over_the_limit_and_the_client_can_read_it(start: Start) -> None:
    emulator, client = start(max_body_bytes=2_000_000)
    response = client.send(b"x" * 3_000_000)
    assert (response.status_code, response.content) == (413, EDGE_413)
    assert "request-id" not in response.headers
    assert client.send(iter([b"x" * 1_500_000, b"x" * 1_500_000])).content == EDGE_413
    assert emulator.counters["create"] == 2
    assert client.create(lines(1)).status_code == 200


def test_the_limit_is_256_million_bytes(start: Start) -> None:
    emulator, _ = start()
    with dial(emulator) as sock:
        length = "content-length: 256000001"
        sock.sendall(head("POST", "/v1/messages/batches", length, "expect: 100-continue"))
        assert EDGE_413 in everything(sock)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_compressed_body_is_taken(encoding: str, start: Start) -> None:
    _, client = start()
    body = gzip.compress(json.dumps({"requests": lines(5)}).encode())
    response = client.send(body, **{"content-encoding": encoding})
    assert response.json()["request_counts"]["succeeded"] == 5


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (b"no gzip", "gzip", 400, "request_body_encoding_invalid"),
        (gzip.compress(b'{"requests":[]}')[:-9], "gzip", 400, "request_body_encoding_invalid"),
        (b"{}", "br", 400, "request_body_encoding_unsupported"),
        (gzip.compress(b"x" * 3_000_000), "gzip", 413, "request_body_too_large_after_decoding"),
    ],
    ids=["no gzip", "torn gzip", "unknown", "too large"],
)
def test_a_body_that_cannot_be_decoded_is_refused_with_its_code(
    body: bytes, encoding: str, status: int, code: str, start: Start
) -> None:
    _, client = start(max_body_bytes=2_000_000)
    response = client.send(body, **{"content-encoding": encoding})
    assert response.status_code == status
    assert response.json()["error"]["details"] == {"error_code": code}


def test_a_full_queue_is_refused_until_a_batch_has_ended(start: Start) -> None:
    emulator, client = start(queue_limit=5, processing_time=60)
    client.made(lines(3))
    refused = client.create(lines(3))
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert refused.headers["retry-after"] == "10"
    emulator.clock.advance(60)
    assert client.create(lines(3)).status_code == 200
