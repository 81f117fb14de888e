"""What the API sends: shapes recorded live from 2024 to 2026, and shapes that have not been seen yet."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from airflow_batches.api import (
    BatchPage,
    Canceled,
    Errored,
    Expired,
    Message,
    MessageBatch,
    OtherResult,
    ProcessingStatus,
    RequestError,
    ResultItem,
    Succeeded,
    Usage,
)
from tests.unit.api.wire import batch_json

USAGE_2026 = {
    "input_tokens": 14,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 7},
    "output_tokens": 5,
    "service_tier": "batch",
    "inference_geo": "not_available",
}
MESSAGE_2026_08: dict[str, Any] = {
    "model": "claude-haiku-4-5-20251001",
    "id": "msg_011CdvLq5yFz",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "BETA"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "stop_details": None,
    "usage": USAGE_2026,
}
MESSAGE_2026_09 = MESSAGE_2026_08 | {
    "container": None,
    "diagnostics": None,
    "usage": USAGE_2026 | {"inference_geo": "global", "output_tokens_details": {"thinking_tokens": 3}},
}
MESSAGE_2024 = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-3-haiku-20240307",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 12},
}
REFUSAL = MESSAGE_2026_09 | {
    "content": [],
    "stop_reason": "refusal",
    "stop_details": {"type": "refusal", "category": "cyber", "explanation": None},
}
TOOL_USE = MESSAGE_2026_09 | {
    "content": [
        {"type": "text", "text": "Let me "},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "direct"}},
        {"type": "text", "text": "see."},
    ],
    "stop_reason": "tool_use",
}


def item(result: dict[str, Any], custom_id: str = "probe") -> ResultItem:
    return ResultItem.model_validate_json(json.dumps({"custom_id": custom_id, "result": result}))


def as_wire(model: BaseModel) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(model.model_dump_json(exclude_unset=True))
    return written


@pytest.mark.parametrize("message", [MESSAGE_2026_08, MESSAGE_2026_09, MESSAGE_2024, REFUSAL, TOOL_USE])
def test_a_succeeded_line_of_any_year_is_read_and_written_back_whole(message: dict[str, Any]) -> None:
    result = item({"type": "succeeded", "message": message}).result
    assert isinstance(result, Succeeded)
    assert as_wire(result) == {"type": "succeeded", "message": message}


def test_what_an_answer_says_is_at_hand() -> None:
    result = item({"type": "succeeded", "message": MESSAGE_2026_08}).result
    assert isinstance(result, Succeeded)
    message = result.message
    assert (message.text, message.stop_reason, message.model) == ("BETA", "end_turn", "claude-haiku-4-5-20251001")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (14, 5)
    assert message.usage.cache_creation is not None
    assert message.usage.cache_creation.ephemeral_1h_input_tokens == 7
    assert (message.usage.service_tier, message.role) == ("batch", "assistant")


def test_the_text_of_an_answer_joins_its_text_blocks() -> None:
    texts = []
    for message in (TOOL_USE, REFUSAL):
        result = item({"type": "succeeded", "message": message}).result
        assert isinstance(result, Succeeded)
        texts.append(result.message.text)
    assert texts == ["Let me see.", ""]


def test_an_answer_of_2024_lacks_what_did_not_exist() -> None:
    result = item({"type": "succeeded", "message": MESSAGE_2024}).result
    assert isinstance(result, Succeeded)
    assert (result.message.usage.input_tokens, result.message.usage.cache_read_input_tokens) == (9, None)


@pytest.mark.parametrize(
    ("error", "kind", "message", "details", "request_id"),
    [
        (
            {
                "type": "error",
                "error": {
                    "details": {"error_visibility": "user_facing"},
                    "type": "invalid_request_error",
                    "message": "messages: at least one message is required",
                },
                "request_id": None,
            },
            "invalid_request_error",
            "messages: at least one message is required",
            {"error_visibility": "user_facing"},
            None,
        ),
        (
            {
                "type": "error",
                "error": {"details": None, "type": "invalid_request_error", "message": "Could not process image"},
                "request_id": "workerreq_01DZ",
            },
            "invalid_request_error",
            "Could not process image",
            None,
            "workerreq_01DZ",
        ),
        (
            {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}},
            "api_error",
            "Internal server error",
            None,
            None,
        ),
        ({"type": "rate_limit_error", "message": "slow"}, "rate_limit_error", "slow", None, None),
        ({"type": "error", "error": {}}, "unknown_error", "", None, None),
    ],
    ids=["failed validation", "failed while running", "2024", "flat", "empty"],
)
def test_an_errored_line_is_read_nested_and_flat(
    error: dict[str, Any], kind: str, message: str, details: dict[str, Any] | None, request_id: str | None
) -> None:
    result = item({"type": "errored", "error": error}).result
    assert isinstance(result, Errored)
    got = result.error
    assert (got.type, got.message, got.details, got.request_id) == (kind, message, details, request_id)


def test_an_error_keeps_what_stands_around_and_in_it() -> None:
    nested = {"type": "error", "error": {"type": "t", "message": "m", "hint": 1}, "request_id": "r", "seen": [2]}
    error = RequestError.model_validate(nested)
    assert error.model_extra == {"hint": 1, "seen": [2]}
    assert RequestError.model_validate_json(error.model_dump_json()) == error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (None, "unknown_error", ""),
        ("overloaded", "unknown_error", "overloaded"),
        ({"type": "error", "error": "overloaded"}, "unknown_error", "overloaded"),
        ({"type": "error", "error": None}, "error", ""),
        ({"type": "api_error", "message": "m", "error": "code"}, "api_error", "m"),
        ({"type": "error", "error": {"type": None, "message": None}}, "unknown_error", ""),
        ({"type": "error", "error": {"type": 5, "message": "m", "details": "text"}}, "unknown_error", "m"),
        ({"type": "api_error", "message": {"en": "m"}, "details": [1]}, "api_error", ""),
        (["x"], "unknown_error", ""),
    ],
)
def test_an_error_of_an_odd_shape_is_read_as_far_as_it_goes(error: object, kind: str, message: str) -> None:
    result = item({"type": "errored", "error": error}).result
    assert isinstance(result, Errored)
    assert (result.error.type, result.error.message, result.error.details) == (kind, message, None)


@pytest.mark.parametrize(
    "odd", [{"message": None}, {}, {"message": "text"}, {"message": [1]}, {"message": {"content": None, "usage": None}}]
)
def test_an_answer_without_what_is_expected_has_what_stands_for_nothing(odd: dict[str, Any]) -> None:
    result = item({"type": "succeeded", **odd}).result
    assert isinstance(result, Succeeded)
    message = result.message
    assert (message.text, message.content, message.role, message.model) == ("", [], "assistant", None)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (None, None)


@pytest.mark.parametrize(
    ("changes", "unread"),
    [
        ({"usage": "free"}, {"usage": "free"}),
        ({"content": "text"}, {"content": "text"}),
        ({"content": [{"type": "text", "text": "a"}, "b"]}, {"content": [{"type": "text", "text": "a"}, "b"]}),
        ({"id": 5, "role": ["x"]}, {"id": 5, "role": ["x"]}),
    ],
)
def test_a_field_of_an_unknown_shape_costs_that_field_alone_and_survives(
    changes: dict[str, Any], unread: dict[str, Any]
) -> None:
    result = item({"type": "succeeded", "message": MESSAGE_2026_09 | changes}).result
    assert isinstance(result, Succeeded)
    assert result.message.model == MESSAGE_2026_09["model"]
    assert result.message.stop_reason == "end_turn"
    assert result.message.model_extra is not None
    assert result.message.model_extra["unread"] == unread
    assert "unread" not in (result.model_extra or {})


def test_an_odd_number_of_tokens_leaves_the_other_numbers_readable() -> None:
    usage = USAGE_2026 | {"input_tokens": "many", "cache_creation": {"ephemeral_5m_input_tokens": 1.5}}
    result = item({"type": "succeeded", "message": MESSAGE_2026_09 | {"usage": usage}}).result
    assert isinstance(result, Succeeded)
    got = result.message.usage
    assert (got.input_tokens, got.output_tokens, got.service_tier) == (None, 5, "batch")
    assert got.model_extra == {"inference_geo": "not_available", "unread": {"input_tokens": "many"}}
    assert got.cache_creation is not None
    assert got.cache_creation.model_extra == {"unread": {"ephemeral_5m_input_tokens": 1.5}}


def test_a_message_of_an_unknown_shape_survives_whole() -> None:
    result = item({"type": "succeeded", "message": "42", "note": 1}).result
    assert result.model_extra == {"note": 1, "unread": {"message": "42"}}
    assert ResultItem.model_validate_json(ResultItem(custom_id="a", result=result).model_dump_json()).result == result


def test_text_blocks_without_a_text_are_none() -> None:
    blocks = [{"type": "text"}, {"type": "text", "text": None}, {"type": "text", "text": "a"}, {"type": ["text"]}]
    result = item({"type": "succeeded", "message": {"content": blocks}}).result
    assert isinstance(result, Succeeded)
    assert (result.message.text, result.message.content) == ("a", blocks)


def test_models_made_by_hand_are_checked_no_less_than_they_are_read() -> None:
    made = Succeeded(type="succeeded", message=Message(model="m", content=[{"type": "text", "text": "a"}]))
    assert (made.message.text, made.message.model_extra) == ("a", {})
    assert Succeeded.model_validate(made) is made


FIELDS = sorted(
    {"type", "message", "error", "details", "content", "usage", "cache_creation", "request_id", "id", "text", "unread"}
    | set(Usage.model_fields)
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=20,
)
ANY_FIELDS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON_VALUES, max_size=6)


@given(
    custom_id=st.text(),
    kind=st.sampled_from(["succeeded", "errored", "canceled", "expired"]) | st.text(),
    around=ANY_FIELDS,
    fields=ANY_FIELDS,
)
def test_a_line_with_an_id_and_a_type_is_a_result_whatever_else_it_holds(
    custom_id: str, kind: str, around: dict[str, Any], fields: dict[str, Any]
) -> None:
    line = json.dumps({**around, "custom_id": custom_id, "result": {**fields, "type": kind}})
    read = ResultItem.model_validate_json(line)
    assert (read.custom_id, read.result.type) == (custom_id, kind)
    if isinstance(read.result, Succeeded):
        assert isinstance(read.result.message.text, str)
        assert isinstance(read.result.message.usage, Usage)
    if isinstance(read.result, Errored):
        assert isinstance(read.result.error.message, str)
    assert ResultItem.model_validate_json(read.model_dump_json(by_alias=True)).custom_id == custom_id


def test_canceled_and_expired_lines_are_their_own_types() -> None:
    assert isinstance(item({"type": "canceled"}).result, Canceled)
    assert isinstance(item({"type": "expired"}).result, Expired)


@given(
    st.text().filter(lambda kind: kind not in {"succeeded", "errored", "canceled", "expired"}),
    st.dictionaries(st.text(min_size=1).filter(lambda name: name != "type"), st.integers() | st.text() | st.none()),
)
def test_an_unknown_result_type_survives_with_its_fields(kind: str, fields: dict[str, Any]) -> None:
    wire = {"type": kind, **fields}
    result = ResultItem.model_validate({"custom_id": "a", "result": wire}).result
    assert isinstance(result, OtherResult)
    assert json.loads(result.model_dump_json()) == wire


@pytest.mark.parametrize(
    ("model", "wire"),
    [
        (MessageBatch, batch_json(new_field={"a": [1]}, request_counts={"processing": 1, "deferred": 2})),
        (BatchPage, {"data": [batch_json(x=1)], "has_more": False, "first_id": "a", "last_id": "b", "total": 9}),
        (ResultItem, {"custom_id": "a", "result": {"type": "canceled", "by": "you"}, "took_ms": 5}),
        (
            ResultItem,
            {"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE_2026_09 | {"mood": {"x": 1}}}},
        ),
    ],
)
def test_unknown_fields_survive_a_round_trip(model: type[BaseModel], wire: dict[str, Any]) -> None:
    read = model.model_validate(wire)
    again = model.model_validate_json(read.model_dump_json())
    assert again == read
    assert extras_of(wire) <= extras_of(json.loads(read.model_dump_json()))


def extras_of(value: Any, path: str = "") -> set[str]:
    """Every place in a JSON value."""
    if isinstance(value, dict):
        return {path} | {place for name, inner in value.items() for place in extras_of(inner, f"{path}/{name}")}
    if isinstance(value, list):
        return {path} | {place for number, inner in enumerate(value) for place in extras_of(inner, f"{path}/{number}")}
    return {path}


@pytest.mark.parametrize("written", ["2026-05-01T20:29:05.358585+00:00", "2026-05-01T20:29:05.358585Z"])
def test_times_are_aware_in_both_forms(written: str) -> None:
    batch = MessageBatch.model_validate(batch_json(created_at=written))
    assert batch.created_at == datetime(2026, 5, 1, 20, 29, 5, 358585, tzinfo=UTC)
    assert batch.created_at.utcoffset() == timedelta(0)


def test_a_batch_of_2024_has_no_archived_at() -> None:
    wire = batch_json()
    del wire["archived_at"]
    assert MessageBatch.model_validate(wire).archived_at is None


def test_a_batch_that_has_ended_names_its_times_and_counts() -> None:
    counts = {"processing": 0, "succeeded": 95, "errored": 2, "canceled": 1, "expired": 2}
    wire = batch_json("ended", ended_at="2026-05-01T20:40:00+00:00", results_url="https://x/y", request_counts=counts)
    batch = MessageBatch.model_validate(wire)
    assert batch.processing_status is ProcessingStatus.ENDED
    assert batch.request_counts.total == 100
    assert batch.ended_at is not None
    assert batch.expires_at is not None
    assert batch.created_at is not None
    assert batch.expires_at - batch.created_at == timedelta(hours=24)


@pytest.mark.parametrize("status", ["paused", "", "ENDED", "other"])
def test_an_unknown_status_keeps_its_text(status: str) -> None:
    batch = MessageBatch.model_validate(batch_json(status))
    assert (batch.processing_status, batch.status_text) == (ProcessingStatus.OTHER, status)
    assert as_wire(batch)["processing_status"] == status


@pytest.mark.parametrize(("status", "known"), [(str(known), known) for known in list(ProcessingStatus)[:3]])
def test_the_known_statuses_are_known(status: str, known: ProcessingStatus) -> None:
    assert MessageBatch.model_validate(batch_json(status)).processing_status is known


@pytest.mark.parametrize(("has_more", "after", "before"), [(True, "older", "newer"), (False, None, None)])
def test_a_page_says_where_the_next_ones_are(has_more: bool, after: str | None, before: str | None) -> None:
    page = BatchPage(data=[], has_more=has_more, first_id="newer", last_id="older")
    assert (page.next_after, page.next_before) == (after, before)


def test_a_batch_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        MessageBatch.model_validate(batch_json()).id = "other"


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"custom_id":"a"}',
        '{"custom_id":"a","result":null}',
        '{"custom_id":"a","result":{}}',
        '{"custom_id":"a","result":{"type":["succeeded"]}}',
        '{"custom_id":"a","result":{"type":null}}',
        '{"custom_id":1,"result":{"type":"x"}}',
        "[]",
    ],
)
def test_what_lacks_its_id_or_its_type_is_no_result(line: str) -> None:
    with pytest.raises(ValidationError):
        ResultItem.model_validate_json(line)


def as_read(**wire: Any) -> MessageBatch:
    return MessageBatch.model_validate_json(json.dumps({"id": "msgbatch_1", "processing_status": "ended", **wire}))


COUNTS = {"processing": 0, "succeeded": 2, "errored": 1, "canceled": 0, "expired": 0}


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"request_counts": None},
        {"request_counts": {}},
        {"request_counts": [3]},
        {"request_counts": "3"},
        {"request_counts": COUNTS | {"errored": None}},
        {"request_counts": COUNTS | {"errored": "many"}},
        {"request_counts": COUNTS | {"errored": -1}},
    ],
)
def test_counts_that_are_missing_or_cannot_be_read_are_unknown_not_zero(wire: dict[str, Any]) -> None:
    batch = as_read(**wire)
    assert batch.processing_status is ProcessingStatus.ENDED
    assert not batch.request_counts.known
    again = MessageBatch.model_validate_json(batch.model_dump_json())
    assert not (again.request_counts.known and again.request_counts.total)


def test_counts_that_can_be_read_are_known_and_absent_ones_are_zero() -> None:
    assert as_read(request_counts=COUNTS).request_counts.known
    counts = as_read(request_counts={"succeeded": 2}).request_counts
    assert (counts.known, counts.total, counts.errored) == (True, 2, 0)


def test_a_count_of_an_unknown_state_is_part_of_the_total() -> None:
    counts = as_read(request_counts=COUNTS | {"refused": 97, "note": "text", "flag": True, "deferred": None})
    assert (counts.request_counts.known, counts.request_counts.other, counts.request_counts.total) == (True, 97, 100)


@pytest.mark.parametrize("odd", ["", "yesterday", {}, [1], True])
def test_a_date_that_cannot_be_read_costs_that_date_alone(odd: Any) -> None:
    batch = as_read(created_at=odd, expires_at="2026-05-02T20:29:05Z", request_counts=COUNTS)
    assert (batch.created_at is None) or odd is True
    assert batch.expires_at is not None
    assert batch.request_counts.total == 3


def test_a_date_without_a_zone_is_utc() -> None:
    assert as_read(created_at="2026-05-01T20:29:05").created_at == datetime(2026, 5, 1, 20, 29, 5, tzinfo=UTC)


@pytest.mark.parametrize("wire", [{"id": None}, {"id": 5}, {"processing_status": None}, {"processing_status": 1}])
def test_what_lacks_its_id_or_its_status_is_no_batch(wire: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        as_read(**wire)


ODD_BATCHES: list[Any] = [None, 5, [], {}, {"id": "b"}, {"id": 7, "processing_status": "ended"}]


@pytest.mark.parametrize("odd", ODD_BATCHES)
def test_an_odd_batch_does_not_cost_the_page_and_is_counted(odd: Any) -> None:
    page = BatchPage.model_validate_json(
        json.dumps({"data": [batch_json(id="a"), odd, batch_json(id="c")], "has_more": True, "last_id": "c"})
    )
    assert [batch.id for batch in page.data] == ["a", "c"]
    assert (page.unreadable, page.next_after) == (1, "c")
    assert (page.model_extra or {})["unread"] == [odd]


def test_a_page_whose_cursor_cannot_be_read_goes_on_after_its_last_batch() -> None:
    data = [batch_json(id="a"), batch_json(id="c")]
    for cursors in ({}, {"first_id": None, "last_id": None}, {"first_id": 1, "last_id": ["c"]}):
        page = BatchPage.model_validate({"data": data, "has_more": True, **cursors})
        assert (page.next_before, page.next_after, page.unreadable) == ("a", "c", 0)


@pytest.mark.parametrize("wire", [{}, {"data": None}, {"data": {}}, {"data": [], "has_more": None}, []])
def test_a_page_without_its_list_or_with_an_unclear_end_is_no_page(wire: Any) -> None:
    with pytest.raises(ValidationError):
        BatchPage.model_validate_json(json.dumps(wire))


@given(ANY_FIELDS, st.dictionaries(st.sampled_from([*MessageBatch.model_fields, *COUNTS]), JSON_VALUES))
def test_a_batch_with_an_id_and_a_status_is_a_batch_whatever_else_it_holds(
    around: dict[str, Any], fields: dict[str, Any]
) -> None:
    wire = {**around, **fields, "id": "msgbatch_1", "processing_status": "in_progress"}
    wire.pop("status_text", None)
    wire["request_counts"] = fields
    batch = MessageBatch.model_validate_json(json.dumps(wire))
    assert (batch.id, batch.status_text) == ("msgbatch_1", "in_progress")
    assert batch.request_counts.total >= 0
    for at in (batch.created_at, batch.ended_at, batch.expires_at):
        assert at is None or at.tzinfo is not None
