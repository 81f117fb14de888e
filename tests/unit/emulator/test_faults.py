"""Faults: each does what its name says, as often as its plan says, and reports it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from airflow_batches.emulator import Fault
from airflow_batches.emulator.actions import ACTIONS
from tests.unit.emulator.client import dial, everything, head, line, lines
from tests.unit.emulator.conftest import Eventually, Start

GONE = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
BATCHES = "/v1/messages/batches"


def whole(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(text) for text in content.split(b"\n")]


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, "invalid_request_error", "Invalid request"),
        (401, "authentication_error", "API key is invalid."),
        (402, "billing_error", "There is an issue with your billing."),
        (403, "permission_error", "Your API key does not have permission to use the specified resource."),
        (404, "not_found_error", "Not found"),
        (409, "conflict_error", "The request conflicts with the current state of the resource."),
        (429, "rate_limit_error", "Number of requests has exceeded your rate limit. Please try again later."),
        (500, "api_error", "Internal server error"),
        (504, "timeout_error", "Request timed out"),
        (529, "overloaded_error", "Overloaded"),
    ],
)
def test_a_status_comes_with_the_body_the_api_gives_it(status: int, kind: str, message: str, start: Start) -> None:
    emulator, client = start()
    plan = emulator.fault(Fault(endpoint="create", action="status", status=status))
    response = client.create(lines(1))
    assert response.status_code == status
    assert response.json()["error"] == {"type": kind, "message": message}
    assert response.headers["request-id"].startswith("req_011C")
    assert plan.struck == 1
    assert emulator.batches() == []
    assert client.create(lines(1)).status_code == 200
    assert (plan.struck, emulator.counters["create"]) == (1, 2)


@pytest.mark.parametrize("status", [502, 503, 520, 524])
def test_the_edge_answers_some_statuses_in_html(status: int, start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="list", action="status", status=status))
    response = client.list()
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html")
    assert f"<title>{status}".encode() in response.content
    assert "request-id" not in response.headers


def test_413_is_the_edges_and_204_has_no_body(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="create", action="status", status=413))
    emulator.fault(Fault(endpoint="list", action="status", status=204))
    assert client.create(lines(1)).json() == {
        "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}
    }
    assert client.list().content == b""
    assert client.list().status_code == 200


def test_a_429_tells_how_long_to_wait_unless_told_otherwise(start: Start) -> None:
    emulator, client = start()
    for fault in (
        Fault(endpoint="get", action="status", status=429),
        Fault(endpoint="get", action="status", status=429, retry_after=2.5),
        Fault(endpoint="get", action="status", status=429, retry_after=None),
        Fault(endpoint="get", action="status", status=529, headers={"retry-after-ms": "20", "x-should-retry": "true"}),
    ):
        emulator.fault(fault)
    headers = [client.get("msgbatch_x").headers for _ in range(4)]
    assert [h.get("retry-after") for h in headers] == ["1", "2.5", None, None]
    assert (headers[3]["retry-after-ms"], headers[3]["x-should-retry"]) == ("20", "true")


def test_message_and_error_type_can_be_given(start: Start) -> None:
    emulator, client = start()
    limit = "You have reached your specified API usage limits"
    emulator.fault(Fault(endpoint="create", action="status", status=400, message=limit, error_type="billing_error"))
    assert client.create(lines(1)).json()["error"] == {"type": "billing_error", "message": limit}


def test_a_fault_skips_strikes_and_is_exhausted(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(1))
    plan = emulator.fault(Fault(endpoint="get", action="status", status=500, skip=2, times=3))
    assert [client.get(batch).status_code for _ in range(7)] == [200, 200, 500, 500, 500, 200, 200]
    assert plan.struck == 3


def test_a_fault_without_times_strikes_until_it_is_deleted(start: Start) -> None:
    emulator, client = start()
    plan = emulator.fault(Fault(endpoint="*", action="status", status=529, times=None))
    assert {client.list().status_code, client.create(lines(1)).status_code} == {529}
    plan.delete()
    assert client.list().status_code == 200
    assert plan.struck == 2


def test_a_fault_may_wait_for_one_batch(start: Start) -> None:
    emulator, client = start()
    fine, struck = client.made(lines(1)), client.made(lines(1))
    emulator.fault(Fault(endpoint="get", action="status", status=404, batch_id=struck, times=None))
    assert [client.get(batch).status_code for batch in (fine, struck, fine)] == [200, 404, 200]


def test_the_oldest_fault_of_an_endpoint_strikes_first(start: Start) -> None:
    emulator, client = start()
    for status in (500, 529):
        emulator.fault(Fault(endpoint="list", action="status", status=status))
    assert [client.list().status_code for _ in range(3)] == [500, 529, 200]


def test_a_call_without_the_key_does_not_use_a_fault_up(start: Start) -> None:
    emulator, client = start()
    plan = emulator.fault(Fault(endpoint="list", action="status", status=500))
    requests.get(client.url, headers={"x-api-key": "wrong"}, timeout=30)
    assert plan.struck == 0


@pytest.mark.parametrize("action", ["reset", "drop_before_body"])
def test_the_connection_can_be_reset_and_nothing_has_happened(action: str, start: Start) -> None:
    emulator, client = start()
    plan = emulator.fault(Fault(endpoint="create", action=action))
    with pytest.raises(GONE):
        client.create(lines(1))
    assert (plan.struck, emulator.counters["create"], emulator.batches()) == (1, 1, [])


def test_the_connection_can_be_reset_before_a_byte_of_the_body_was_read(start: Start) -> None:
    emulator, _ = start()
    emulator.fault(Fault(endpoint="create", action="drop_before_body"))
    with dial(emulator) as sock:
        sock.sendall(head("POST", BATCHES, "content-length: 1000", "expect: 100-continue"))
        with pytest.raises(ConnectionResetError):
            everything(sock)


def test_the_connection_can_be_reset_within_the_request_body(start: Start) -> None:
    emulator, _ = start()
    plan = emulator.fault(Fault(endpoint="create", action="drop_in_body", after_bytes=1000))
    with dial(emulator) as sock:
        sock.sendall(head("POST", BATCHES, "content-length: 100000") + b"x" * 1000)
        with pytest.raises(ConnectionResetError):
            everything(sock)
    assert (plan.struck, emulator.batches()) == (1, [])


def test_a_body_shorter_than_that_is_read_whole_before_the_reset(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="create", action="drop_in_body", after_bytes=10_000_000))
    with pytest.raises(GONE):
        client.send(b"x" * 1_000_000)
    assert emulator.batches() == []


def test_a_batch_can_be_created_and_the_answer_dropped(start_kept: Start) -> None:
    emulator, client = start_kept()
    plan = emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    with pytest.raises(GONE):
        client.create(lines(2))
    (batch,) = emulator.batches()
    assert batch["request_counts"]["succeeded"] == 2
    assert plan.struck == 1


def test_a_batch_can_be_created_and_an_error_answered(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="create", action="error_after_accept"))
    emulator.fault(Fault(endpoint="create", action="error_after_accept", status=529))
    assert [client.create(lines(1)).status_code for _ in range(2)] == [500, 529]
    assert len(emulator.batches()) == 2


def test_a_create_that_is_refused_anyway_does_not_use_a_fault_up(start: Start) -> None:
    emulator, client = start()
    plan = emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
    assert client.create([]).status_code == 400
    assert plan.struck == 0


def test_a_late_create_happens_after_the_client_has_gone(start: Start, eventually: Eventually) -> None:
    emulator, client = start()
    plan = emulator.fault(Fault(endpoint="create", action="late_accept", seconds=0.5))
    with pytest.raises(requests.Timeout):
        client.session.post(client.url, json={"requests": lines(1)}, timeout=0.1)
    assert (plan.struck, emulator.batches()) == (1, [])
    eventually(lambda: len(emulator.batches()) == 1)


def test_a_late_create_that_would_be_refused_does_not_happen(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="create", action="late_accept", seconds=0))
    with pytest.raises(GONE):
        client.create([])
    assert emulator.batches() == []


def test_results_can_be_cut_and_the_client_sees_it(start_kept: Start) -> None:
    emulator, client = start_kept(answer_chars=1000)
    batch = client.made(lines(20))
    plan = emulator.fault(Fault(endpoint="results", action="cut", times=2, after_bytes=5000))
    for _ in range(2):
        response = client.results(batch, stream=True)
        parts: list[bytes] = []
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            parts.extend(response.iter_content(700))
        assert 5000 - 700 < sum(map(len, parts)) <= 5000
    assert len(client.read(batch)) == 20
    assert plan.struck == 2


def test_exactly_so_many_bytes_come_before_the_cut(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(20))
    emulator.fault(Fault(endpoint="results", action="cut", after_bytes=1234))
    with dial(emulator) as sock:
        sock.sendall(head("GET", f"{BATCHES}/{batch}/results"))
        body = everything(sock).partition(b"\r\n\r\n")[2]
    size, _, data = body.partition(b"\r\n")
    assert int(size, 16) == 1234
    assert len(data) == 1234 + 2
    assert not body.endswith(b"0\r\n\r\n")


def test_results_can_be_cut_before_their_first_byte(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(1))
    emulator.fault(Fault(endpoint="results", action="cut"))
    with pytest.raises(GONE):
        client.results(batch)


def test_a_cut_json_answer_is_torn_too(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="list", action="cut", after_bytes=10))
    with pytest.raises(GONE):
        client.list()


def test_results_asked_for_too_early_do_not_use_a_fault_up(start: Start) -> None:
    emulator, client = start(processing_time=60)
    batch = client.made(lines(3))
    plans = [emulator.fault(Fault(endpoint="results", action=action)) for action in ("cut", "missing_line")]
    assert client.results(batch).status_code == 404
    assert [plan.struck for plan in plans] == [0, 0]


def test_results_can_end_early_and_look_complete(start: Start) -> None:
    emulator, client = start(order="submitted")
    batch = client.made(lines(20))
    complete = client.results(batch).content
    emulator.fault(Fault(endpoint="results", action="end_early", after_bytes=1500))
    assert client.results(batch).content == complete[:1500]


def test_results_can_stall_and_then_close(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(20))
    emulator.fault(Fault(endpoint="results", action="stall", after_bytes=500, seconds=30))
    response = client.session.get(f"{client.url}/{batch}/results", stream=True, timeout=0.3)
    with pytest.raises(requests.ConnectionError, match="timed out"):
        response.content  # noqa: B018
    emulator.fault(Fault(endpoint="results", action="stall", after_bytes=500, seconds=0.05))
    with pytest.raises(GONE):
        client.results(batch)


def test_slow_results_come_whole(start: Start) -> None:
    emulator, client = start(order="submitted")
    batch = client.made(lines(3))
    complete = client.results(batch).content
    plan = emulator.fault(Fault(endpoint="results", action="slow", bytes_per_second=20_000))
    assert client.results(batch).content == complete
    assert plan.struck == 1


LineCheck = Callable[[list[bytes], list[bytes]], bool]
LINE_FAULTS: dict[str, LineCheck] = {
    "duplicate_line": lambda got, sent: got == [sent[0], sent[1], *sent[1:]],
    "missing_line": lambda got, sent: got == [sent[0], *sent[2:]],
    "foreign_line": lambda got, sent: [got[0], *got[2:]] == sent and b'"foreign-line"' in got[1],
    "broken_line": lambda got, sent: [got[0], *got[2:]] == [sent[0], *sent[2:]] and sent[1].startswith(got[1]),
    "torn_line": lambda got, sent: got[0] == sent[0] and len(got) == 2 and sent[1].startswith(got[1]),
}


@pytest.mark.parametrize("action", LINE_FAULTS)
@pytest.mark.parametrize("newline", [True, False])
def test_a_single_line_can_go_wrong(action: str, newline: bool, start: Start) -> None:
    emulator, client = start(order="submitted", trailing_newline=newline)
    batch = client.made(lines(5))
    sent = client.results(batch).content.removesuffix(b"\n").split(b"\n")
    plan = emulator.fault(Fault(endpoint="results", action=action, line=1))
    got = client.results(batch).content.removesuffix(b"\n").split(b"\n")
    assert LINE_FAULTS[action](got, sent)
    assert plan.struck == 1
    assert client.results(batch).content.removesuffix(b"\n").split(b"\n") == sent


def test_a_line_of_a_type_from_the_future(start: Start) -> None:
    emulator, client = start(order="submitted")
    batch = client.made(lines(2))
    emulator.fault(Fault(endpoint="results", action="unknown_type_line", line=1))
    assert client.read(batch)["row-1"] == {"type": "postponed", "until": None}


@pytest.mark.parametrize("number", [299, 300])
def test_a_line_far_into_the_results_can_go_missing(number: int, start: Start) -> None:
    emulator, client = start(order="submitted")
    batch = client.made(lines(600))
    emulator.fault(Fault(endpoint="results", action="missing_line", line=number))
    assert set(client.read(batch)) == {f"row-{n}" for n in range(600)} - {f"row-{number}"}


@pytest.mark.parametrize("action", ["missing_line", "torn_line"])
def test_a_line_that_does_not_exist_cannot_go_wrong(action: str, start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(300))
    emulator.fault(Fault(endpoint="results", action=action, line=300))
    assert len(client.read(batch)) == 300


def test_a_plan_shows_what_it_is_and_how_often_it_struck(start: Start) -> None:
    emulator, client = start()
    plan = emulator.fault(Fault(endpoint="list", action="status"))
    client.list()
    assert repr(plan) == "<Plan fault_1: status at list, struck 1>"


def test_the_last_line_can_go_missing_and_no_newline_is_left(start: Start) -> None:
    emulator, client = start(order="submitted")
    batch = client.made(lines(3))
    emulator.fault(Fault(endpoint="results", action="missing_line", line=2))
    assert [item["custom_id"] for item in whole(client.results(batch).content)] == ["row-0", "row-1"]


def test_without_their_only_line_results_are_empty(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(1))
    emulator.fault(Fault(endpoint="results", action="missing_line"))
    assert client.results(batch).content == b""


def test_a_line_fault_and_a_cut_can_meet_in_one_answer(start: Start) -> None:
    emulator, client = start(order="submitted")
    batch = client.made(lines(9))
    plans = [
        emulator.fault(Fault(endpoint="results", action="missing_line")),
        emulator.fault(Fault(endpoint="results", action="cut", after_bytes=100)),
    ]
    with pytest.raises(GONE):
        client.results(batch)
    assert [plan.struck for plan in plans] == [1, 1]


def test_a_200_can_be_no_json(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="get", action="broken_json"))
    response = client.get(client.made(lines(1)))
    assert response.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        response.json()


def test_a_200_can_carry_a_hint_when_to_ask_again(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(1))
    emulator.fault(Fault(endpoint="list", action="retry_after_on_200", seconds=3))
    response = client.list()
    assert (response.status_code, response.headers["retry-after"]) == (200, "3")
    assert response.json()["first_id"] == batch


def test_a_call_can_be_redirected(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="list", action="redirect", location="http://127.0.0.1:9/else"))
    response = client.session.get(client.url, allow_redirects=False, timeout=30)
    assert (response.status_code, response.headers["location"]) == (302, "http://127.0.0.1:9/else")


def test_a_delete_can_happen_unanswered(start_kept: Start) -> None:
    emulator, client = start_kept()
    batch = client.made(lines(1))
    emulator.fault(Fault(endpoint="delete", action="drop_after_accept"))
    with pytest.raises(GONE):
        client.delete(batch)
    assert client.get(batch).status_code == 404


def test_faults_under_concurrent_calls_strike_exactly_as_often_as_told(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(1))
    plan = emulator.fault(Fault(endpoint="get", action="status", status=500, skip=5, times=7))
    url, headers, statuses = f"{client.url}/{batch}", dict(client.session.headers), []
    threads = [
        threading.Thread(target=lambda: statuses.append(requests.get(url, headers=headers, timeout=30).status_code))
        for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (statuses.count(500), statuses.count(200), plan.struck) == (7, 23, 7)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"endpoint": "resluts", "action": "cut"}, r"No endpoint is named 'resluts'; known are create, list, get"),
        ({"endpoint": "results", "action": "cute"}, r"No action is named 'cute'; known are drop_before_body"),
        ({"endpoint": "get", "action": "missing_line"}, r"its endpoint is results, not get\."),
        ({"endpoint": "get", "action": "redirect"}, r"The action redirect needs a location\."),
        ({"endpoint": "get", "action": "redirect", "location": "/x\r\ny: z"}, r"HTTP has no such header: 'location'\."),
        ({"endpoint": "get", "action": "status", "status": 42}, r"status must be between 200 and 599"),
        ({"endpoint": "get", "action": "status", "times": -1}, r"A fault's times must not be negative\."),
        ({"endpoint": "get", "action": "slow", "bytes_per_second": 0}, r"bytes_per_second 1 or more\."),
        ({"endpoint": "get", "action": "status", "headers": {"a b": "c"}}, r"HTTP has no such header: 'a b'\."),
        ({"endpoint": "get", "action": "status", "headers": {"a": "b\n"}}, r"HTTP has no such header: 'a'\."),
    ],
)
def test_a_fault_that_could_never_strike_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Fault(**values)


def test_every_action_says_what_it_does() -> None:
    assert all(text.endswith(".") and text.count("\n") == 0 for text in ACTIONS.values())


def test_after_a_fault_the_emulator_answers_as_before(start: Start) -> None:
    emulator, client = start()
    for action in ACTIONS:
        emulator.fault(Fault(endpoint="results", action=action, location="http://x/", seconds=0, times=1))
    batch = client.made([line("a"), line("b")])
    for _ in ACTIONS:
        try:
            client.results(batch)
        except GONE:
            continue
    assert set(client.read(batch)) == {"a", "b"}
    assert all(plan.struck == 1 for plan in emulator.faults.all())
