"""Content as models send it: thinking, refusals, tools, stop sequences, max_tokens."""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]
import pytest

from airflow_batches.emulator.content import REFUSAL_TRIGGER
from tests.unit.emulator.client import Client, line
from tests.unit.emulator.conftest import Start
from tests.unit.emulator.test_result_lines import SCHEMA

OPUS: Final = "claude-opus-5"
FORMAT: Final = {"format": {"type": "json_schema", "schema": SCHEMA}}


def message(client: Client, **params: Any) -> dict[str, Any]:
    return dict(client.outcome([line("row", **params)])["row"]["message"])


def kinds(answered: dict[str, Any]) -> list[str]:
    return [block["type"] for block in answered["content"]]


def thinking_tokens(answered: dict[str, Any]) -> int:
    return int(answered["usage"]["output_tokens_details"]["thinking_tokens"])


def asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"model": OPUS}, ""),
        ({"model": "claude-haiku-5-5"}, ""),
        ({"model": OPUS, "thinking": {"type": "disabled"}}, None),
        ({"model": OPUS, "thinking": {"type": "adaptive", "display": "summarized"}}, "The question"),
        ({"model": "claude-opus-4-8"}, None),
        ({"model": "claude-opus-4-8", "thinking": {"type": "adaptive"}}, ""),
        ({"model": "claude-haiku-4-5"}, None),
        (
            {"model": "claude-haiku-4-5", "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048},
            "The",
        ),
    ],
)
def test_models_think_unasked_or_when_asked(params: dict[str, Any], expected: str | None, start: Start) -> None:
    _, client = start()
    answered = message(client, **params)
    if expected is None:
        assert kinds(answered) == ["text"]
        assert answered["usage"].get("output_tokens_details", {}).get("thinking_tokens", 0) == 0
        return
    assert kinds(answered) == ["thinking", "text"]
    assert list(answered["content"][0]) == ["type", "thinking", "signature"]
    assert answered["content"][0]["signature"]
    assert answered["content"][0]["thinking"].startswith(expected)
    assert bool(answered["content"][0]["thinking"]) == bool(expected)


def test_thinking_tokens_are_output_tokens(start: Start) -> None:
    _, client = start()
    thinks, silent = message(client, model=OPUS), message(client, model=OPUS, thinking={"type": "disabled"})
    assert thinking_tokens(thinks) == 10
    assert thinks["usage"]["output_tokens"] == silent["usage"]["output_tokens"] + 10
    assert thinking_tokens(message(client, model=OPUS, output_config=FORMAT)) == 54


def test_thinking_can_spend_all_of_max_tokens(start_kept: Start) -> None:
    _, client = start_kept()
    answered = message(client, model=OPUS, max_tokens=5)
    assert kinds(answered) == ["thinking"]
    assert answered["stop_reason"] == "max_tokens"
    assert (answered["usage"]["output_tokens"], thinking_tokens(answered)) == (5, 5)


def test_what_thinking_leaves_of_max_tokens_cuts_the_text(start: Start) -> None:
    _, client = start()
    answered = message(client, model=OPUS, max_tokens=12, messages=asked("a long question"))
    assert kinds(answered) == ["thinking", "text"]
    assert answered["content"][1]["text"] == "Echo: a "
    assert (answered["stop_reason"], answered["usage"]["output_tokens"]) == ("max_tokens", 12)


def test_answers_of_a_given_length_follow_thinking_too(start: Start) -> None:
    _, client = start(answer_chars=40)
    answered = message(client, model=OPUS)
    assert [len(answered["content"][1]["text"]), thinking_tokens(answered)] == [40, 10]
    assert json.loads(message(client, output_config=FORMAT)["content"][0]["text"])["label"]


def test_the_documented_trigger_is_refused(start_kept: Start) -> None:
    _, client = start_kept()
    answered = message(client, model=OPUS, messages=asked(REFUSAL_TRIGGER))
    assert (answered["content"], answered["stop_reason"]) == ([], "refusal")
    assert answered["stop_details"] == {"type": "refusal", "category": None, "explanation": None}
    assert answered["usage"]["output_tokens"] == 0


@pytest.mark.parametrize(
    ("sequences", "text", "found"),
    [
        (["seven", "two"], "Echo: one ", "two"),
        (["E"], "", "E"),
        (["not in it"], "Echo: one two seven", None),
        ([], "Echo: one two seven", None),
    ],
)
def test_a_stop_sequence_ends_the_answer(sequences: list[str], text: str, found: str | None, start: Start) -> None:
    _, client = start()
    answered = message(client, stop_sequences=sequences, messages=asked("one two seven"))
    assert answered["content"][0]["text"] == text
    assert (answered["stop_reason"], answered["stop_sequence"]) == ("stop_sequence" if found else "end_turn", found)


TOOLS: Final = [{"name": name, "input_schema": SCHEMA} for name in ("save_label", "send_mail", "other")]


@pytest.mark.parametrize(
    ("question", "more", "names"),
    [
        ("Please save_label this.", {}, ["save_label"]),
        ("First send_mail, then save_label.", {}, ["save_label", "send_mail"]),
        (
            "First send_mail, then save_label.",
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            ["save_label"],
        ),
        ("Please save_label this.", {"tool_choice": {"type": "none"}}, []),
        ("What is this?", {}, []),
    ],
)
def test_tools_on_offer_are_used_when_the_question_names_them(
    question: str, more: dict[str, Any], names: list[str], start_kept: Start
) -> None:
    _, client = start_kept()
    batch = client.made([line("row", model=OPUS, tools=TOOLS, messages=asked(question), **more)])
    answered = client.read(batch)["row"]["message"]
    uses = [block for block in answered["content"] if block["type"] == "tool_use"]
    assert [use["name"] for use in uses] == names
    assert answered["stop_reason"] == ("tool_use" if names else "end_turn")
    assert kinds(answered)[0] == "thinking"
    assert len({use["id"] for use in uses}) == len(uses)
    for use in uses:
        assert use["caller"] == {"type": "direct"}
        jsonschema.validate(use["input"], SCHEMA)
    assert client.read(batch)["row"]["message"] == answered


def test_a_tool_result_gets_text(start: Start) -> None:
    _, client = start()
    use = {"type": "tool_use", "id": "toolu_1", "name": "save_label", "input": {}}
    turns = [
        *asked("Please save_label this."),
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "saved"}]},
    ]
    assert kinds(message(client, tools=TOOLS, messages=turns)) == ["text"]


def test_input_tokens_are_those_of_the_prompt_not_of_its_json(start: Start) -> None:
    _, client = start()
    plain = message(client)["usage"]["input_tokens"]
    padded = message(client, metadata={"user_id": "x" * 200})["usage"]["input_tokens"]
    blocks = message(client, messages=[{"role": "user", "content": [{"type": "text", "text": "Hello"}]}])
    assert plain == padded == blocks["usage"]["input_tokens"] == 9
    assert message(client, system="Be brief, please.")["usage"]["input_tokens"] > plain
