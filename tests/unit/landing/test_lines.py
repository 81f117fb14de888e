"""Decode result lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.landing.lines import decode, decode_block, results_in

SUCCEEDED = (
    b'{"custom_id":"probe-beta","result":{"type":"succeeded","message":{"model":"claude-haiku-4-5-20251001",'
    b'"id":"msg_011","type":"message","role":"assistant","content":[{"type":"text","text":"BETA"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,"usage":{"input_tokens":14,'
    b'"cache_creation_input_tokens":7,"cache_read_input_tokens":3,"cache_creation":{"ephemeral_5m_input_tokens":5,'
    b'"ephemeral_1h_input_tokens":2},"output_tokens":5,"service_tier":"batch","inference_geo":"not_available"}}}}'
)
ERRORED = (
    b'{"custom_id":"probe-bad","result":{"type":"errored","error":{"type":"error","error":{"details":{"error_visibility"'
    b':"user_facing"},"type":"invalid_request_error","message":"messages: at least one message is required"},'
    b'"request_id":null}}}'
)


def test_an_answer_has_an_id_and_a_usage() -> None:
    line = decode(SUCCEEDED)
    assert line is not None
    assert (line.custom_id, line.result.type) == ("probe-beta", "succeeded")
    assert line.result.message is not None
    assert line.result.message.model == "claude-haiku-4-5-20251001"
    usage = line.result.message.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.prompt_tokens) == (14, 5, 24)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, "overloaded_error"),
        ({"type": "rate_limit_error", "message": "m"}, "rate_limit_error"),
        ({}, "unknown_error"),
        (None, "unknown_error"),
    ],
)
def test_an_error_is_read_nested_and_flat(error: object, kind: str) -> None:
    line = decode(json.dumps({"custom_id": "a", "result": {"type": "errored", "error": error}}).encode())
    assert line is not None
    assert line.result.error_type == kind


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, "m"),
        ({"type": "rate_limit_error", "message": "m"}, "m"),
        ({"type": "rate_limit_error", "message": {"not": "text"}}, None),
        ({"type": "rate_limit_error"}, None),
    ],
)
def test_an_errors_message_is_read_nested_and_flat(error: object, message: str | None) -> None:
    line = decode(json.dumps({"custom_id": "a", "result": {"type": "errored", "error": error}}).encode())
    assert line is not None
    assert line.result.error_message == message
    assert line.result.error_type != "unknown_error"


def test_a_recorded_error_names_its_type() -> None:
    line = decode(ERRORED)
    assert line is not None
    assert line.result.error_type == "invalid_request_error"


@pytest.mark.parametrize(
    "result",
    [
        {"type": "from_the_future", "message": [1, 2]},
        {"type": "succeeded", "message": {"model": 5}},
        {"type": "succeeded", "message": {"usage": {"input_tokens": 1.5}}},
        {"type": "errored", "error": "text"},
    ],
)
def test_a_line_of_an_unknown_shape_still_counts(result: dict[str, object]) -> None:
    line = decode(json.dumps({"custom_id": "a", "result": result}).encode())
    assert line is not None
    assert (line.custom_id, line.result.type) == ("a", result["type"])
    assert line.result.message is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'{"custom_id":"a"}',
        b'{"custom_id":1,"result":{"type":"succeeded"}}',
        b'{"custom_id":"a","result":{}}',
        b'{"custom_id":"\xff","result":{"type":"expired"}}',
        b'{"custom_id":"a","result":{"type":"expired"}} {',
        b"[" * 100_000,
        b'{"custom_id":"a","result":{"type":"x","message":' + b'{"a":' * 100_000,
    ],
)
def test_a_line_that_is_not_a_result_gives_none(line: bytes) -> None:
    assert decode(line) is None


@pytest.mark.parametrize(
    "message",
    [b'{"model":"\\ud83d"}', b'{"x":NaN}', b'{"x":' + b"9" * 2_000 + b"}"],
    ids=["half a pair", "NaN", "long"],
)
def test_a_line_that_only_a_lenient_parser_reads_counts_too(message: bytes) -> None:
    line = decode(b'{"custom_id":"a","result":{"type":"succeeded","message":%b}}' % message)
    assert line is not None
    assert (line.custom_id, line.result.type) == ("a", "succeeded")


def test_an_id_that_is_not_utf8_is_still_an_id() -> None:
    line = decode(b'{"custom_id":"a\\ud83d","result":{"type":"canceled"}}')
    assert line is not None
    assert line.custom_id == "a?"


def test_a_block_is_decoded_at_once_or_needs_a_closer_look() -> None:
    whole = SUCCEEDED + b"\n" + ERRORED + b"\n"
    results = decode_block(whole)
    assert results is not None
    assert [line.custom_id for line in results] == ["probe-beta", "probe-bad"]
    assert decode_block(whole + SUCCEEDED[:-1] + b"\n") is None


@pytest.mark.parametrize("between", [b"", b" ", b"\r"])
def test_results_that_share_a_line_are_separated_unchanged(between: bytes) -> None:
    odd = b'{"custom_id":"a","result":{"type":"x","more":"\xff}{"}}'
    found = results_in(between.join([SUCCEEDED, odd, ERRORED]))
    assert [part for part, _ in found] == [SUCCEEDED, odd, ERRORED]
    assert [result and result.result.type for _, result in found] == ["succeeded", "x", "errored"]


@pytest.mark.parametrize("line", [SUCCEEDED, SUCCEEDED + b"\r"])
def test_a_line_with_one_result_stays_as_it_is(line: bytes) -> None:
    assert results_in(line) == [(line, decode(SUCCEEDED))]


@pytest.mark.parametrize("line", [SUCCEEDED + b"{", SUCCEEDED + SUCCEEDED[:-1], b"[" * 100_000])
def test_a_torn_line_is_unreadable_as_a_whole(line: bytes) -> None:
    assert results_in(line) == [(line, None)]


@pytest.mark.parametrize("line", [b"", b"  ", b"\r"])
def test_a_blank_line_holds_nothing(line: bytes) -> None:
    assert results_in(line) == []


@given(st.sampled_from([SUCCEEDED, ERRORED]), st.data())
def test_no_prefix_of_a_line_is_a_result(line: bytes, data: st.DataObject) -> None:
    assert decode(line[: data.draw(st.integers(0, len(line) - 1))]) is None
