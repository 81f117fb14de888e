"""Tokens of answers, and what decides their price: the model, the prompt's length, surcharges, refusals. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Final, Self

import msgspec

from airflow_batches.landing.lines import LineMessage, LineUsage

REFUSAL: Final = "refusal"

ORDINARY_REGIONS: Final = frozenset({None, "not_available", "global"})
"""Regions of inference at the list price; others may cost more (docs, page "Pricing")."""

FREE_TOOLS: Final = frozenset({"web_fetch_requests"})
"""Server tools that are billed by their tokens only (docs, page "Pricing")."""

BILLED_REFUSALS: Final = frozenset({"bio", "frontier_llm", "reasoning_extraction"})
"""Categories of refusals that are billed even before the first token (release notes, 2026-09-24)."""


class ModelUsage(msgspec.Struct, kw_only=True):
    """Tokens of one model's answers.

    `input_tokens` excludes the cache; cache writes are counted by time to live.
    """

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    without_usage: int = 0
    """Answers whose usage could not be read in full."""

    def add(self, other: ModelUsage) -> None:
        """Add another's numbers to these."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def add_answers(self, usages: Sequence[LineUsage | None]) -> None:
        """Add the usage of answers; None is one that could not be read."""
        fresh = answered = read = minutes = hour = 0
        without = len(usages)
        for usage in usages:
            if usage is None:
                continue
            without -= usage.input_tokens is not None and usage.output_tokens is not None
            fresh += usage.input_tokens or 0
            answered += usage.output_tokens or 0
            read += usage.cache_read_input_tokens or 0
            if (written := usage.cache_creation) is None:
                # Old answers have no times to live; five minutes was the only one then, and is the default now.
                minutes += usage.cache_creation_input_tokens or 0
            else:
                minutes += written.ephemeral_5m_input_tokens or 0
                hour += written.ephemeral_1h_input_tokens or 0
        self.answers += len(usages)
        self.without_usage += without
        self.input_tokens += fresh
        self.output_tokens += answered
        self.cache_read_tokens += read
        self.cache_write_5m_tokens += minutes
        self.cache_write_1h_tokens += hour


class PriceRange(msgspec.Struct, frozen=True):
    """Answers with the same price: one model, one range of prompt lengths, surcharged or not."""

    model: str
    length: int = 0
    surcharged: bool = False
    """Something other than known tokens has a price: a region, calls of a server tool, cache writes of another kind."""
    free: bool = False
    """Refused before the first token and not billed."""

    @classmethod
    def of(cls, model: str, answer: LineMessage, steps: Sequence[int]) -> Self:
        """Return the range of an answer.

        :param model: the answer's model.
        :param answer: the answer.
        :param steps: the prompt lengths (in tokens) above which the model's price changes.
        """
        length = bisect_left(steps, answer.usage.prompt_tokens) if steps and answer.usage else 0
        return cls(model, length, _is_surcharged(answer), _is_free(answer))


def _is_surcharged(answer: LineMessage) -> bool:
    usage = answer.usage
    if usage is None:
        return False
    return (
        usage.inference_geo not in ORDINARY_REGIONS
        or usage.other_cache_writes != 0
        or (usage.server_tool_use is not None and _has_priced_calls(usage.server_tool_use))
    )


def _has_priced_calls(calls: Mapping[str, int | None]) -> bool:
    return any(count and tool not in FREE_TOOLS for tool, count in calls.items())


def _is_free(answer: LineMessage) -> bool:
    if answer.stop_reason != REFUSAL or answer.usage is None or answer.usage.output_tokens:
        return False
    return answer.stop_details is None or answer.stop_details.category not in BILLED_REFUSALS
