"""The calls, by what they put on the wire and what they make of the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import requests_mock
import urllib3.exceptions

from airflow_batches.api import (
    ApiError,
    ApiKeyAuth,
    BatchesClient,
    BearerAuth,
    Canceled,
    DecodeError,
    Errored,
    InvalidRequest,
    ProcessingStatus,
    Succeeded,
    TransportError,
    WaitTimeout,
)
from airflow_batches.emulator import Emulator
from tests.unit.api.conftest import KEY
from tests.unit.api.wire import batch_json

API = "https://api.anthropic.com/v1/messages/batches"
ID = "msgbatch_01QqYr4Qk28BBxwJ9N9L4PxX"
HI = {"custom_id": "r1", "params": {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}}

THREE_RESULTS = (
    '{"custom_id":"r1","result":{"type":"succeeded","message":{"id":"m1","type":"message","role":"assistant",'
    '"content":[{"type":"text","text":"a"}],"model":"claude-sonnet-4-6","usage":{"input_tokens":1,"output_tokens":1}}}}\n'
    '{"custom_id":"r2","result":{"type":"errored","error":{"type":"rate_limit_error","message":"slow"}}}\n'
    '{"custom_id":"r3","result":{"type":"canceled"}}\n'
)


@pytest.fixture
def api() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


def last(api: requests_mock.Mocker) -> Any:
    """The request sent last."""
    assert api.last_request is not None
    return api.last_request


def body_of(request: Any) -> bytes:
    """The body as it would go to the socket; its stated length is checked on the way."""
    sent = b"".join(request.body)
    assert request.headers["Content-Length"] == str(len(sent))
    return sent


def page(*ids: str, has_more: bool = False) -> dict[str, Any]:
    data = [batch_json(id=batch_id) for batch_id in ids]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return {"data": data, "has_more": has_more, "first_id": first, "last_id": last}


def test_create_posts_the_requests_in_their_envelope(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.post(API, json=batch_json())
    batch = client.create([HI])
    sent = last(api)
    assert (sent.method, sent.url) == ("POST", API)
    assert json.loads(body_of(sent)) == {"requests": [HI]}
    assert sent.headers["x-api-key"] == KEY
    assert sent.headers["anthropic-version"] == "2026-10-21"
    assert sent.headers["Content-Type"] == "application/json"
    assert not {"Authorization", "anthropic-beta", "anthropic-workspace-id", "Transfer-Encoding"} & set(sent.headers)
    assert (batch.id, batch.processing_status) == (ID, ProcessingStatus.IN_PROGRESS)


def test_create_takes_any_iterable_and_sends_text_as_it_is(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.post(API, json=batch_json())
    client.create({"custom_id": name, "params": {"system": "é\u2028"}} for name in ("a", "b"))
    assert (
        body_of(last(api))
        == (
            '{"requests":[{"custom_id":"a","params":{"system":"é\u2028"}},'
            '{"custom_id":"b","params":{"system":"é\u2028"}}]}'
        ).encode()
    )


@pytest.mark.parametrize("value", [object(), "\ud800", {("a", "b"): 1}])
def test_requests_that_are_no_json_are_refused_before_anything_is_sent(
    api: requests_mock.Mocker, client: BatchesClient, value: Any
) -> None:
    with pytest.raises(InvalidRequest, match="cannot be written as JSON"):
        client.create([{"custom_id": "a", "params": {"system": value}}])
    assert not api.called


def test_get_asks_for_one_batch(api: requests_mock.Mocker, client: BatchesClient) -> None:
    counts = {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0}
    api.get(f"{API}/{ID}", json=batch_json("ended", request_counts=counts))
    batch = client.get(ID)
    assert (batch.processing_status, batch.request_counts.succeeded) == (ProcessingStatus.ENDED, 2)
    sent = last(api)
    assert (sent.method, sent.url, sent.body) == ("GET", f"{API}/{ID}", None)
    assert sent.headers["x-api-key"] == KEY
    assert "Content-Type" not in sent.headers


def test_cancel_posts_an_empty_object(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.post(f"{API}/{ID}/cancel", json=batch_json("canceling", cancel_initiated_at="2026-04-30T00:30:00Z"))
    batch = client.cancel(ID)
    assert batch.processing_status is ProcessingStatus.CANCELING
    assert batch.cancel_initiated_at is not None
    assert (last(api).method, body_of(last(api))) == ("POST", b"{}")


def test_delete_returns_the_confirmation(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.delete(f"{API}/{ID}", json={"id": ID, "type": "message_batch_deleted"})
    deleted = client.delete(ID)
    assert (deleted.id, deleted.type) == (ID, "message_batch_deleted")
    assert (last(api).method, last(api).body) == ("DELETE", None)


def test_list_returns_one_page(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.get(API, json=page("b", "a", has_more=True))
    listed = client.list()
    assert [batch.id for batch in listed.data] == ["b", "a"]
    assert (listed.next_before, listed.next_after) == ("b", "a")
    assert last(api).qs == {"limit": ["20"]}


@pytest.mark.parametrize("cursor", ["after_id", "before_id"])
def test_list_sends_its_limit_and_one_cursor(api: requests_mock.Mocker, client: BatchesClient, cursor: str) -> None:
    api.get(API, json=page())
    listed = client.list(limit=1000, **{cursor: "x&y"})
    assert last(api).qs == {"limit": ["1000"], cursor: ["x&y"]}
    assert (listed.data, listed.next_after, listed.next_before) == ([], None, None)


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"limit": 1001}, {"after_id": "a", "before_id": "b"}])
def test_list_refuses_what_the_api_would(api: requests_mock.Mocker, client: BatchesClient, arguments: Any) -> None:
    with pytest.raises(InvalidRequest):
        client.list(**arguments)
    assert not api.called


def test_list_all_fetches_a_page_when_it_is_needed(api: requests_mock.Mocker, client: BatchesClient) -> None:
    pages = [page("d", "c", has_more=True), page("b", has_more=True), page()]
    api.get(API, [{"json": one} for one in pages])
    batches = client.list_all(limit=2)
    assert api.call_count == 0
    assert [next(batches).id, next(batches).id] == ["d", "c"]
    assert api.call_count == 1
    assert [batch.id for batch in batches] == ["b"]
    asked = [request.qs for request in api.request_history]
    assert asked == [{"limit": ["2"]}, {"limit": ["2"], "after_id": ["c"]}, {"limit": ["2"], "after_id": ["b"]}]


def test_list_all_ends_with_the_last_page(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.get(API, json=page("a"))
    assert [batch.id for batch in client.list_all()] == ["a"]
    assert api.call_count == 1


def test_list_all_ends_with_an_empty_page_whatever_it_says(api: requests_mock.Mocker, client: BatchesClient) -> None:
    empty = {"data": [], "has_more": True, "first_id": "a", "last_id": "a"}
    api.get(API, [{"json": page("b", "a", has_more=True)}, {"json": empty}, {"status_code": 400}])
    assert [batch.id for batch in client.list_all()] == ["b", "a"]


def test_list_all_walks_every_batch_of_an_emulated_workspace_in_both_directions() -> None:
    with Emulator() as emulator, BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        ids = [client.create([HI]).id for _ in range(5)]
        assert [batch.id for batch in client.list_all(limit=2)] == ids[::-1]
        older = client.list(limit=2, after_id=ids[-1])
        newer = client.list(limit=2, before_id=older.next_before or older.first_id)
        assert [batch.id for batch in older.data] == [ids[3], ids[2]]
        assert [batch.id for batch in newer.data] == [ids[4]]
        assert newer.next_before is None


def test_check_lists_one_batch(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.get(API, json=page())
    client.check()
    assert last(api).qs == {"limit": ["1"]}


def test_wait_for_polls_until_the_batch_has_ended(
    api: requests_mock.Mocker, client: BatchesClient, naps: list[float]
) -> None:
    statuses = ["in_progress", "canceling", "ended"]
    api.get(f"{API}/{ID}", [{"json": batch_json(status)} for status in statuses])
    assert client.wait_for(ID).processing_status is ProcessingStatus.ENDED
    assert naps == [30.0, 30.0]


def test_wait_for_returns_a_status_that_it_does_not_know(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.get(f"{API}/{ID}", json=batch_json("paused"))
    batch = client.wait_for(ID)
    assert (batch.processing_status, batch.status_text) == (ProcessingStatus.OTHER, "paused")


def test_wait_for_honors_its_timeout(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.get(f"{API}/{ID}", json=batch_json())
    with pytest.raises(WaitTimeout, match=ID):
        client.wait_for(ID, poll_interval=timedelta(milliseconds=1), timeout=timedelta(seconds=1))
    assert api.call_count > 1


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(7, 7.0), (timedelta(minutes=1), 60.0), ((1.5, timedelta(seconds=2)), (1.5, 2.0))],
)
def test_a_timeout_is_seconds_or_a_timedelta(api: requests_mock.Mocker, timeout: Any, seconds: Any) -> None:
    api.get(f"{API}/{ID}", json=batch_json())
    with BatchesClient(KEY, timeout=timeout) as client:
        client.get(ID)
    assert last(api).timeout == seconds


def test_a_pages_html_in_the_apis_place_is_told_with_the_address(api: requests_mock.Mocker) -> None:
    api.get(f"{API}/{ID}", text="<html>Log in</html>", headers={"content-type": "text/html"})
    with BatchesClient(KEY, name="Connection 'c'") as client, pytest.raises(DecodeError) as caught:
        client.get(ID)
    assert str(caught.value).startswith(
        f"Connection 'c' (https://api.anthropic.com): GET /v1/messages/batches/{ID} answered 200 with something else "
        "than a MessageBatch: text/html, '<html>Log in</html>'"
    )


def test_results_decodes_lines_into_typed_items(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.get(f"{API}/{ID}/results", text=THREE_RESULTS, headers={"content-type": "application/x-jsonl"})
    first, second, third = client.results(ID)
    assert [item.custom_id for item in (first, second, third)] == ["r1", "r2", "r3"]
    assert isinstance(first.result, Succeeded)
    assert first.result.message.text == "a"
    assert isinstance(second.result, Errored)
    assert second.result.error.type == "rate_limit_error"
    assert isinstance(third.result, Canceled)
    sent = last(api)
    assert (sent.method, sent.url, sent.headers["x-api-key"]) == ("GET", f"{API}/{ID}/results", KEY)


def test_results_are_fetched_from_the_own_base_whatever_results_url_says(api: requests_mock.Mocker) -> None:
    elsewhere = api.get("https://elsewhere.example/results", text="")
    api.get("https://gateway.example/claude/v1/messages/batches/b/results", text=THREE_RESULTS)
    api.get(
        "https://gateway.example/claude/v1/messages/batches/b",
        json=batch_json("ended", results_url="https://elsewhere.example/results"),
    )
    with BatchesClient(KEY, base_url="https://gateway.example/claude/") as client:
        client.wait_for("b")
        assert len(client.results("b")) == 3
    assert not elsewhere.called


def test_every_option_reaches_its_header(api: requests_mock.Mocker) -> None:
    api.get(API, json=page())
    options: Any = {
        "auth": BearerAuth("token"),
        "anthropic_version": "2023-06-01",
        "betas": ["one", "two"],
        "workspace_id": "wrkspc_1",
        "headers": {"X-Team": "data platform", "anthropic-version": "ignored"},
    }
    with BatchesClient(**options) as client:
        client.check()
    sent = last(api).headers
    assert sent["Authorization"] == "Bearer token"
    assert "x-api-key" not in sent
    assert (sent["anthropic-version"], sent["anthropic-beta"]) == ("2023-06-01", "one,two")
    assert (sent["anthropic-workspace-id"], sent["X-Team"]) == ("wrkspc_1", "data platform")


@pytest.mark.parametrize("arguments", [{}, {"api_key": KEY, "auth": ApiKeyAuth(KEY)}])
def test_a_client_has_exactly_one_way_to_sign(arguments: Any) -> None:
    with pytest.raises(InvalidRequest, match="either api_key or auth"):
        BatchesClient(**arguments)


def test_every_call_has_a_timeout(api: requests_mock.Mocker) -> None:
    api.get(API, json=page())
    for given in ((10.0, 600.0), (1.0, 2.0)):
        with BatchesClient(KEY, timeout=given) as client:
            client.check()
        assert last(api).timeout == given
    with BatchesClient(KEY) as client:
        client.check()
    assert last(api).timeout == (10.0, 600.0)


@pytest.mark.parametrize("body", [b"<html>It works</html>", b"", b"[]", b"{}", b'{"id":"msgbatch_1"}', b"\xff\xfe"])
def test_a_success_that_is_no_batch_is_a_decode_error(
    api: requests_mock.Mocker, client: BatchesClient, body: bytes
) -> None:
    api.get(f"{API}/{ID}", content=body, headers={"request-id": "req_011C"})
    with pytest.raises(DecodeError, match=r"MessageBatch.*req_011C"):
        client.get(ID)
    assert api.call_count == 1


def test_a_created_batch_that_cannot_be_read_is_not_created_again(
    api: requests_mock.Mocker, client: BatchesClient
) -> None:
    api.post(API, text="{", status_code=200)
    with pytest.raises(DecodeError):
        client.create([HI])
    assert api.call_count == 1


@pytest.mark.parametrize("status", [201, 202, 299])
def test_any_2xx_is_a_success_because_a_batch_may_exist_behind_it(
    api: requests_mock.Mocker, client: BatchesClient, status: int
) -> None:
    api.post(API, json=batch_json(), status_code=status)
    assert client.create([HI]).id == ID


@pytest.mark.parametrize(
    "raised",
    [
        requests.ConnectionError("gone"),
        requests.exceptions.ChunkedEncodingError("cut"),
        requests.exceptions.ContentDecodingError("no gzip"),
        requests.exceptions.ProxyError("no way out"),
        requests.exceptions.RetryError("given up"),
        urllib3.exceptions.HTTPError("anything else"),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_whatever_is_raised_below_leaves_as_ours(
    api: requests_mock.Mocker, client: BatchesClient, raised: Exception
) -> None:
    api.get(f"{API}/{ID}", exc=raised)
    with pytest.raises(TransportError, match=f"the connection failed: {type(raised).__name__}") as caught:
        client.get(ID)
    assert caught.value.maybe_sent is True
    assert api.call_count == 3


def test_what_a_success_says_about_the_next_call_is_kept_until_the_next(
    api: requests_mock.Mocker, client: BatchesClient
) -> None:
    api.get(f"{API}/{ID}", [{"json": batch_json(), "headers": {"retry-after": "10"}}, {"json": batch_json()}])
    hints = [client.retry_after]
    for _ in range(2):
        client.get(ID)
        hints.append(client.retry_after)
    assert hints == [None, 10.0, None]


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def hour_by(client: BatchesClient) -> int | None:
    """The hour by the API's clock."""
    time = client.api_time()
    return None if time is None else time.hour


def dated(hour: int) -> dict[str, str]:
    return {"Date": f"Fri, 01 May 2026 {hour}:00:30 GMT"}


def test_a_success_tells_the_time_by_the_apis_clock(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.get(f"{API}/{ID}", json=batch_json(), headers=dated(12))
    assert client.api_time() is None
    client.get(ID)
    first = client.api_time()
    assert first is not None
    assert first >= NOON + timedelta(seconds=30)
    second = client.api_time()
    assert second is not None
    assert second > first


def test_every_call_reads_the_apis_clock(api: requests_mock.Mocker, client: BatchesClient) -> None:
    api.post(API, json=batch_json(), headers=dated(10))
    api.get(API, json=page(), headers=dated(11))
    api.get(f"{API}/{ID}", json=batch_json(), headers=dated(12))
    api.get(f"{API}/{ID}/results", headers=dated(13))
    api.post(f"{API}/{ID}/cancel", json=batch_json(), headers=dated(14))
    api.delete(f"{API}/{ID}", json={"id": ID}, headers=dated(15))
    calls: list[Callable[[], object]] = [
        lambda: client.create([HI]),
        client.check,
        lambda: client.get(ID),
        lambda: client.results(ID),
        lambda: client.cancel(ID),
        lambda: client.delete(ID),
    ]
    seen = []
    for call in calls:
        call()
        seen.append(hour_by(client))
    assert seen == [*range(10, 16)]


@pytest.mark.parametrize("headers", [{}, {"Date": ""}, {"Date": "soon"}, {"Date": "Fri, 01 May 2026 14:00:30 -0000"}])
def test_an_answer_that_tells_no_date_leaves_what_is_known_of_the_clock(
    api: requests_mock.Mocker, client: BatchesClient, headers: dict[str, str]
) -> None:
    answers: list[dict[str, Any]] = [{"json": batch_json(), "headers": sent} for sent in (headers, dated(12), headers)]
    api.get(f"{API}/{ID}", answers)
    seen = []
    for _ in range(3):
        client.get(ID)
        seen.append(hour_by(client))
    assert seen == [None, 12, 12]


def test_a_clone_knows_the_apis_clock_too_and_reads_it_for_itself(
    api: requests_mock.Mocker, client: BatchesClient
) -> None:
    api.get(f"{API}/{ID}", [{"json": batch_json(), "headers": dated(hour)} for hour in (12, 13)])
    client.get(ID)
    clone = client.clone()
    assert hour_by(clone) == 12
    clone.get(ID)
    assert (hour_by(client), hour_by(clone)) == (12, 13)


def test_the_emulators_clock_is_read() -> None:
    with Emulator() as emulator, BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        emulator.clock.advance(36_000)
        before = datetime.now(UTC)
        client.check()
        time = client.api_time()
        assert time is not None
        assert time >= before + timedelta(hours=10, seconds=-1)


@pytest.mark.parametrize(("body", "hour"), [({"error": {"type": "x", "message": "y"}}, 12), ({"message": "x"}, None)])
def test_a_refusal_of_the_api_tells_its_time_and_one_of_a_proxy_does_not(
    api: requests_mock.Mocker, client: BatchesClient, body: Any, hour: int | None
) -> None:
    api.get(f"{API}/{ID}", status_code=400, json=body, headers=dated(12))
    with pytest.raises(ApiError):
        client.get(ID)
    assert hour_by(client) == hour


def test_an_error_carries_what_the_answer_says(api: requests_mock.Mocker, client: BatchesClient) -> None:
    error = {"type": "not_found_error", "message": "Message Batch nope not found."}
    api.get(f"{API}/nope", status_code=404, json={"type": "error", "error": error, "request_id": "req_1"})
    with pytest.raises(ApiError) as caught:
        client.get("nope")
    assert (caught.value.status, caught.value.kind, caught.value.request_id) == (404, "not_found_error", "req_1")


def test_a_base_url_that_brings_its_own_v1_is_named_as_what_is_wrong() -> None:
    with (
        Emulator() as emulator,
        BatchesClient(emulator.api_key, base_url=f"{emulator.url}/v1") as client,
        pytest.raises(ApiError, match=r"404 .*Is the base URL right\? It must not end in /v1"),
    ):
        client.check()


def test_an_empty_body_is_refused(api: requests_mock.Mocker, client: BatchesClient) -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        client.create_streamed(b"")
    assert not api.called


def test_a_client_shows_its_address_and_nothing_else() -> None:
    with BatchesClient(KEY, base_url="http://localhost:1/x/") as client:
        assert repr(client) == "BatchesClient(base_url='http://localhost:1/x')"
