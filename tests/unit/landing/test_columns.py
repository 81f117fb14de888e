"""Result lines as Arrow columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import DecodeError
from airflow_batches.landing.answer_lines import USAGE
from airflow_batches.landing.columns import COLUMNS, result_columns
from airflow_batches.landing.lines import decode

SUCCEEDED = {
    "custom_id": "a",
    "result": {
        "type": "succeeded",
        "message": {
            "model": "m",
            "content": [{"type": "text", "text": "one "}, {"type": "tool_use"}, {"type": "text", "text": "two"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 5, "output_tokens": 7},
        },
    },
}


def columns_of(line: bytes) -> dict[str, Any]:
    """The columns by the first, slow way: every value through Python's `json`."""
    try:
        value = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        result = decode(line)
        assert result is not None
        return dict.fromkeys(COLUMNS.names) | {"custom_id": result.custom_id, "type": result.result.type}
    result = value["result"]
    message, error = _object(result.get("message")), _object(result.get("error"))
    error = _object(error.get("error")) or error
    usage = _object(message.get("usage"))
    return {
        "custom_id": _string(value["custom_id"]),
        "type": _string(result["type"]),
        "text": _text_of(message),
        "stop_reason": _string(message.get("stop_reason")),
        "model": _string(message.get("model")),
        **{name: _integer(usage.get(name)) for name in USAGE},
        "error_type": _string(error.get("type")),
        "error_message": _string(error.get("message")),
    }


def _text_of(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    if not isinstance(content, list):
        return None
    texts = (block.get("text") for block in map(_object, content) if block.get("type") == "text")
    return _string("".join(text for text in texts if isinstance(text, str)))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str | None:
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


texts = st.text(max_size=8) | st.text(st.sampled_from('"\\\b\f\n\r\t/\x00\x7fé—😀\ud83d\ude00'), max_size=8)
numbers = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([2**63, -(2**63), 2**63 - 1, 1.0, 1e400])
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def or_odd(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of the usual type, mostly."""
    return st.integers(0, 9).flatmap(lambda roll: anything if roll == 0 else usual)


blocks = st.fixed_dictionaries(
    {"type": or_odd(st.sampled_from(["text", "tool_use"]))}, optional={"text": or_odd(texts)}
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "content": or_odd(st.lists(or_odd(blocks), max_size=3)),
        "stop_reason": or_odd(st.none() | texts),
        "model": or_odd(texts),
        "usage": or_odd(st.dictionaries(st.sampled_from(USAGE), or_odd(st.none() | st.integers(0, 2**40)))),
        "role": anything,
    },
)
flat_errors = st.fixed_dictionaries({}, optional={"type": or_odd(texts), "message": or_odd(texts)})
errors = st.fixed_dictionaries({}, optional={"type": or_odd(texts), "message": texts, "error": or_odd(flat_errors)})
results = st.fixed_dictionaries(
    {"type": st.sampled_from(["succeeded", "errored", "canceled", "expired", "from_the_future"])},
    optional={"message": or_odd(messages), "error": or_odd(errors), "more": anything},
)


@st.composite
def result_lines(draw: st.DrawFn) -> bytes:
    """A line of the results, with and without escapes, with blanks around it, some with bytes that are not UTF-8."""
    value = {"custom_id": draw(texts), "result": draw(results)}
    escapes = draw(st.booleans())
    line = json.dumps(value, ensure_ascii=escapes).encode(errors="surrogatepass" if draw(st.booleans()) else "replace")
    at = draw(st.integers(0, len(line) - 1))
    broken = line[:at] + b"\xff" + line[at + 1 :]
    line = broken if draw(st.booleans()) and decode(broken) else line
    around = st.sampled_from([b"", b"", b"", b" ", b"\r"])
    return draw(around) + line + draw(around)


@given(st.lists(result_lines(), max_size=6))
def test_the_fast_way_gives_the_same_columns_as_the_slow_way(lines: list[bytes]) -> None:
    assert result_columns(lines).to_pylist() == [columns_of(line) for line in lines]


@given(st.lists(st.sampled_from([json.dumps(SUCCEEDED).encode(), b'{"custom_id":"b","result":{"type":"expired"}}'])))
def test_usual_lines_are_rows_in_order(lines: list[bytes]) -> None:
    batch = result_columns(lines)
    assert batch.schema == COLUMNS
    assert batch.to_pylist() == [columns_of(line) for line in lines]


def test_an_answers_text_is_its_text_blocks() -> None:
    (row,) = result_columns([json.dumps(SUCCEEDED).encode()]).to_pylist()
    assert (row["text"], row["model"], row["stop_reason"]) == ("one two", "m", "end_turn")
    assert (row["input_tokens"], row["output_tokens"], row["cache_read_input_tokens"]) == (5, 7, None)


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "wait"}, "request_id": "r"},
        {"type": "overloaded_error", "message": "wait"},
        {"type": "overloaded_error", "message": "wait", "error": {}},
        {"type": "overloaded_error", "message": "wait", "error": "text"},
    ],
)
def test_an_error_is_read_nested_and_flat(error: dict[str, Any]) -> None:
    line = json.dumps({"custom_id": "a", "result": {"type": "errored", "error": error}}).encode()
    (row,) = result_columns([line]).to_pylist()
    assert (row["error_type"], row["error_message"]) == ("overloaded_error", "wait")


def test_one_odd_line_leaves_the_others_as_they_are() -> None:
    usual, odd = json.dumps(SUCCEEDED).encode(), b'{"custom_id":"b","result":{"type":"canceled","x":NaN}}'
    assert [row["custom_id"] for row in result_columns([usual, odd, usual]).to_pylist()] == ["a", "b", "a"]


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"custom_id":"a","result":{"type":"expired"}}{"custom_id":"b","result":{"type":"expired"}}'],
        [b'{"custom_id":"a","result":{"type":"expired"}}{"custom_id":"b","result":{"type":"expired"}}', b""],
        [b'{"custom_id":"a","result"', b':{"type":"expired"}}{"custom_id":"b","result":{"type":"expired"}}'],
        [b'{"custom_id":"a"}'],
        [b'{"custom_id":1,"result":{"type":"expired"}}'],
        [b'{"custom_id":"a","result":{}}'],
        [b"[]"],
        [b"[" * 100_000],
    ],
    ids=["two", "two and none", "torn", "no result", "an id of digits", "no type", "a list", "deep"],
)
def test_a_line_that_is_not_exactly_one_result_is_an_error(lines: list[bytes]) -> None:
    with pytest.raises(DecodeError):
        result_columns(lines)
