"""The journal: what was sent can be looked at, without the key, and it never grows beyond its bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from airflow_batches.emulator import Emulator, Fault
from airflow_batches.emulator.journal import ReceivedCall
from tests.unit.emulator.client import Client, line, lines
from tests.unit.emulator.conftest import Start


def told(emulator: Emulator, **query: Any) -> dict[str, Any]:
    response = requests.get(f"{emulator.control_url}/requests", params=query, timeout=30)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def only(calls: list[ReceivedCall]) -> ReceivedCall:
    (call,) = calls
    return call


def test_a_call_is_kept_as_it_was_sent_with_the_status_answered(start: Start) -> None:
    emulator, client = start()
    client.list(limit=3)
    call = only(emulator.requests.find())
    assert (call.number, call.method, call.path, call.query) == (1, "GET", "/v1/messages/batches", {"limit": "3"})
    assert (call.endpoint, call.status, call.batch_id) == ("list", 200, "")
    assert call.headers["accept"] == "*/*"
    assert call.request_id.startswith("req_")
    assert told(emulator)["calls"] == [
        {
            "number": 1,
            "at": call.at,
            "endpoint": "list",
            "method": "GET",
            "path": "/v1/messages/batches",
            "query": {"limit": "3"},
            "headers": dict(call.headers),
            "request_id": call.request_id,
            "status": 200,
            "batch_id": "",
            "requests": [],
            "body": None,
            "dropped_bytes": 0,
        }
    ]


def test_credentials_are_not_kept(start: Start) -> None:
    emulator, client = start()
    secrets = {name: f"secret-{name}" for name in ("authorization", "cookie", "proxy-authorization")}
    client.session.get(client.url, headers={**secrets, "x-api-key": "secret-key", "x-mine": "kept"}, timeout=30)
    headers = only(emulator.requests.find()).headers
    assert {headers[name] for name in (*secrets, "x-api-key")} == {"redacted"}
    assert headers["x-mine"] == "kept"
    assert "secret" not in json.dumps(told(emulator))


def test_a_create_is_found_by_batch_and_by_custom_id_with_its_requests(start: Start) -> None:
    emulator, client = start()
    first, second = client.made([line("a"), line("b", max_tokens=7)]), client.made([line("c")])
    client.get(second)
    call = only(emulator.requests.find(custom_id="b"))
    assert (call.batch_id, call.requests) == (first, [line("a"), line("b", max_tokens=7)])
    assert [call.endpoint for call in emulator.requests.find(batch_id=second)] == ["create", "get"]
    assert emulator.requests.find(endpoint="create", custom_id="z") == []
    assert [call["requests"] for call in told(emulator, custom_id="b")["calls"]] == [[line("b", max_tokens=7)]]
    assert [call["batch_id"] for call in told(emulator, endpoint="create")["calls"]] == [first, second]


def test_refused_calls_are_kept_too(start: Start) -> None:
    emulator, client = start()
    client.create([line("twice"), line("twice")])
    client.send(b"no json")
    client.session.get(f"{emulator.url}/v1/nothing", timeout=30)
    statuses = [(call.endpoint, call.status, len(call.requests)) for call in emulator.requests]
    assert statuses == [("create", 400, 2), ("create", 400, 0), ("", 404, 0)]
    assert only(emulator.requests.find(custom_id="twice")).batch_id == ""


def test_a_call_without_an_answer_has_no_status_but_the_batch_it_made(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    with pytest.raises(requests.ConnectionError):
        client.create([line("a")])
    call = only(emulator.requests.find())
    assert (call.status, call.batch_id) == (None, emulator.batches()[0]["id"])
    assert call.requests == [line("a")]


def test_polls_do_not_push_out_creates(start: Start) -> None:
    emulator, client = start(journal_calls=2)
    batch = client.made(lines(1))
    for _ in range(5):
        client.get(batch)
    assert [(call.number, call.endpoint) for call in emulator.requests] == [(1, "create"), (5, "get"), (6, "get")]
    assert told(emulator)["dropped"] == {"calls": 3, "bytes": 0}


def test_the_oldest_bodies_are_dropped_and_counted(start: Start) -> None:
    emulator, client = start()
    body = json.dumps({"requests": lines(3)}).encode()
    emulator.settings.journal_bytes = 2 * len(body) + 5
    for _ in range(4):
        client.send(body)
    assert [len(call.requests) for call in emulator.requests] == [0, 0, 3, 3]
    assert [call.dropped_bytes for call in emulator.requests] == [len(body), len(body), 0, 0]
    assert told(emulator)["dropped"] == {"calls": 0, "bytes": 2 * len(body)}


def test_of_a_body_that_is_too_large_the_leading_requests_are_kept(start: Start) -> None:
    emulator, client = start(journal_bytes=1_500_000)
    batch = client.made([line(f"row-{n}", messages=[{"role": "user", "content": "é" * 50_000}]) for n in range(30)])
    call = only(emulator.requests.find(batch_id=batch))
    assert [request["custom_id"] for request in call.requests] == ["row-0", "row-1", "row-2", "row-3"]
    assert len(call.content) == 1_500_000
    assert call.dropped_bytes > 1_500_000


def test_a_compressed_body_is_kept_decoded(start: Start) -> None:
    import gzip

    emulator, client = start()
    client.send(gzip.compress(json.dumps({"requests": lines(2)}).encode()), **{"content-encoding": "gzip"})
    assert len(only(emulator.requests.find(custom_id="row-1")).requests) == 2


def test_calls_that_were_dropped_take_their_bodies_with_them(start: Start) -> None:
    emulator, client = start(journal_calls=1)
    for _ in range(3):
        client.made(lines(1))
    size = len(only(emulator.requests.find()).content)
    assert (emulator.requests.dropped_calls, emulator.requests.dropped_bytes) == (2, 2 * size)


@pytest.mark.parametrize("bounds", [{"journal_calls": 0}, {"journal_bytes": 0}], ids=str)
def test_the_journal_can_be_turned_off(bounds: dict[str, int], start: Start) -> None:
    emulator, client = start(**bounds)
    client.made(lines(1))
    assert [call.requests for call in emulator.requests] == ([] if "journal_calls" in bounds else [[]])
    assert emulator.requests.dropped_bytes > 0


def test_the_body_of_another_call_is_told_as_json(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(1))
    for sent in (b'{"reason": "test"}', b"no json", b""):
        client.session.post(f"{client.url}/{batch}/cancel", data=sent, timeout=30)
    assert [call.body for call in emulator.requests.find(endpoint="cancel")] == [{"reason": "test"}, None, None]


def test_reset_forgets_the_calls(start: Start) -> None:
    emulator, client = start()
    client.made(lines(1))
    emulator.reset()
    assert (len(emulator.requests), told(emulator)["dropped"]) == (0, {"calls": 0, "bytes": 0})


def test_control_calls_are_not_kept(start: Start) -> None:
    emulator, _ = start()
    told(emulator)
    assert len(emulator.requests) == 0


def test_two_clients_at_once_are_both_kept(start: Start) -> None:
    emulator, client = start()
    other = Client(emulator)
    for each in (client, other):
        each.list()
    other.close()
    assert [call.number for call in emulator.requests] == [1, 2]
