"""The cost of answers by the price list of `genai-prices` (extra `prices`).

An unknown price is None, never a guess.

Rules: batch answers cost half the list price for input, output, cache writes and cache reads (docs, page "Pricing").
Answers with another surcharge (calls of a server tool, a region) are not priced. A refusal before the first token costs
nothing, unless its category is billed (release notes of 2026-09-24).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

from airflow_batches.landing.manifest import Cost
from airflow_batches.landing.usage import ModelUsage, PriceRange

logger = logging.getLogger(__name__)

BATCH_FACTOR: Final = Decimal("0.5")
"""Batch price divided by list price (docs, page "Pricing")."""
PER_TOKENS: Final = Decimal(1_000_000)
MISSING: Final = "not installed: pip install 'airflow-batches[prices]'"

FIELDS: Final[Mapping[str, str]] = {
    "input_tokens": "input_mtok",
    "output_tokens": "output_mtok",
    "cache_write_5m_tokens": "cache_write_mtok",
    "cache_write_1h_tokens": "cache_write_1h_mtok",
    "cache_read_tokens": "cache_read_mtok",
}
"""Fields of `ModelUsage` -> fields of the price list, in USD per million tokens."""


class PriceList:
    """The prices at one time, which is the batch's creation; now if that is None."""

    def __init__(self, at: datetime | None) -> None:
        self._at = at or datetime.now(UTC)
        self._models: dict[str, Any] = {}
        self.source = _source()

    def steps(self, model: str) -> Sequence[int]:
        """Return the prompt lengths (in tokens) above which a model's prices change.

        They are the same for all kinds of token.
        """
        price = getattr(self._price(model), "input_mtok", None)
        return [tier.start for tier in getattr(price, "tiers", ())]

    def cost(self, ranges: Mapping[PriceRange, ModelUsage]) -> Cost:
        """Add up the cost of these answers."""
        by_model: dict[str, Decimal | None] = {}
        for price_range, usage in sorted(ranges.items(), key=lambda item: item[0].model):
            sofar, more = by_model.get(price_range.model, Decimal(0)), self._range_cost(price_range, usage)
            by_model[price_range.model] = None if sofar is None or more is None else sofar + more
        costs = [*by_model.values()]
        total = None if None in costs else sum((cost for cost in costs if cost is not None), Decimal(0))
        return Cost(
            total=_text(total),
            by_model={model: _text(cost) for model, cost in by_model.items()},
            source=self.source,
        )

    def _range_cost(self, price_range: PriceRange, usage: ModelUsage) -> Decimal | None:
        if price_range.free:
            return Decimal(0)
        if price_range.surcharged or usage.without_usage:
            return None
        total = Decimal(0)
        for ours, theirs in FIELDS.items():
            tokens = getattr(usage, ours)
            price = _at_length(getattr(self._price(price_range.model), theirs, None), price_range.length)
            if tokens and price is None:
                return None
            total += tokens * (price or Decimal(0)) / PER_TOKENS
        return total * BATCH_FACTOR

    def _price(self, model: str) -> Any:
        if model not in self._models:
            self._models[model] = _look_up(model, self._at)
        return self._models[model]


def _look_up(model: str, at: datetime) -> Any:
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    try:
        one = Usage(input_tokens=1, output_tokens=1)
        return calc_price(one, model, provider_id="anthropic", genai_request_timestamp=at).model_price
    except (LookupError, ValueError) as exc:
        logger.warning("There is no price for %s: %s", model, exc)
        return None


def _at_length(price: Any, length: int) -> Decimal | None:
    if price is None or isinstance(price, Decimal):
        return price
    steps = [price.base, *(tier.price for tier in price.tiers)]
    return steps[length] if length < len(steps) else None


def _source() -> str:
    try:
        import genai_prices  # noqa: F401  # only to see whether it is installed
    except ImportError:
        return MISSING
    return f"genai-prices {version('genai-prices')} x {BATCH_FACTOR}"


def _text(cost: Decimal | None) -> str | None:
    return None if cost is None else f"{cost.normalize():f}"
