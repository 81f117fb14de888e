"""A decision applied to a request: the line that it gets instead of the usual one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from airflow_batches.emulator import ids
from airflow_batches.emulator.answers import single_result
from airflow_batches.emulator.cache import CacheUse
from airflow_batches.emulator.content import REFUSED, Prompt, answer, refusal, with_cache
from airflow_batches.emulator.decisions import Decision
from airflow_batches.emulator.errors import MESSAGES
from airflow_batches.emulator.given import Given, is_message
from airflow_batches.emulator.lines import CheckedLine, LineOutcome, Shape
from airflow_batches.emulator.rules import Rule
from airflow_batches.emulator.supplied import given_blocks, given_json, given_text, invalid_answer

UNANSWERED: Final[Mapping[str, LineOutcome]] = {
    "errored": LineOutcome.ERRORED,
    "expired": LineOutcome.EXPIRED,
    "canceled": LineOutcome.CANCELED,
}


def ruled_line(decision: Decision, prompt: Prompt, custom_id: str, cached: CacheUse) -> CheckedLine:
    """Return the line of a request that a rule applies to."""
    rule, given = decision
    if rule.outcome in UNANSWERED:
        shape = _error(rule) if rule.outcome == "errored" else Shape()
        return CheckedLine(shape, b"", prompt.tokens, UNANSWERED[rule.outcome])
    line = with_cache(_answered(rule, given, prompt, custom_id), cached)
    line = msgspec.structs.replace(line, shape=_stopped(rule, line.shape))
    message = given if isinstance(given, Mapping) and is_message(given) else {}
    members = {name: value for name, value in message.items() if name != "content"}
    return _with_members(line, members, rule.usage or {}) if members or rule.usage else line


def _error(rule: Rule) -> Shape:
    kind = rule.error_type or "api_error"
    message = rule.error_message
    return Shape(
        error_type=kind,
        error_message=MESSAGES.get(kind, "Internal server error") if message is None else message,
        error_details="" if rule.error_details is None else msgspec.json.encode(rule.error_details).decode(),
        ran=True,
    )


def _answered(rule: Rule, given: Given | None, prompt: Prompt, custom_id: str) -> CheckedLine:
    if rule.outcome == "invalid_output" and prompt.plan.schema is not None:
        return invalid_answer(prompt, custom_id, rule.stop_reason)
    if isinstance(given, Mapping) and not is_message(given):
        return given_json(prompt, msgspec.json.encode(given).decode())
    content = given.get("content") if isinstance(given, Mapping) else given
    if isinstance(content, str):
        return given_text(prompt, content)
    if content is not None:
        return given_blocks(prompt, content)
    return refusal(prompt, REFUSED) if rule.stop_reason == "refusal" else answer(prompt, custom_id)


def _stopped(rule: Rule, shape: Shape) -> Shape:
    """Return the shape with the rule's stop reason, sequence and details."""
    details = None if rule.stop_details is None else msgspec.json.encode(rule.stop_details).decode()
    if rule.stop_reason == "refusal" and details is None:
        details = REFUSED
    changes = {"stop_reason": rule.stop_reason, "stop_sequence": rule.stop_sequence, "stop_details": details}
    return msgspec.structs.replace(shape, **{name: value for name, value in changes.items() if value is not None})


def _with_members(line: CheckedLine, members: Mapping[str, Any], usage: Mapping[str, Any]) -> CheckedLine:
    """Return the line as a whole result, with members of the message and its usage replaced."""
    result = single_result(line, ids.base58(22))
    message = result["message"]
    message |= {**members, "usage": message["usage"] | members.get("usage", {}) | usage}
    shape = msgspec.structs.replace(line.shape, kind="result")
    return msgspec.structs.replace(line, shape=shape, text=msgspec.json.encode(result))
