"""What is wrong with a line's params is told after the end, line by line; the create is a 200."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.emulator.client import MODEL, line, lines, params
from tests.unit.emulator.conftest import Start

TOOLS = [{"name": "save", "input_schema": {"type": "object", "properties": {}}}]
NEW = "2026-10-21"
OLD = "2023-06-01"

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "streaming": (params(stream=True), "`stream=True` is not supported in the Message Batches API"),
    "a stream that is no boolean": (params(stream="yes"), "stream: Input should be a valid boolean"),
    "max_tokens 0": (params(max_tokens=0), "max_tokens: must be greater than or equal to 1"),
    "max_tokens as text": (params(max_tokens="many"), "max_tokens: Input should be a valid integer"),
    "max_tokens true": (params(max_tokens=True), "max_tokens: Input should be a valid integer"),
    "too many max_tokens": (
        params(max_tokens=9999999),
        (
            "max_tokens: 9999999 > 64000, which is the maximum allowed number of output tokens for"
            " claude-haiku-4-5-20251001"
        ),
    ),
    "no max_tokens": (params(max_tokens=None), "max_tokens: Field required"),
    "no messages": (params(messages=None), "messages: Field required"),
    "empty messages": (params(messages=[]), "messages: at least one message is required"),
    "messages that are no list": (params(messages="Hello"), "messages: Input should be a valid list"),
    "a message that is text": (params(messages=["Hello"]), "messages.0: Input should be a valid dictionary"),
    "a role that is a number": (
        params(messages=[{"role": 1, "content": "x"}]),
        "messages.0.role: Input should be a valid string",
    ),
    "a message without role": (params(messages=[{"content": "x"}]), "messages.0.role: Field required"),
    "a message without content": (
        params(messages=[{"role": "user", "content": "x"}, {"role": "assistant"}]),
        "messages.1.content: Field required",
    ),
    "a member of a message": (
        params(messages=[{"role": "user", "content": "x", "name": "Ada"}]),
        "messages.0.name: Extra inputs are not permitted",
    ),
    "no model": (params(model=None), "model: Field required"),
    "a model that is a number": (params(model=5), "model: Input should be a valid string"),
    "a missing tool": (
        params(tools=TOOLS, tool_choice={"type": "tool", "name": "does_not_exist"}),
        "Tool 'does_not_exist' not found in provided tools",
    ),
    "an unknown member": (params(extra_body={}), "extra_body: Extra inputs are not permitted"),
    "a beta member without a beta": (params(mcp_servers=[]), "mcp_servers: Extra inputs are not permitted"),
    "a temperature above 1": (params(temperature=1.5), "temperature: Input should be less than or equal to 1"),
    "a temperature below 0": (params(temperature=-1), "temperature: Input should be greater than or equal to 0"),
    "a top_p above 1": (params(top_p=2), "top_p: Input should be less than or equal to 1"),
    "a top_k below 0": (params(top_k=-1), "top_k: Input should be greater than or equal to 0"),
    "a temperature that is text": (params(temperature="hot"), "temperature: Input should be a valid number"),
    "sampling on the newest models": (
        params(model="claude-opus-5", temperature=1),
        "`temperature` is deprecated for this model.",
    ),
    "fixed thinking on the newest models": (
        params(model="claude-opus-5", thinking={"type": "enabled", "budget_tokens": 2000}),
        (
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and'
            ' "output_config.effort" to control thinking behavior.'
        ),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_line_is_errored_for(what: str, start: Start) -> None:
    _, client = start()
    bad, message = REFUSED[what]
    assert client.error(bad) == {
        "details": {"error_visibility": "user_facing"},
        "type": "invalid_request_error",
        "message": message,
    }


@pytest.mark.parametrize(
    "model",
    [
        "claude-none",
        "gpt-5",
        "claude-3-5-haiku-latest",
        "claude-opus-4-1",
        "claude-haiku-4-5-20990101",
        "claude-opus-5-20260723",
        "",
    ],
)
def test_a_line_with_an_unknown_or_retired_model_is_not_found(model: str, start: Start) -> None:
    _, client = start()
    error = client.error(params(model=model))
    assert (error["type"], error["message"]) == ("not_found_error", f"model: {model}")


def test_the_errored_line_is_the_recorded_one_to_the_byte(start: Start) -> None:
    _, client = start()
    batch = client.made([line("probe-bad", messages=[])])
    assert client.results(batch).text == (
        '{"custom_id":"probe-bad","result":{"type":"errored","error":{"type":"error","error":{"details":'
        '{"error_visibility":"user_facing"},"type":"invalid_request_error","message":'
        '"messages: at least one message is required"},"request_id":null}}}'
    )


@pytest.mark.parametrize("member", ["temperature", "top_p", "top_k"])
def test_the_new_version_knows_no_sampling_parameters(member: str, start: Start) -> None:
    _, client = start()
    asked = params(**{member: 1})
    error = client.error(asked, **{"anthropic-version": NEW})
    assert error["message"] == f"{member}: Extra inputs are not permitted"
    fine = client.outcome([{"custom_id": "old", "params": asked}], **{"anthropic-version": OLD})
    assert fine["old"]["type"] == "succeeded"


CITED = {"type": "text", "text": "As it says.", "citations": [{"type": "char_location", "cited_text": "it"}]}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "It."}}
PLAIN = {"type": "text", "text": "Hello"}
USER = {"role": "user", "content": "Hello"}


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (
            [USER, {"role": "assistant", "content": [PLAIN, DOCUMENT]}, USER],
            "messages.1.content.1.document: Extra inputs are not permitted",
        ),
        (
            [{"role": "user", "content": [CITED]}],
            "messages.0.content.0.text.citations: Extra inputs are not permitted",
        ),
    ],
    ids=["a document of the assistant", "citations of the user"],
)
def test_the_new_version_refuses_blocks_in_turns_that_the_old_one_takes(
    turns: list[dict[str, Any]], message: str, start: Start
) -> None:
    _, client = start()
    asked = {"custom_id": "only", "params": params(messages=turns)}
    refused = client.outcome([asked], **{"anthropic-version": NEW})["only"]
    assert refused["error"]["error"]["type"] == "invalid_request_error"
    assert refused["error"]["error"]["message"] == message
    assert refused["error"]["request_id"] is None
    for version in ({"anthropic-version": OLD}, {}):
        assert client.outcome([asked], **version)["only"]["type"] == "succeeded"


@pytest.mark.parametrize(
    "content",
    [
        [DOCUMENT, PLAIN],
        [PLAIN | {"citations": None}, PLAIN | {"citations": []}],
        [DOCUMENT | {"citations": {"enabled": True}}],
        "document",
    ],
    ids=["a document", "no citations", "a document to be cited", "text"],
)
def test_the_new_version_takes_from_the_user(content: Any, start: Start) -> None:
    _, client = start()
    asked = line("fine", messages=[{"role": "user", "content": content}, {"role": "assistant", "content": [CITED]}])
    assert client.outcome([asked], **{"anthropic-version": NEW})["fine"]["type"] == "succeeded"


EMPTY = "all messages must have non-empty content except for the optional final assistant message"
NO_TEXT = "messages: text content blocks must be non-empty"
BLANK = "messages: text content blocks must contain non-whitespace text"


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", f"messages.0: {EMPTY}"),
        ([], f"messages.0: {EMPTY}"),
        (" \n", BLANK),
        ([PLAIN, {"type": "text", "text": ""}], NO_TEXT),
        ([{"type": "text", "text": " "}], BLANK),
        (None, "messages.0.content: Input should be a valid list"),
        (5, "messages.0.content: Input should be a valid list"),
        ({"type": "text"}, "messages.0.content: Input should be a valid list"),
        (["Hello"], "messages: Input should be a valid dictionary"),
    ],
)
def test_content_that_says_nothing_is_refused(content: Any, message: str, version: str, start: Start) -> None:
    _, client = start()
    bad = params(messages=[{"role": "user", "content": content}, {"role": "assistant", "content": ""}])
    assert client.error(bad, **{"anthropic-version": version})["message"] == message


@pytest.mark.parametrize("content", ["", []])
def test_only_a_final_turn_of_the_assistant_may_be_empty(content: Any, start: Start) -> None:
    _, client = start()
    empty = {"role": "assistant", "content": content}
    assert client.outcome([line("fine", messages=[USER, empty])])["fine"]["type"] == "succeeded"
    assert client.error(params(messages=[USER, empty, USER]))["message"] == f"messages.1: {EMPTY}"


@pytest.mark.parametrize(
    ("turns", "model", "message"),
    [
        (
            [{"role": "tool", "content": "x"}],
            MODEL,
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        ([{"role": "system", "content": "x"}, USER], MODEL, "role 'system' is not supported on this model"),
        (
            [{"role": "system", "content": "x"}, USER],
            "claude-opus-5",
            "messages.0: role 'system' must precede an 'assistant' message or end the array",
        ),
    ],
)
def test_a_role_is_one_that_the_model_takes(
    turns: list[dict[str, Any]], model: str, message: str, start: Start
) -> None:
    _, client = start()
    assert client.error(params(messages=turns, model=model))["message"] == message


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (" ", "system: text content blocks must contain non-whitespace text"),
        ([{"type": "text", "text": ""}], "system: text content blocks must be non-empty"),
        (5, "system: Input should be a valid list"),
    ],
)
def test_a_system_prompt_says_something(system: Any, message: str, start: Start) -> None:
    _, client = start()
    assert client.error(params(system=system))["message"] == message


@pytest.mark.parametrize(
    "fine",
    [
        {"stream": False},
        {"temperature": 0},
        {"system": "Be brief.", "stop_sequences": ["."], "metadata": {"user_id": "u"}},
        {"max_tokens": 64_000},
        {"model": "claude-haiku-4-5-20251001"},
        {"model": "claude-opus-5", "max_tokens": 128_000, "thinking": {"type": "adaptive"}},
        {"tools": TOOLS, "tool_choice": {"type": "auto"}},
        {"tools": TOOLS, "tool_choice": {"type": "tool", "name": "save"}},
    ],
    ids=str,
)
def test_a_line_is_answered_with(fine: dict[str, Any], start: Start) -> None:
    _, client = start()
    assert client.outcome([line("fine", **fine)])["fine"]["type"] == "succeeded"


def test_the_long_output_beta_of_the_call_holds_for_every_line(start: Start) -> None:
    _, client = start()
    asked = lines(2, model="claude-opus-5", max_tokens=300_000)
    short = client.outcome(asked)
    assert {result["type"] for result in short.values()} == {"errored"}
    long = client.outcome(asked, **{"anthropic-beta": "context-1m-2025-08-07, output-300k-2026-03-24"})
    assert {result["type"] for result in long.values()} == {"succeeded"}


@pytest.mark.parametrize(
    "bad",
    [{"speed": "fast"}, {"billing_policy": {"bill_to": "user_profile"}}, {"user_profile_id": "uprof_other"}],
    ids=str,
)
def test_what_the_docs_rule_out_of_batches_is_errored(bad: dict[str, Any], start: Start) -> None:
    _, client = start()
    headers = {"anthropic-beta": "some-beta", "anthropic-user-profile-id": "uprof_own"}
    assert client.error(params(**bad), **headers)["type"] == "invalid_request_error"


def test_further_model_names_can_be_made_known(start: Start) -> None:
    _, client = start(models=["in-house-model"])
    assert client.outcome([line("own", model="in-house-model")])["own"]["message"]["model"] == "in-house-model"


def test_good_and_bad_lines_stand_side_by_side(start_kept: Start) -> None:
    _, client = start_kept()
    outcome = client.outcome([line("a"), line("b", stream=True), line("c", model="nope"), line("d")])
    assert {custom_id: result["type"] for custom_id, result in outcome.items()} == {
        "a": "succeeded",
        "b": "errored",
        "c": "errored",
        "d": "succeeded",
    }
    batch = client.list().json()["data"][0]
    assert batch["request_counts"] == {"processing": 0, "succeeded": 2, "errored": 2, "canceled": 0, "expired": 0}


def test_errored_and_expired_shares_fall_on_the_same_lines_again(start: Start) -> None:
    emulator, client = start(errored_share=0.3, expired_share=0.2)
    first, second = client.outcome(lines(2000)), client.outcome(reversed(lines(2000)))
    types = {custom_id: result["type"] for custom_id, result in first.items()}
    assert types == {custom_id: result["type"] for custom_id, result in second.items()}
    counts = client.list().json()["data"][0]["request_counts"]
    assert abs(counts["errored"] - 600) < 100
    assert abs(counts["expired"] - 400) < 100
    emulator.settings.seed = 1
    assert types != {custom_id: result["type"] for custom_id, result in client.outcome(lines(2000)).items()}


def test_a_line_that_fails_while_running_has_a_worker_request_id(start: Start) -> None:
    _, client = start(errored_share=1)
    result = client.outcome([line("a")])["a"]
    assert result["error"]["request_id"].startswith("workerreq_01")
    assert len(result["error"]["request_id"]) == 34
    assert result["error"]["error"] == {"details": None, "type": "api_error", "message": "Internal server error"}


def test_an_empty_credit_balance_fails_every_line_after_a_200(start: Start) -> None:
    message = "Your credit balance is too low to access the Anthropic API."
    _, client = start(errored_share=1, errored_type="invalid_request_error", errored_message=message)
    outcome = client.outcome(lines(50))
    assert {json.dumps(r["error"]["error"]) for r in outcome.values()} == {
        json.dumps({"details": None, "type": "invalid_request_error", "message": message})
    }


def test_lines_refused_anyway_are_not_counted_into_the_shares(start: Start) -> None:
    _, client = start(expired_share=1)
    outcome = client.outcome([line("bad", stream=True), line("good")])
    assert outcome["good"] == {"type": "expired"}
    assert outcome["bad"]["type"] == "errored"


def test_the_alias_of_a_model_is_answered_by_its_dated_name(start: Start) -> None:
    _, client = start()
    assert client.outcome([line("a", model=MODEL)])["a"]["message"]["model"] == "claude-haiku-4-5-20251001"


def test_lines_that_share_nothing_are_judged_each_by_itself(start: Start) -> None:
    _, client = start()
    asked = [line(f"row-{n}", max_tokens=n, system="x" * 70_000 if n % 50 == 0 else "y") for n in range(250)]
    outcome = client.outcome(asked)
    assert outcome.pop("row-0")["type"] == "errored"
    tokens = {int(custom_id[4:]): result["message"]["usage"]["output_tokens"] for custom_id, result in outcome.items()}
    assert tokens == {n: min(n, 6) for n in range(1, 250)}
