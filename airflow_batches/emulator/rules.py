"""Rules: what happens to which request, as data.

The first rule that applies to a request decides, when its batch is created; a stored batch keeps what was decided.
Rules apply to requests that the API would run: what it refuses stays refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

Block = Mapping[str, Any]
Outcome = Literal["succeeded", "errored", "expired", "canceled", "invalid_output"]

_MEMBERS: Final = """\
rules: a JSON object a line; the first one that applies to a request decides. Members, all of them optional:
  custom_id      an id, or a pattern with *, ? and [...]
  share          share (0 to 1) of these requests; shares of several rules add up
  times          number of requests until the rule is exhausted; times_per_id: the same for each custom_id
  outcome        succeeded, errored, expired, canceled, or invalid_output: JSON that does not match the schema
  answer         text, a list of content blocks, or a message
  stop_reason, stop_sequence, stop_details, usage         members of the message
  error_type, error_message, error_details                the error of the outcome errored
  delay          seconds by which the batch ends later

example:
"""
EXAMPLES: Final = """\
{"custom_id": "row-7", "answer": "positive"}
{"custom_id": "de-*", "answer": [{"type": "text", "text": "gut"}], "usage": {"output_tokens": 900}}
{"custom_id": "long-?", "stop_reason": "max_tokens"}
{"outcome": "errored", "error_type": "overloaded_error", "share": 0.1, "times_per_id": 1}
{"outcome": "invalid_output", "share": 0.05}
{"custom_id": "slow", "delay": 3600}
"""
"""A rules file."""
RULES_HELP: Final = _MEMBERS + "".join(f"  {line}\n" for line in EXAMPLES.splitlines())
"""The description of a rules file for `--help`."""


class RuleRequest(msgspec.Struct, frozen=True):
    """A request that a rule's functions look at.

    :param custom_id: its id in the batch.
    :param params: its params, decoded.
    """

    custom_id: str
    params: Mapping[str, Any]


Given = str | Iterable[Block] | Mapping[str, Any]
"""An answer: text, content blocks, or (parts of) a message."""

if TYPE_CHECKING:
    Answer = Given | Callable[[RuleRequest], Given]
    Where = Callable[[RuleRequest], bool]
else:  # msgspec cannot decode into functions; `_check` says what is wrong.
    Answer = Where = Any


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to the requests that it applies to.

    Pass rules to `Emulator(rules=[…])`, `--rules FILE` (a JSON object a line) or `PUT /_emulator/rules`.

        Emulator(rules=[
            Rule(custom_id="row-7", answer="positive"),
            Rule(where=lambda request: "refund" in str(request.params), stop_reason="refusal"),
            Rule(outcome="errored", share=0.1, times_per_id=1),  # a tenth fails, and succeeds when sent again
        ])

    :param custom_id: an id, or a pattern with `*`, `?` and `[…]`; all ids by default.
    :param where: a function that says whether the rule applies, called if the id matches; not in files.
    :param share: share (0 to 1) of these requests, the same ones for the same `seed`. Rules with shares take their
        requests side by side: 0.1 and 0.2 are 30 % together.
    :param times: number of requests that it applies to until it is exhausted; None: any number.
    :param times_per_id: the same for each custom_id, so that a request sent again gets something else.
    :param outcome: how the request ends. `invalid_output` succeeds with an answer that does not match the schema asked
        for; without a schema, it is the usual answer.
    :param answer: text, content blocks, a message (members left out are as usual), or a function that returns one of
        them; None: the usual answer. It is never cut. Text follows the model's thinking, blocks replace it.
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
        return {field: _named(value) if callable(value) else value for field, value in changed.items()}


def _named(function: Callable[..., Any]) -> str:
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


def answer_fault(given: Any) -> str | None:
    """Return why a value is no answer, or None."""
    if isinstance(given, str):
        return None
    content = given.get("content", "") if isinstance(given, Mapping) else given
    if isinstance(content, str):
        return None
    if isinstance(content, list | tuple) and all(map(_is_block, content)):
        return None
    return f"text, a list of content blocks, or a message, not {str(given)[:80]}"


def _is_block(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)


def _where(rule: Rule) -> str | None:
    where: Any = rule.where
    return None if where is None or callable(where) else "a function, not in JSON"


_CHECKS: Final[Mapping[str, Callable[[Rule], str | None]]] = {
    "custom_id": lambda rule: None if rule.custom_id else "an id or a pattern, not empty",
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


def read_rules(data: bytes) -> list[Rule]:
    """Read a rules file: a JSON object a line; blank lines are skipped.

    :raises ValueError: for the first rule that is invalid, with its number (from 1) and the field.
    """
    lines = [line for line in data.splitlines() if line.strip()]
    return [_read(number, line) for number, line in enumerate(lines, 1)]


def _read(number: int, line: bytes) -> Rule:
    try:
        return make_rules([msgspec.json.decode(line)], number)[0]
    except msgspec.DecodeError as error:
        raise ValueError(f"rule {number}: not a JSON object: {error}") from None


def make_rules(values: Iterable[Any], first: int = 1) -> list[Rule]:
    """Make rules from decoded JSON, numbered from `first`.

    :raises ValueError: for the first rule that is invalid, with its number and the field.
    """
    rules = []
    for number, value in enumerate(values, first):
        try:
            rules.append(msgspec.convert(value, Rule))
        except msgspec.ValidationError as error:
            raise ValueError(f"rule {number}: {_located(str(error))}") from None
    return rules


def _located(message: str) -> str:
    """Change msgspec's `Expected … - at `$.field`` to `field: Expected …`."""
    text, _, path = message.partition(" - at `$.")
    return f"{path.rstrip('`')}: {text}" if path else text
