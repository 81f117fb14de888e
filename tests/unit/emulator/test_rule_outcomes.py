"""What the requests get that a rule applies to."""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]
import pytest

from airflow_batches.emulator import Rule
from airflow_batches.emulator.given import Request
from tests.unit.emulator.client import Client, line, lines
from tests.unit.emulator.conftest import Start
from tests.unit.emulator.test_result_lines import MESSAGE_KEYS, SCHEMA, USAGE_KEYS

FORMAT: Final = {"format": {"type": "json_schema", "schema": SCHEMA}}
DAY: Final = 24 * 3600


def result(client: Client, **params: Any) -> dict[str, Any]:
    return client.outcome([line("row", **params)])["row"]


def message(client: Client, **params: Any) -> dict[str, Any]:
    answered = result(client, **params)["message"]
    assert list(answered) == MESSAGE_KEYS
    assert list(answered["usage"])[: len(USAGE_KEYS)] == USAGE_KEYS
    return dict(answered)


def test_text_is_sent_as_given_and_never_cut(start_kept: Start) -> None:
    said = 'percent %b quote " newline \n and \u2028, longer than max_tokens'
    _, client = start_kept(rules=[Rule(answer=said)], answer_chars=5)
    answered = message(client, max_tokens=2)
    assert answered["content"] == [{"type": "text", "text": said}]
    assert answered["stop_reason"] == "end_turn"


def test_text_follows_the_models_thinking_and_blocks_replace_it(start: Start) -> None:
    blocks = [{"type": "tool_use", "id": "toolu_x", "name": "look", "input": {}}]
    _, client = start(rules=[Rule(custom_id="row", answer="x", times=1), Rule(answer=blocks)])
    assert [b["type"] for b in message(client, model="claude-opus-5")["content"]] == ["thinking", "text"]
    answered = message(client, model="claude-opus-5")
    assert answered["content"] == blocks
    assert answered["stop_reason"] == "tool_use"
    assert answered["usage"]["output_tokens_details"] == {"thinking_tokens": 0}


def test_a_message_takes_the_members_that_are_given(start_kept: Start) -> None:
    usage = {"output_tokens": 7, "speed": "fast"}
    given = {"type": "message", "id": "msg_mine", "model": "claude-x", "content": [], "usage": usage}
    _, client = start_kept(rules=[Rule(answer=given, stop_reason="pause_turn", usage={"input_tokens": 3})])
    answered = message(client)
    assert (answered["id"], answered["model"], answered["content"]) == ("msg_mine", "claude-x", [])
    assert answered["stop_reason"] == "pause_turn"
    assert (answered["usage"]["input_tokens"], answered["usage"]["output_tokens"]) == (3, 7)
    assert (answered["usage"]["speed"], answered["usage"]["service_tier"]) == ("fast", "batch")


def test_an_answer_can_be_computed(start: Start) -> None:
    def sentiment(request: Request) -> str:
        return f"{request['custom_id']}: {request['params']['messages'][0]['content'].upper()}"

    _, client = start(rules=[Rule(answer=sentiment)])
    assert message(client)["content"][0]["text"] == "row: HELLO"


def test_usage_alone_keeps_the_answer_and_is_the_same_on_every_read(start_kept: Start) -> None:
    _, client = start_kept(rules=[Rule(usage={"output_tokens": 1_000_000})])
    batch = client.made(lines(3))
    first = client.read(batch)
    assert first == client.read(batch)
    assert {r["message"]["usage"]["output_tokens"] for r in first.values()} == {1_000_000}
    assert {r["message"]["content"][0]["text"] for r in first.values()} == {"Echo: Hello"}
    assert len({r["message"]["id"] for r in first.values()}) == 3


def test_stop_reason_and_stop_sequence_are_sent_as_given(start: Start) -> None:
    _, client = start(rules=[Rule(stop_reason="stop_sequence", stop_sequence="END")])
    answered = message(client)
    assert (answered["stop_reason"], answered["stop_sequence"]) == ("stop_sequence", "END")


def test_a_refusal_has_details_and_no_content_unless_given(start: Start) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    rules = [
        Rule(custom_id="bare", stop_reason="refusal"),
        Rule(custom_id="told", stop_reason="refusal", stop_details=details),
        Rule(custom_id="text", stop_reason="refusal", answer="I cannot"),
    ]
    _, client = start(rules=rules)
    found = {i: r["message"] for i, r in client.outcome([line("bare"), line("told"), line("text")]).items()}
    assert {m["stop_reason"] for m in found.values()} == {"refusal"}
    assert found["bare"]["stop_details"] == {"type": "refusal", "category": None, "explanation": None}
    assert found["told"]["stop_details"] == details
    assert [len(found[i]["content"]) for i in ("bare", "told", "text")] == [0, 0, 1]
    assert found["bare"]["usage"]["output_tokens"] == 0


def test_errors_have_the_type_message_and_details_given(start_kept: Start) -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    rules = [
        Rule(custom_id="usual", outcome="errored", error_type="overloaded_error"),
        Rule(outcome="errored", error_type="rate_limit_error", error_message="Slow %d", error_details=details),
    ]
    _, client = start_kept(rules=rules)
    found = client.outcome([line("usual"), line("told")])
    assert found["usual"]["error"]["error"] == {"details": None, "type": "overloaded_error", "message": "Overloaded"}
    assert found["told"]["error"]["error"] == {"details": details, "type": "rate_limit_error", "message": "Slow %d"}
    assert found["told"]["error"]["request_id"].startswith("workerreq_01")


@pytest.mark.parametrize("outcome", ["expired", "canceled"])
def test_lines_can_end_unanswered(outcome: Any, start_kept: Start) -> None:
    _, client = start_kept(rules=[Rule(custom_id="row-1", outcome=outcome)])
    batch = client.made(lines(3))
    counts = {name: count for name, count in client.get(batch).json()["request_counts"].items() if count}
    assert counts == {"succeeded": 2, outcome: 1}
    assert client.read(batch)["row-1"] == {"type": outcome}


def test_incremental_counts_hold_what_rules_canceled(start: Start) -> None:
    rules = [Rule(custom_id="row-0", outcome="canceled")]
    emulator, client = start(rules=rules, processing_time=100, incremental_counts=True)
    batch = client.made(lines(2))
    emulator.clock.advance(50)
    counts = client.get(batch).json()["request_counts"]
    assert (counts["processing"], counts["canceled"], counts["succeeded"]) == (1, 1, 0)
    client.cancel(batch)
    emulator.clock.advance(1)
    assert client.get(batch).json()["request_counts"]["canceled"] == 2


def test_invalid_output_does_not_match_the_schema_asked_for(start: Start) -> None:
    _, client = start(rules=[Rule(outcome="invalid_output", stop_reason="end_turn")])
    asked = [line(f"row-{n}", output_config=FORMAT) for n in range(5)]
    for answered in client.outcome(asked).values():
        value = json.loads(answered["message"]["content"][0]["text"])
        assert answered["message"]["stop_reason"] == "end_turn"
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, SCHEMA)


def test_a_forced_tool_gets_an_invalid_input_too(start: Start) -> None:
    _, client = start(invalid_output_share=1)
    tool = {"name": "save", "input_schema": SCHEMA}
    (block,) = message(client, tools=[tool], tool_choice={"type": "any"})["content"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(block["input"], SCHEMA)


def test_without_a_schema_invalid_output_is_the_usual_answer(start: Start) -> None:
    _, client = start(rules=[Rule(outcome="invalid_output")])
    assert message(client)["content"][0]["text"] == "Echo: Hello"


def test_a_share_of_invalid_outputs_is_a_setting(start: Start) -> None:
    _, client = start(invalid_output_share=0.5)
    found = client.outcome([line(f"row-{n}", output_config=FORMAT) for n in range(200)])
    valid = jsonschema.Draft202012Validator(SCHEMA)
    texts = [r["message"]["content"][0]["text"] for r in found.values() if r["message"]["stop_reason"] == "end_turn"]
    matching = sum(valid.is_valid(json.loads(text)) for text in texts)
    assert 70 < matching < 130
    assert 30 < len(texts) - matching < 70
    assert 30 < 200 - len(texts) < 70


def test_invalid_output_can_be_json_that_max_tokens_cuts_off(start: Start) -> None:
    _, client = start(rules=[Rule(outcome="invalid_output", stop_reason="max_tokens")])
    for answered in client.outcome([line(f"row-{n}", output_config=FORMAT) for n in range(5)]).values():
        assert answered["message"]["stop_reason"] == "max_tokens"
        assert answered["message"]["usage"]["output_tokens"] == 1024
        text = answered["message"]["content"][0]["text"]
        assert text.startswith("{")
        with pytest.raises(ValueError, match="line 1"):
            json.loads(text)


def test_a_delay_ends_the_batch_later(start: Start) -> None:
    emulator, client = start(rules=[Rule(custom_id="row-1", delay=600), Rule(custom_id="row-0", delay=60)])
    quick, slow = client.made([line("else")]), client.made(lines(2))
    assert client.get(quick).json()["processing_status"] == "ended"
    emulator.clock.advance(599)
    assert client.get(slow).json()["processing_status"] == "in_progress"
    emulator.clock.advance(1)
    assert {r["type"] for r in client.read(slow).values()} == {"succeeded"}


def test_a_line_later_than_a_day_expires_alone(start: Start) -> None:
    emulator, client = start(rules=[Rule(custom_id="row-1", delay=DAY + 1)], processing_time=60)
    batch = client.made(lines(3))
    emulator.clock.advance(DAY - 1)
    assert client.get(batch).json()["processing_status"] == "in_progress"
    emulator.clock.advance(1)
    assert {i: r["type"] for i, r in client.read(batch).items()} == {
        "row-0": "succeeded",
        "row-1": "expired",
        "row-2": "succeeded",
    }
