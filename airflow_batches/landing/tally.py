"""Counts of what has landed so far: result types, errors, tokens. Pure.

Rules: only answers' tokens are counted, because only answers are billed. A model whose price depends on the length of
the prompt has one tally for each price range, so that sums can still be priced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from airflow_batches.api.error_messages import ErrorMessages
from airflow_batches.landing.lines import LineMessage, LineUsage, ResultLine

SUCCEEDED: Final = "succeeded"
ERRORED: Final = "errored"
REFUSAL: Final = "refusal"
UNKNOWN_MODEL: Final = "unknown"

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


class PriceRange(msgspec.Struct, frozen=True):
    """Answers with the same price: one model, one range of prompt lengths, surcharged or not."""

    model: str
    length: int = 0
    surcharged: bool = False
    """Something other than known tokens has a price: a region, calls of a server tool, cache writes of another kind."""
    free: bool = False
    """Refused before the first token and not billed."""


class Tally:
    """A running count of result lines.

    :param price_steps: gives for a model the prompt lengths (in tokens) above which its price changes; none by default.
    """

    def __init__(self, price_steps: Callable[[str], Sequence[int]] = lambda model: ()) -> None:
        self.types: Counter[str] = Counter()
        self.error_types: Counter[str] = Counter()
        self.error_messages = ErrorMessages()
        self.ranges: dict[PriceRange, ModelUsage] = {}
        self._price_steps = price_steps

    def add(self, lines: Sequence[ResultLine]) -> None:
        """Count these lines."""
        if others := self._add_usual(lines):
            self._add_others(others)

    def by_model(self) -> dict[str, ModelUsage]:
        """Return the usage of each model, sorted by name."""
        models: dict[str, ModelUsage] = {}
        for price_range, usage in sorted(self.ranges.items(), key=lambda item: item[0].model):
            models.setdefault(price_range.model, ModelUsage()).add(usage)
        return models

    def _add_usual(self, lines: Sequence[ResultLine]) -> Sequence[ResultLine]:
        """Count the plain answers of one model at the list price.

        Return the lines that it did not count.

        One loop without function calls: with them it took twice the time.
        """
        first = lines[0].result.message if lines else None
        model = first.model if first else None
        if not model or self._price_steps(model):
            return lines
        others: list[ResultLine] = []
        fresh = answered = read = 0
        for line in lines:
            result = line.result
            answer = result.message
            if (
                answer is None
                or (usage := answer.usage) is None
                or usage.input_tokens is None
                or usage.output_tokens is None
                or result.type != SUCCEEDED
                or answer.model != model
                or answer.stop_reason == REFUSAL
                or usage.inference_geo not in ORDINARY_REGIONS
                or usage.server_tool_use is not None
                or usage.cache_creation_input_tokens
                or (
                    (written := usage.cache_creation) is not None
                    and (written.ephemeral_5m_input_tokens or written.ephemeral_1h_input_tokens)
                )
            ):
                others.append(line)
                continue
            fresh += usage.input_tokens
            answered += usage.output_tokens
            read += usage.cache_read_input_tokens or 0
        if count := len(lines) - len(others):
            self.types[SUCCEEDED] += count
            self.ranges.setdefault(PriceRange(model), ModelUsage()).add(
                ModelUsage(answers=count, input_tokens=fresh, output_tokens=answered, cache_read_tokens=read)
            )
        return others

    def _add_others(self, lines: Sequence[ResultLine]) -> None:
        results = [line.result for line in lines]
        types = Counter([result.type for result in results])
        self.types.update(types)
        if types[ERRORED]:
            errored = [result for result in results if result.type == ERRORED]
            self.error_types.update([result.error_type for result in errored])
            self.error_messages.add([(result.error_type, text) for result in errored if (text := result.error_message)])
        answers = [result.message or _NOTHING for result in results if result.type == SUCCEEDED]
        for model in dict.fromkeys([answer.model for answer in answers]):
            self._add_answers(model or UNKNOWN_MODEL, [answer for answer in answers if answer.model == model])

    def _add_answers(self, model: str, answers: list[LineMessage]) -> None:
        steps = self._price_steps(model)
        ranged: dict[tuple[int, bool, bool], list[LineUsage | None]] = {}
        for answer in answers:
            length = bisect_left(steps, answer.usage.prompt_tokens) if steps and answer.usage else 0
            ranged.setdefault((length, _surcharged(answer), _free(answer)), []).append(answer.usage)
        for key, usages in ranged.items():
            _add(self.ranges.setdefault(PriceRange(model, *key), ModelUsage()), usages)


_NOTHING: Final = LineMessage()


def _surcharged(answer: LineMessage) -> bool:
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


def _free(answer: LineMessage) -> bool:
    if answer.stop_reason != REFUSAL or answer.usage is None or answer.usage.output_tokens:
        return False
    return answer.stop_details is None or answer.stop_details.category not in BILLED_REFUSALS


def _add(total: ModelUsage, usages: list[LineUsage | None]) -> None:
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
    total.answers += len(usages)
    total.without_usage += without
    total.input_tokens += fresh
    total.output_tokens += answered
    total.cache_read_tokens += read
    total.cache_write_5m_tokens += minutes
    total.cache_write_1h_tokens += hour
