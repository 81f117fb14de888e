"""Counts of what has landed so far: result types, errors, tokens. Pure.

Rules: only answers' tokens are counted, because only answers are billed. A model whose price depends on the length of
the prompt has one tally for each price range, so that sums can still be priced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from airflow_batches.api.error_messages import ErrorMessages
from airflow_batches.landing.lines import LineMessage, LineUsage, ResultLine
from airflow_batches.landing.usage import ORDINARY_REGIONS, REFUSAL, ModelUsage, PriceRange

SUCCEEDED: Final = "succeeded"
ERRORED: Final = "errored"
UNKNOWN_MODEL: Final = "unknown"


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
        ranges: dict[PriceRange, list[LineUsage | None]] = {}
        for answer in answers:
            ranges.setdefault(PriceRange.of(model, answer, steps), []).append(answer.usage)
        for price_range, usages in ranges.items():
            self.ranges.setdefault(price_range, ModelUsage()).add_answers(usages)


_NOTHING: Final = LineMessage()
