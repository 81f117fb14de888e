"""What the API refuses in a conversation as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.emulator.client import line, params
from tests.unit.emulator.conftest import Start

USER: dict[str, Any] = {"role": "user", "content": "Hello"}
ANSWER: dict[str, Any] = {"role": "assistant", "content": "Hi"}
MARK = {"cache_control": {"type": "ephemeral"}}
NO_PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."
UNANSWERED = (
    "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block"
    " must have a corresponding `tool_result` block in the next message."
)


def used(*ids: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": i, "name": "n", "input": {}} for i in ids]}


def answered(*ids: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": i, "content": "ok"} for i in ids]}


def marked(count: int) -> list[dict[str, Any]]:
    return [{"type": "text", "text": str(number), **MARK} for number in range(count)]


REFUSED: list[tuple[list[dict[str, Any]], str]] = [
    ([ANSWER, USER], 'messages: first message must use the "user" role'),
    ([USER, ANSWER | {"content": "Hi "}], "messages: final assistant content cannot end with trailing whitespace"),
    (
        [USER, ANSWER | {"content": [{"type": "text", "text": "Hi\n"}]}],
        "messages: final assistant content cannot end with trailing whitespace",
    ),
    ([USER, used("t1"), USER], UNANSWERED.format("t1")),
    ([USER, used("t1", "t2", "t3"), answered("t2")], UNANSWERED.format("t1, t3")),
    ([USER, used("t1")], UNANSWERED.format("t1")),
    (
        [USER, used("t1"), answered("t1", "t2")],
        (
            "messages.2.content.1: unexpected `tool_use_id` found in `tool_result` blocks: t2. Each `tool_result` block"
            " must have a corresponding `tool_use` block in the previous message."
        ),
    ),
    (
        [answered("t1")],
        (
            "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1. Each `tool_result` block"
            " must have a corresponding `tool_use` block in the previous message."
        ),
    ),
    (
        [{"role": "user", "content": marked(5)}],
        "A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
]


@pytest.mark.parametrize(("turns", "message"), REFUSED)
def test_a_conversation_is_refused(turns: list[dict[str, Any]], message: str, start: Start) -> None:
    _, client = start()
    assert client.error(params(messages=turns))["message"] == message


@pytest.mark.parametrize(
    "turns",
    [
        [USER, ANSWER, USER],
        [USER, ANSWER],
        [USER, USER, ANSWER, ANSWER, USER],
        [USER, used("t1"), answered("t1")],
        [USER, used("t1"), answered("t1"), used("t1"), answered("t1"), ANSWER, USER],
        [{"role": "user", "content": marked(4)}],
    ],
)
def test_a_conversation_is_answered(turns: list[dict[str, Any]], start: Start) -> None:
    _, client = start()
    assert client.outcome([line("fine", messages=turns)])["fine"]["type"] == "succeeded"


@pytest.mark.parametrize("model", ["claude-opus-4-6", "claude-sonnet-5", "claude-haiku-5-5"])
@pytest.mark.parametrize("content", ["Hi", [{"type": "text", "text": "Hi"}]], ids=["text", "block"])
def test_newer_models_refuse_a_prefilled_answer(model: str, content: Any, start: Start) -> None:
    _, client = start()
    prefilled = [USER, ANSWER | {"content": content}]
    assert client.error(params(model=model, messages=prefilled))["message"] == NO_PREFILL
    resumed = [USER, ANSWER | {"content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}]}]
    assert client.outcome([line("resumed", model=model, messages=resumed)])["resumed"]["type"] == "succeeded"


def test_breakpoints_of_system_tools_and_results_count_too(start: Start) -> None:
    _, client = start()
    tool = {"name": "n", "input_schema": {"type": "object"}, **MARK}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": marked(1), **MARK}
    turns = [USER, used("t1"), {"role": "user", "content": [result]}]
    asked = params(tools=[tool], system=marked(2), messages=turns)
    message = "A maximum of 4 blocks with cache_control may be provided. Found 5."
    assert client.error(asked)["message"] == message
    asked["system"] = marked(1)
    assert client.outcome([{"custom_id": "fine", "params": asked}])["fine"]["type"] == "succeeded"
