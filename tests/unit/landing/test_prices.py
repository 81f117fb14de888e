"""The cost of answers by the list prices of `genai-prices`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from airflow_batches.landing.prices import MISSING, PriceList
from airflow_batches.landing.usage import ModelUsage, PriceRange

AT = datetime(2026, 11, 1, tzinfo=UTC)
MILLION = ModelUsage(
    answers=1,
    input_tokens=1_000_000,
    output_tokens=1_000_000,
    cache_write_5m_tokens=1_000_000,
    cache_write_1h_tokens=1_000_000,
    cache_read_tokens=1_000_000,
)


def test_batch_prices_are_half_of_the_list_for_every_kind_of_token() -> None:
    cost = PriceList(AT).cost({PriceRange("claude-haiku-4-5-20251001"): MILLION})
    assert cost.by_model == {"claude-haiku-4-5-20251001": "4.675"}  # (1 + 5 + 1.25 + 2 + 0.1) / 2
    assert cost.total == "4.675"
    assert cost.source.startswith("genai-prices ")


def test_a_price_with_steps_follows_the_length_of_each_prompt() -> None:
    prices = PriceList(AT)
    assert prices.steps("claude-haiku-5-5") == [100_000]
    tokens = ModelUsage(answers=1, input_tokens=1_000_000)
    cost = prices.cost({PriceRange("claude-haiku-5-5", 0): tokens, PriceRange("claude-haiku-5-5", 1): tokens})
    assert cost.by_model == {"claude-haiku-5-5": "0.3"}  # (0.1 + 0.5) / 2
    assert prices.steps("claude-haiku-4-5") == []


def test_an_unknown_model_has_no_price_and_then_the_total_has_none() -> None:
    tokens = ModelUsage(answers=1, input_tokens=1_000_000)
    cost = PriceList(AT).cost({PriceRange("claude-haiku-4-5"): tokens, PriceRange("no-such-model"): tokens})
    assert cost.by_model == {"claude-haiku-4-5": "0.5", "no-such-model": None}
    assert cost.total is None


@pytest.mark.parametrize(
    ("price_range", "usage"),
    [
        (PriceRange("claude-haiku-4-5", surcharged=True), ModelUsage(answers=1, input_tokens=1)),
        (PriceRange("claude-haiku-4-5", length=1), ModelUsage(answers=1, input_tokens=1, without_usage=1)),
    ],
    ids=["a surcharge", "an answer without usage"],
)
def test_usage_that_cannot_be_priced_in_full_has_no_price(price_range: PriceRange, usage: ModelUsage) -> None:
    plain = {PriceRange("claude-haiku-4-5"): ModelUsage(answers=1, input_tokens=1)}
    assert PriceList(AT).cost(plain).total == "0.0000005"
    cost = PriceList(AT).cost({**plain, price_range: usage})
    assert (cost.total, cost.by_model) == (None, {"claude-haiku-4-5": None})


def test_an_answer_that_is_not_billed_costs_nothing() -> None:
    cost = PriceList(AT).cost({PriceRange("claude-haiku-4-5", free=True): MILLION})
    assert (cost.total, cost.by_model) == ("0", {"claude-haiku-4-5": "0"})


def test_no_answers_cost_nothing() -> None:
    cost = PriceList(AT).cost({})
    assert (cost.total, cost.by_model) == ("0", {})


def test_without_the_price_list_nothing_is_priced_and_the_manifest_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    prices = PriceList(AT)
    assert prices.steps("claude-haiku-5-5") == []
    cost = prices.cost({PriceRange("claude-haiku-4-5"): MILLION})
    assert (cost.total, cost.by_model) == (None, {"claude-haiku-4-5": None})
    assert cost.source == MISSING
