"""Token estimates against the counts that are known."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.emulator.tokens import count_answer, count_params, count_text, tokenizer_factor

WEATHER: Final = {
    "name": "get_weather",
    "description": "Get the current weather in a given location",
    "input_schema": {
        "type": "object",
        "properties": {"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}},
        "required": ["location"],
    },
}


def params(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": text}]} | more


KNOWN: Final = [
    # Recorded live: 2026-09-02, 2026-05-02, 2026-05-01; then two examples of the docs ("Token counting").
    (params("Reply with exactly: 1"), 16),
    (params("Reply with a single word."), 13),
    (params("Tell me a one-line joke about Rust.", model="claude-sonnet-4-6"), 18),
    (params("Hello, Claude", system="You are a scientist"), 14),
    (params("What's the weather like in San Francisco?", tools=[WEATHER]), 403),
]


@pytest.mark.parametrize(("asked", "known"), KNOWN)
def test_an_estimate_is_off_by_an_eighth_at_most(asked: dict[str, Any], known: int) -> None:
    assert abs(count_params(asked) - known) <= known / 8


def test_estimates_are_closer_than_a_quarter_of_the_bytes() -> None:
    ours = sum(abs(count_params(asked) / known - 1) for asked, known in KNOWN)
    quarter = sum(abs(len(json.dumps(asked)) / 4 / known - 1) for asked, known in KNOWN)
    assert ours < quarter / 4


@pytest.mark.parametrize(("answer", "known"), [("Hello", 4), ("1", 5), ("BETA", 5)])
def test_short_answers_count_as_recorded(answer: str, known: int) -> None:
    assert abs(count_answer(answer) - known) <= 1


def test_newer_models_count_about_a_third_more() -> None:
    long = "A sentence of a few words. " * 100
    older, newer = (count_params(params(long, model=name)) for name in ("claude-haiku-4-5", "claude-opus-4-7"))
    assert newer == pytest.approx(1.3 * older, abs=1)
    assert [tokenizer_factor(name) for name in ("claude-opus-5", "claude-sonnet-4-5-20250929", "other")] == [1.3, 1, 1]


def test_a_sample_of_a_long_text_gives_what_its_repeated_part_gives() -> None:
    part = "Amounts are given in euro, dates in ISO form (2026-11-29). "
    assert count_text(part * 500) == pytest.approx(500 * count_text(part), rel=0.1)


def test_characters_beyond_ascii_count_one_each() -> None:
    assert count_text("日本語") == 3
    assert count_text("日本語のテキスト" * 1000) == 8000


def test_blocks_count_by_what_they_hold() -> None:
    def counted(*blocks: Any) -> int:
        asked = params("x")
        return count_params(asked | {"messages": [{"role": "user", "content": list(blocks)}]}) - 8

    assert counted({"type": "text", "text": "Hello"}) == count_text("Hello")
    assert counted({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}) == 1600
    assert counted({"type": "document", "source": {"type": "base64", "data": "x" * 100_000}}) == 2000
    assert counted({"type": "document", "source": {"type": "text", "data": "Hello"}}) == 1
    assert counted({"type": "tool_result", "tool_use_id": "toolu_01", "content": [{"type": "text", "text": "Hi"}]}) == 1
    assert counted({"type": "tool_use", "id": "toolu_01", "name": "look", "input": {"at": [1, None]}}) > 0
    assert counted(5, None) == 0


@given(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)))
def test_any_shape_is_counted_without_an_error(value: Any) -> None:
    for name in ("messages", "system", "tools"):
        assert count_params({"model": value, name: value}) >= 0
    assert count_params(params("x", messages=[{"role": "user", "content": value}])) >= 0


@given(st.text(st.characters(codec=None), max_size=600))
def test_no_text_is_negative_and_only_the_empty_one_is_free(text: str) -> None:
    assert (count_text(text) == 0) == (text == "")
