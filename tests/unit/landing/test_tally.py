"""Counts of results and tokens."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.landing.lines import ResultLine, StopDetails
from airflow_batches.landing.tally import Tally
from airflow_batches.landing.usage import PriceRange

PLAIN: Final[dict[str, Any]] = {"input_tokens": 1, "output_tokens": 1}


def answer(model: str | None = "m", **usage: Any) -> ResultLine:
    message = {"model": model, "usage": usage or None}
    return msgspec.convert({"custom_id": "a", "result": {"type": "succeeded", "message": message}}, ResultLine)


def counted(tally: Tally) -> dict[PriceRange, int]:
    return {key: usage.answers for key, usage in tally.ranges.items()}


def other(kind: str, **error: Any) -> ResultLine:
    return msgspec.convert({"custom_id": "a", "result": {"type": kind, "error": error or None}}, ResultLine)


def test_lines_are_counted_by_type_and_errors_by_theirs() -> None:
    tally = Tally()
    tally.add([answer(), other("expired"), other("errored", type="api_error")])
    tally.add([other("errored", type="error", error={"type": "overloaded_error"}), other("from_the_future")])
    assert tally.types == {"succeeded": 1, "expired": 1, "errored": 2, "from_the_future": 1}
    assert tally.error_types == {"api_error": 1, "overloaded_error": 1}


def test_a_message_in_a_line_of_another_type_is_not_an_answer() -> None:
    strange = answer(**PLAIN)
    strange.result.type = "from_the_future"
    tally = Tally()
    tally.add([answer(**PLAIN), strange])
    assert tally.types == {"succeeded": 1, "from_the_future": 1}
    assert tally.by_model()["m"].answers == 1


def test_tokens_add_up_by_model_and_cache_writes_by_time_to_live() -> None:
    tally = Tally()
    cached = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 4}
    tally.add([answer("b", input_tokens=1, output_tokens=2, cache_read_input_tokens=8), answer("a", output_tokens=5)])
    tally.add([answer("b", input_tokens=10, cache_creation_input_tokens=34, cache_creation=cached)])
    models = tally.by_model()
    assert [*models] == ["a", "b"]
    assert (models["b"].answers, models["b"].input_tokens, models["b"].output_tokens) == (2, 11, 2)
    assert (models["b"].cache_write_5m_tokens, models["b"].cache_write_1h_tokens) == (30, 4)
    assert models["b"].cache_read_tokens == 8


def test_cache_writes_without_time_to_live_count_as_five_minutes() -> None:
    tally = Tally()
    tally.add([answer(cache_creation_input_tokens=7)])
    assert (tally.by_model()["m"].cache_write_5m_tokens, tally.by_model()["m"].cache_write_1h_tokens) == (7, 0)


def test_answers_without_model_or_full_usage_are_counted() -> None:
    tally = Tally()
    tally.add([answer(None), answer("m", input_tokens=None, output_tokens=5), answer("m", **PLAIN)])
    assert tally.by_model()["unknown"].without_usage == 1
    assert (tally.by_model()["m"].answers, tally.by_model()["m"].without_usage) == (2, 1)
    assert tally.by_model()["m"].output_tokens == 6


usages: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"output_tokens": 2},
        PLAIN,
        PLAIN | {"inference_geo": "us"},
        PLAIN | {"server_tool_use": {"web_fetch_requests": 1}},
        PLAIN | {"cache_creation_input_tokens": 5},
        PLAIN | {"cache_creation_input_tokens": 0, "cache_creation": {"ephemeral_5m_input_tokens": 5}},
        PLAIN | {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 5}},
    ]
)


@given(st.lists(st.builds(lambda model, usage: answer(model, **usage), st.sampled_from([None, "", "a"]), usages)))
def test_lines_count_the_same_one_by_one_and_all_at_once(lines: list[ResultLine]) -> None:
    together, apart = Tally(), Tally()
    together.add(lines)
    for line in lines:
        apart.add([line])
    assert (together.types, together.ranges) == (apart.types, apart.ranges)


def test_only_answers_have_usage() -> None:
    tally = Tally()
    tally.add([other("errored"), other("canceled")])
    assert tally.by_model() == {}


def test_usage_is_split_by_prompt_length_when_a_price_has_steps() -> None:
    tally = Tally(lambda model: [100, 200] if model == "stepped" else [])
    prompts = [100, 101, 200, 201]
    tally.add([answer("stepped", input_tokens=n - 50, output_tokens=1, cache_read_input_tokens=50) for n in prompts])
    tally.add([answer("flat", input_tokens=n, output_tokens=1) for n in prompts])
    answers = {(key.model, key.length): usage.answers for key, usage in tally.ranges.items()}
    assert answers == {("stepped", 0): 1, ("stepped", 1): 2, ("stepped", 2): 1, ("flat", 0): 4}
    assert tally.by_model()["stepped"].answers == 4


@pytest.mark.parametrize(
    "extra",
    [
        {"inference_geo": "us"},
        {"inference_geo": "from_the_future"},
        {"server_tool_use": {"web_search_requests": 1}},
        {"server_tool_use": {"from_the_future": 1}},
        {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_24h_input_tokens": 5}},
        {"cache_creation_input_tokens": 0, "cache_creation": {"ephemeral_5m_input_tokens": 5}},
    ],
)
def test_answers_with_a_surcharge_are_counted_separately(extra: dict[str, Any]) -> None:
    tally = Tally()
    tally.add([answer(**PLAIN, **extra), answer(**PLAIN)])
    assert counted(tally) == {PriceRange("m", surcharged=True): 1, PriceRange("m"): 1}


@pytest.mark.parametrize(
    "usual",
    [
        {"inference_geo": "global"},
        {"inference_geo": "not_available"},
        {"server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 3}},
        {
            "cache_creation_input_tokens": 5,
            "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
        },
    ],
)
def test_answers_at_the_list_price_are_counted_together(usual: dict[str, Any]) -> None:
    tally = Tally()
    tally.add([answer(**PLAIN, **usual), answer(**PLAIN)])
    assert counted(tally) == {PriceRange("m"): 2}


@pytest.mark.parametrize(
    ("details", "output", "free"),
    [
        ({"category": "cyber"}, 0, True),
        ({"category": None}, 0, True),
        (None, 0, True),
        ({"category": "bio"}, 0, False),
        ({"category": "cyber"}, 1, False),
    ],
)
def test_a_refusal_before_the_first_token_is_free_except_in_some_categories(
    details: dict[str, Any] | None, output: int, free: bool
) -> None:
    refused = answer(input_tokens=1, output_tokens=output)
    assert refused.result.message is not None
    refused.result.message.stop_reason = "refusal"
    refused.result.message.stop_details = msgspec.convert(details, StopDetails | None)
    tally = Tally()
    tally.add([refused])
    assert counted(tally) == {PriceRange("m", free=free): 1}
