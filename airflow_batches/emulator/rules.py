"""Rules: what happens to which request, as data.

The first rule that applies to a request decides, when its batch is created; a stored batch keeps what was decided.
Rules apply to requests that the API would run: what it refuses stays refused. Single messages have rules too, but no
`custom_id`, no end and no later time: rules for ids, the outcomes `expired` and `canceled`, and `delay` are not theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from airflow_batches.emulator.given import AnswerFunction, Given, Request, answer_fault

Outcome = Literal["succeeded", "errored", "expired", "canceled", "invalid_output"]

if TYPE_CHECKING:
    Answer = Given | AnswerFunction
    Where = Callable[[Request], bool]
else:  # msgspec cannot decode into functions; `_check` says what is wrong.
    Answer = Where = Any


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to the requests that it applies to.

    Pass rules to `Emulator(rules=[…])`, `--rules FILE` (a JSON object a line) or `PUT /_emulator/rules`.

        Emulator(rules=[
            Rule(custom_id="row-7", answer="positive"),
            Rule(text="refund", model="claude-opus-*", stop_reason="refusal"),
            Rule(outcome="errored", share=0.1, times_per_id=1),  # a tenth fails, and succeeds when sent again
        ])

    :param custom_id: an id, or a pattern with `*`, `?` and `[…]`; all ids by default.
    :param model: the same for the model, as the request names it.
    :param text: text that the system prompt or a message holds; None: any.
    :param where: a function of the request that says whether the rule applies, called if the rest matches; not in
        files.
    :param share: share (0 to 1) of these requests, the same ones for the same `seed`. Rules with shares take their
        requests side by side: 0.1 and 0.2 are 30 % together.
    :param times: number of requests that it applies to until it is exhausted; None: any number.
    :param times_per_id: the same for each custom_id, so that a request sent again gets something else.
    :param outcome: how the request ends. `invalid_output` succeeds with an answer that does not match the schema asked
        for: a member is missing, the type is another one, or (`stop_reason="max_tokens"`; by default for some requests)
        the JSON is cut off. Without a schema, it is the usual answer.
    :param answer: text, content blocks, an object for JSON, a message or an error (see `given`), or a function of the
        request that returns one of them; None: the usual answer. It is never cut. Text follows the model's thinking,
        blocks replace it. If the function raises, the request errors, and the log says why.
    :param stop_reason: None: as the answer implies. `refusal` without an answer has no content.
    :param stop_sequence: the stop sequence that ended the answer; None: none.
    :param stop_details: details of a refusal; None: a refusal without a category.
    :param usage: members of the answer's usage that differ from the usual estimate.
    :param error_type: type of the error (`outcome="errored"`); None: `api_error`.
    :param error_message: None: the API's usual message for the type.
    :param error_details: the error's `details`; None: none.
    :param delay: seconds by which the batch ends later; a request that is later than 24 hours expires.
    :raises ValueError: for a value that is not allowed, with the name of its field.
    """

    custom_id: str = "*"
    model: str = "*"
    text: str | None = None
    where: Where | None = None
    share: float = 1.0
    times: int | None = None
    times_per_id: int | None = None
    outcome: Outcome = "succeeded"
    answer: Answer | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_details: Mapping[str, Any] | None = None
    delay: float = 0.0

    def __post_init__(self) -> None:
        for field, fault in _CHECKS.items():
            if (text := fault(self)) is not None:
                raise ValueError(f"{field}: {text}")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults; functions by name."""
        values = {field: getattr(self, field) for field in self.__struct_fields__}
        defaults = dict(zip(self.__struct_fields__, self.__struct_defaults__, strict=True))
        changed = {field: value for field, value in values.items() if value != defaults[field]}
        return {field: named(value) if callable(value) else value for field, value in changed.items()}


def named(function: Callable[..., Any]) -> str:
    """Name a function for a person."""
    return f"function {getattr(function, '__qualname__', function)}"


def _count(field: str) -> Callable[[Rule], str | None]:
    def fault(rule: Rule) -> str | None:
        value = getattr(rule, field)
        return None if value is None or value >= 1 else f"1 or more, not {value}"

    return fault


def _only_with(outcomes: tuple[str, ...], field: str) -> Callable[[Rule], str | None]:
    def fault(rule: Rule) -> str | None:
        if getattr(rule, field) is None or rule.outcome in outcomes:
            return None
        return f"only with the outcome {' or '.join(outcomes)}, not {rule.outcome}"

    return fault


def _answer(rule: Rule) -> str | None:
    if rule.answer is not None and not callable(rule.answer):
        return answer_fault(rule.answer) or _only_with(("succeeded",), "answer")(rule)
    return _only_with(("succeeded",), "answer")(rule)


def _where(rule: Rule) -> str | None:
    where: Any = rule.where
    return None if where is None or callable(where) else "a function, not in JSON"


_CHECKS: Final[Mapping[str, Callable[[Rule], str | None]]] = {
    "custom_id": lambda rule: None if rule.custom_id else "an id or a pattern, not empty",
    "model": lambda rule: None if rule.model else "a model or a pattern, not empty",
    "text": lambda rule: "a text, not empty" if rule.text == "" else None,
    "where": _where,
    "share": lambda rule: None if 0 <= rule.share <= 1 else f"between 0 and 1, not {rule.share}",
    "times": _count("times"),
    "times_per_id": _count("times_per_id"),
    "answer": _answer,
    "stop_reason": _only_with(("succeeded", "invalid_output"), "stop_reason"),
    "stop_sequence": _only_with(("succeeded", "invalid_output"), "stop_sequence"),
    "stop_details": _only_with(("succeeded", "invalid_output"), "stop_details"),
    "usage": _only_with(("succeeded", "invalid_output"), "usage"),
    "error_type": _only_with(("errored",), "error_type"),
    "error_message": _only_with(("errored",), "error_message"),
    "error_details": _only_with(("errored",), "error_details"),
    "delay": lambda rule: None if rule.delay >= 0 else f"0 or more seconds, not {rule.delay}",
}
"""Field -> what is wrong with it. Types are checked by msgspec where rules come from JSON."""
