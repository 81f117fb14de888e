"""From an answer, or the lack of one, to a type that says what happened."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from airflow_batches.api import (
    ApiError,
    BatchesError,
    DecodeError,
    InvalidRequest,
    StreamInterrupted,
    TransportError,
    WaitTimeout,
)
from airflow_batches.api.conversion import error_from_response
from airflow_batches.api.headers import date_of, retry_after

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
JSON = {"content-type": "application/json"}


def error(status: int, body: bytes | Mapping[str, Any], headers: Mapping[str, str] = JSON, **more: Any) -> ApiError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_from_response(status, CaseInsensitiveDict(headers), raw, now=NOW, **more)


def envelope(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, **more}


@pytest.mark.parametrize(
    ("status", "kind", "message", "retryable"),
    [
        (400, "invalid_request_error", "requests.0.custom_id: Field required", False),
        (401, "authentication_error", "API key is invalid.", False),
        (402, "billing_error", "Your credit balance is too low", False),
        (403, "permission_error", "Your API key does not have permission", False),
        (404, "not_found_error", "Message Batch msgbatch_1 not found.", False),
        (408, "timeout_error", "Request timed out", True),
        (409, "conflict_error", "Conflict", True),
        (413, "request_too_large", "Request exceeds the maximum size", False),
        (425, "api_error", "Too early", True),
        (429, "rate_limit_error", "This request would exceed your rate limit", True),
        (500, "api_error", "Internal server error", True),
        (503, "api_error", "Unavailable", True),
        (504, "timeout_error", "Timed out", True),
        (529, "overloaded_error", "Overloaded", True),
    ],
)
def test_every_status_keeps_what_the_api_says(status: int, kind: str, message: str, retryable: bool) -> None:
    got = error(status, envelope(kind, message, request_id="req_011C"))
    assert (got.status, got.kind, got.message, got.request_id) == (status, kind, message, "req_011C")
    assert (got.retryable, got.retry_after, got.details) == (retryable, None, None)
    assert str(got).startswith(f"{status} {kind}: {message} (request-id req_011C)")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
        (418, "unexpected_status"),
        (502, "unexpected_status"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html><h1>Bad</h1></html>", b"null", b"[]", b'"x"', b"{}", b'{"error":"x"}'])
def test_an_answer_that_is_not_the_apis_has_the_kind_of_its_status(status: int, kind: str, body: bytes) -> None:
    got = error(status, body, {"content-type": "text/html"})
    assert (got.kind, got.from_api) == (kind, False)
    assert got.message == f"this answer is not the API's: text/html, {repr(body.decode()) if body else 'empty'}"
    assert str(got).startswith(f"{status}: this answer is not the API's")


def test_the_edges_413_is_read_without_a_type_on_top() -> None:
    body = {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}
    got = error(413, body, {})
    assert (got.kind, got.message, got.request_id) == ("request_too_large", "Request exceeds the maximum size", None)
    assert got.from_api
    assert "256,000,000 bytes" in str(got)


NGINX = b"<html><head><title>413 Request Entity Too Large</title></head></html>"


def test_a_size_that_a_gateway_refuses_is_told_as_the_gateways_with_what_was_sent() -> None:
    got = error(413, NGINX, {"content-type": "text/html"}, where="https://gateway.example", sent_bytes=2_000_123)
    assert str(got) == (
        "https://gateway.example: 413: this answer is not the API's: text/html, "
        "'<html><head><title>413 Request Entity Too Large</title></head></html>'. The request had 2,000,123 bytes. "
        "A gateway or proxy limits the size of a request: raise its limit, or split the batch."
    )


def test_a_size_that_the_api_refuses_is_told_with_the_apis_limit_and_what_was_sent() -> None:
    body = {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}
    said = str(error(413, body, sent_bytes=300_000_000))
    assert "The request had 300,000,000 bytes. Split the batch: the API takes at most 256,000,000 bytes" in said


@pytest.mark.parametrize("status", [401, 403, 404, 407, 413])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"message": "Forbidden"}', b'{"error": {"code": 403}}'])
def test_what_is_not_the_apis_brings_no_advice_about_the_api(status: int, body: bytes) -> None:
    got = error(status, body)
    assert not got.from_api
    said = str(got).replace(got.message, "")
    assert not [word for word in ("key", "workspace", "256,000,000") if word in said]


def test_an_error_begins_with_the_connection_and_the_address() -> None:
    where = "Connection 'anthropic_default' (https://api.anthropic.com)"
    got = error(401, envelope("authentication_error", "API key is invalid."), where=where)
    assert str(got) == (
        f"{where}: 401 authentication_error: API key is invalid. The API key was refused. "
        "Check the connection's password (outside Airflow: ANTHROPIC_API_KEY)."
    )
    assert got.message == "API key is invalid."


def test_an_error_made_by_hand_is_the_apis() -> None:
    assert ApiError(401, "authentication_error", "no").from_api


def test_the_request_id_comes_from_the_header_before_the_body() -> None:
    body = envelope("api_error", "x", request_id="req_body")
    assert error(500, body, {"Request-Id": "req_header"}).request_id == "req_header"
    assert error(500, body, {}).request_id == "req_body"
    assert error(500, envelope("api_error", "x", request_id=None), {}).request_id is None


def test_details_keep_the_machine_readable_code() -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "Spend cap", "details": details}}
    assert error(429, body).details == details


@pytest.mark.parametrize("details", [None, "text", [1], 5])
def test_details_that_are_no_object_are_left_out(details: object) -> None:
    assert error(400, {"error": {"type": "t", "message": "m", "details": details}}).details is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_says_why_it_is_not_followed(status: int) -> None:
    got = error(status, b"", {"location": "https://elsewhere"})
    assert "redirects are not followed" in str(got)
    assert not got.retryable


@pytest.mark.parametrize("status", [400, 429, 500, 529])
@pytest.mark.parametrize(("word", "retryable"), [("true", True), ("True", True), ("false", False)])
def test_the_servers_own_word_comes_before_the_status(status: int, word: str, retryable: bool) -> None:
    assert error(status, b"", {"x-should-retry": word}).retryable is retryable


@pytest.mark.parametrize("word", ["", "yes", "0"])
def test_another_word_is_none(word: str) -> None:
    assert error(500, b"", {"x-should-retry": word}).should_retry is None


@pytest.mark.parametrize(("status", "hint"), [(401, "The API key was refused"), (403, "workspace lacks")])
def test_a_refusal_with_a_hint_names_it(status: int, hint: str) -> None:
    assert hint in str(error(status, envelope("some_error", "no")))


@pytest.mark.parametrize("body", [b"", b"<html>no such page</html>", envelope("not_found_error", "Not found")])
def test_a_404_of_something_else_than_a_batch_asks_about_the_base_url(body: bytes | Mapping[str, Any]) -> None:
    assert "Is the base URL right?" in str(error(404, body))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, envelope("not_found_error", "Message Batch msgbatch_1 not found.")),
        (404, envelope("not_found_error", "Message Batch msgbatch_1 has no available results.")),
        (400, b""),
        (502, b"<html>"),
        (400, envelope("invalid_request_error", "Not found")),
    ],
)
def test_another_error_says_nothing_of_the_base_url(status: int, body: bytes | Mapping[str, Any]) -> None:
    assert "base URL" not in str(error(status, body))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "10"}, 10.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after-ms": "-1", "retry-after": "9"}, 9.0),
        ({"retry-after": "Fri, 01 May 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Fri, 01 May 2026 14:01:30 +0200"}, 90.0),
        ({"retry-after": "Fri, 01 May 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 01 May 2026 12:01:30 -0000"}, None),
        ({"retry-after": "Fri, 01 May 2026 12:01:30 +99999999999999999999"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_retry_after_in_every_spelling(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(CaseInsensitiveDict(headers), now=NOW) == seconds
    assert error(429, b"", headers).retry_after == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} (Jan|Foo) \d{1,6} \d+:\d+:\d+ [+-]?\w{0,20}"))
def test_no_retry_after_is_too_odd_to_read(text: str) -> None:
    seconds = retry_after({"retry-after": text, "retry-after-ms": text}, now=NOW)
    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("date", "read"),
    [
        ("Fri, 01 May 2026 12:01:30 GMT", NOW.replace(minute=1, second=30)),
        ("Fri, 01 May 2026 14:01:30 +0200", NOW.replace(minute=1, second=30)),
        ("Fri, 01 May 2026 12:01:30 -0000", None),
        ("soon", None),
        ("", None),
    ],
)
def test_the_date_of_an_answer_is_read_where_it_has_a_zone(date: str, read: datetime | None) -> None:
    assert date_of(CaseInsensitiveDict({"Date": date})) == read


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} (Jan|Foo) \d{1,6} \d+:\d+:\d+ [+-]?\w{0,20}"))
def test_no_date_is_too_odd_to_read(text: str) -> None:
    date = date_of({"date": text})
    assert date is None or abs(date - NOW) < timedelta.max


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "error", "message", "details", "request_id"]), inner, max_size=5)
    ),
)


@given(st.integers(300, 999), st.binary(max_size=50) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_body_is_too_odd_for_an_error(status: int, body: bytes) -> None:
    got = error(status, body, {})
    assert (got.status, bool(got.kind), bool(got.message)) == (status, True, True)
    assert got.details is None or isinstance(got.details, dict)


def test_a_body_nested_beyond_reading_is_still_an_error() -> None:
    assert error(500, b"[" * 60_000).kind == "api_error"


@pytest.mark.parametrize(
    "raised",
    [
        BatchesError("m"),
        InvalidRequest("m"),
        error(429, envelope("rate_limit_error", "m", request_id="r"), {"retry-after": "3", "x-should-retry": "true"}),
        TransportError("m", maybe_sent=True),
        DecodeError("m"),
        StreamInterrupted("m", lines_read=3),
        WaitTimeout("m"),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_every_error_has_our_root_and_survives_copying_and_pickling(raised: BatchesError) -> None:
    assert isinstance(raised, BatchesError)
    for twin in (copy.copy(raised), pickle.loads(pickle.dumps(raised))):
        assert (type(twin), str(twin), vars(twin)) == (type(raised), str(raised), vars(raised))


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(InvalidRequest, ValueError)
    assert issubclass(WaitTimeout, TimeoutError)
    assert str(StreamInterrupted("cut", lines_read=1234)) == "cut after 1,234 whole lines"
