"""Lines with answers that a rule supplies: what the user gave, or what does not match the schema asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from airflow_batches.emulator.content import AnswerPlan, Prompt, counted, instance, json_text
from airflow_batches.emulator.examples import mismatch
from airflow_batches.emulator.lines import CheckedLine, LineOutcome, Shape
from airflow_batches.emulator.tokens import PER_ANSWER, count_content


def given_text(prompt: Prompt, text: str) -> CheckedLine:
    """Answer with this text, after the model's thinking; it is never cut."""
    output = counted(text, prompt.plan)
    return CheckedLine(_text_shape(prompt.plan), json_text(text), prompt.tokens, LineOutcome.SUCCEEDED, output)


def given_json(prompt: Prompt, json: str) -> CheckedLine:
    """Answer with this JSON: as the input of the tool that is forced, or as text."""
    plan = prompt.plan
    if plan.shape.kind != "tool":
        return given_text(prompt, json)
    return CheckedLine(plan.shape, json.encode(), prompt.tokens, LineOutcome.SUCCEEDED, counted(json, plan))


def given_blocks(prompt: Prompt, blocks: Sequence[Mapping[str, Any]]) -> CheckedLine:
    """Answer with these content blocks and no others."""
    stop = "tool_use" if any(block.get("type") == "tool_use" for block in blocks) else "end_turn"
    shape = msgspec.structs.replace(
        prompt.plan.shape, kind="content", thinking=None, thinking_tokens=0, stop_reason=stop
    )
    output = PER_ANSWER + round(count_content(blocks) * prompt.plan.factor)
    return CheckedLine(shape, msgspec.json.encode(blocks)[1:-1], prompt.tokens, LineOutcome.SUCCEEDED, output)


def invalid_answer(prompt: Prompt, custom_id: str, stop_reason: str | None) -> CheckedLine:
    """Answer a request with a schema with what does not match it.

    :param stop_reason: `max_tokens`: with JSON that is cut off; another one: with JSON that does not match the schema;
        None: one of both, by `custom_id`. The input of a forced tool is never cut: the API sends no broken JSON there.
    """
    plan = prompt.plan
    pick = sum(custom_id.encode())
    cut = stop_reason == "max_tokens" or (stop_reason is None and pick % 2 == 1)
    text = None if cut and plan.shape.kind != "tool" else mismatch(plan.schema, pick)
    return _cut(prompt, custom_id) if text is None else given_json(prompt, text)


def _cut(prompt: Prompt, custom_id: str) -> CheckedLine:
    """Answer with the first half of an instance of the schema."""
    text, plan = instance(prompt.plan, custom_id), prompt.plan
    shape = msgspec.structs.replace(_text_shape(plan), stop_reason="max_tokens")
    half = text[: len(text) // 2] if text[0] in '{["' else ""
    return CheckedLine(shape, json_text(half), prompt.tokens, LineOutcome.SUCCEEDED, shape.max_tokens)


def _text_shape(plan: AnswerPlan) -> Shape:
    return msgspec.structs.replace(plan.shape, kind="text", tool="", stop_reason="end_turn")
