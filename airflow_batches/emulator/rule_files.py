"""Rules from JSON: a file of rules, a file of answers, the body of a control call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from airflow_batches.emulator.rules import Rule

_MEMBERS: Final = """\
rules: a JSON object a line; the first one that applies to a request decides. Members, all of them optional:
  custom_id      an id, or a pattern with *, ? and [...]; model: the same for the model
  text           text that the system prompt or a message holds
  share          share (0 to 1) of these requests; shares of several rules add up
  times          number of requests until the rule is exhausted; times_per_id: the same for each custom_id
  outcome        succeeded, errored, expired, canceled, or invalid_output: JSON that does not match the schema
                 (with the stop_reason max_tokens: JSON that is cut off)
  answer         text, an object (JSON for output_config.format), a list of content blocks, or the API's own
                 {"type": "message", ...} or {"type": "error", "error": {"type": "overloaded_error"}}
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
_ANSWERS: Final = """
answers: rules with an answer, and nothing else but custom_id, model and text. They are the usual answers: they follow
  the rules and the shares, and answer where these leave it to them. Example:
"""
ANSWER_EXAMPLES: Final = """\
{"custom_id": "row-7", "answer": {"label": "positive", "score": 0.9}}
{"text": "refund", "model": "claude-haiku-*", "answer": {"label": "negative", "score": 0.1}}
{"answer": {"label": "neutral", "score": 0.5}}
"""
"""A file of answers."""


def _indented(lines: str) -> str:
    return "".join(f"  {line}\n" for line in lines.splitlines())


RULES_HELP: Final = _MEMBERS + _indented(EXAMPLES) + _ANSWERS + _indented(ANSWER_EXAMPLES)
"""The description of both kinds of files for `--help`."""
ANSWER_FIELDS: Final = ("custom_id", "model", "text", "where", "answer")
"""What a rule among the answers can say."""

Check = Callable[[Rule], str | None]
"""Returns why a rule is none for a file, or None."""


def any_rule(rule: Rule) -> str | None:
    """Accept every rule."""
    return None


def only_answers(rule: Rule) -> str | None:
    """Accept a rule that has an answer, and says nothing else but for which requests."""
    if rule.answer is None:
        return "answer: missing"
    others = [field for field in rule.as_dict() if field not in ANSWER_FIELDS]
    return f"{others[0]}: only a rule has it (--rules), an answer does not" if others else None


def read_rules(data: bytes, source: str = "rules", check: Check = any_rule) -> list[Rule]:
    """Read a rules file: a JSON object a line; blank lines are skipped.

    :param data: its content.
    :param source: its name, for errors.
    :param check: what is accepted beyond what is a rule.
    :raises ValueError: for the first rule that is invalid, with the file's name, the line and the field.
    """
    lines = enumerate(data.splitlines(), 1)
    return [_read(line, f"{source}, line {number}", check) for number, line in lines if line.strip()]


def read_answers(data: bytes, source: str = "answers") -> list[Rule]:
    """Read a file of answers: a rules file of which each rule has an answer.

    :raises ValueError: as `read_rules`.
    """
    return read_rules(data, source, only_answers)


def make_rules(values: Iterable[Any], check: Check = any_rule, label: str = "rule") -> list[Rule]:
    """Make rules from decoded JSON.

    :param values: an object for each rule.
    :param check: as in `read_rules`.
    :param label: what one of them is called in errors.
    :raises ValueError: for the first rule that is invalid, with its number from 1 and the field.
    """
    return [_made(value, f"{label} {number}", check) for number, value in enumerate(values, 1)]


def _read(line: bytes, place: str, check: Check) -> Rule:
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{place}: not a JSON object: {error}") from None
    return _made(value, place, check)


def _made(value: Any, place: str, check: Check) -> Rule:
    try:
        rule = msgspec.convert(value, Rule)
    except msgspec.ValidationError as error:
        raise ValueError(f"{place}: {_located(str(error))}") from None
    if fault := check(rule):
        raise ValueError(f"{place}: {fault}")
    return rule


def _located(message: str) -> str:
    """Change msgspec's `Expected … - at `$.field`` to `field: Expected …`."""
    text, _, path = message.partition(" - at `$.")
    return f"{path.rstrip('`')}: {text}" if path else text
