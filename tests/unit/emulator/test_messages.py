"""One request by itself: a message like a batch's line, its events, and its tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from airflow_batches.emulator import Fault
from tests.unit.emulator.client import Client, line, params
from tests.unit.emulator.conftest import Start

TOOL = {"name": "save", "input_schema": {"type": "object", "properties": {"n": {"const": 5}}}}


def post(client: Client, path: str, body: Any) -> requests.Response:
    url = client.url.removesuffix("/batches") + path
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.session.post(url, data=data, timeout=60)


VARYING = ("service_tier", "input_tokens")


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    content = [{name: value for name, value in block.items() if name != "id"} for block in message["content"]]
    usage = {name: value for name, value in message["usage"].items() if name not in VARYING}
    return message | {"id": "", "content": content, "usage": usage}


ASKED: list[dict[str, Any]] = [
    params(),
    params(model="claude-opus-5"),
    params(max_tokens=2),
    params(tools=[TOOL], tool_choice={"type": "tool", "name": "save"}),
]


@pytest.mark.parametrize("asked", ASKED, ids=["text", "thinking", "cut", "tool"])
def test_a_message_is_what_a_line_of_a_batch_gets(asked: dict[str, Any], start: Start) -> None:
    emulator, client = start()
    response = post(client, "", asked)
    assert response.status_code == 200
    message = response.json()
    of_a_batch = client.outcome([{"custom_id": "only", "params": asked}])["only"]["message"]
    assert without_ids(message) == without_ids(of_a_batch)
    assert list(message) == list(of_a_batch)
    assert message["id"].startswith("msg_01")
    assert message["usage"]["service_tier"] == "standard"
    assert emulator.counters["messages"] == 1
    assert len(emulator.batches()) == 1


REFUSED = [
    (params(max_tokens=None), 400, "max_tokens: Field required"),
    (params(messages=[]), 400, "messages: at least one message is required"),
    (params(model="claude-none"), 404, "model: claude-none"),
    (params(max_token=1), 400, "max_token: Extra inputs are not permitted"),
    ([], 400, "Input should be a valid dictionary or object to extract fields from"),
    (b"{", 400, "The request body is not valid JSON: unexpected end of data: line 1 column 2 (char 1)"),
    (b"[" * 3_000, 400, None),
]


@pytest.mark.parametrize(("asked", "status", "message"), REFUSED)
def test_params_that_a_line_would_be_errored_for_are_refused(
    asked: Any, status: int, message: str | None, start: Start
) -> None:
    _, client = start()
    response = post(client, "", asked)
    assert response.status_code == status
    assert response.json()["request_id"] == response.headers["request-id"]
    if message is not None:
        assert response.json()["error"]["message"] == message


def test_without_output_tokens_a_message_only_warms_the_cache(start: Start) -> None:
    _, client = start()
    message = post(client, "", params(max_tokens=0)).json()
    assert (message["content"], message["stop_reason"], message["usage"]["output_tokens"]) == ([], "max_tokens", 0)
    assert client.error(params(max_tokens=0))["message"] == "max_tokens: must be greater than or equal to 1"


def events(response: requests.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = []
    for text in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = text.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


@pytest.mark.parametrize("asked", ASKED, ids=["text", "thinking", "cut", "tool"])
def test_a_stream_adds_up_to_the_message(asked: dict[str, Any], start: Start) -> None:
    _, client = start()
    whole = post(client, "", asked).json()
    first, *rest = events(post(client, "", asked | {"stream": True}))
    assert (first["type"], first["message"]["content"], rest[0]) == ("message_start", [], {"type": "ping"})
    assert rest[-1] == {"type": "message_stop"}
    assert rest[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert rest[-2]["usage"] == whole["usage"]
    blocks = [event["content_block"] for event in rest if event["type"] == "content_block_start"]
    for event in rest:
        if event["type"] == "content_block_delta":
            add(blocks[event["index"]], event["delta"])
    assert without_ids({"content": blocks, "usage": {}}) == without_ids({"content": whole["content"], "usage": {}})


def add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    if delta["type"] == "input_json_delta":
        block["input"] = json.loads(delta["partial_json"])
    else:
        name = delta["type"].removesuffix("_delta")
        block[name] += delta[name]


def test_tokens_are_counted_without_max_tokens(start: Start) -> None:
    emulator, client = start()
    short = post(client, "/count_tokens", params(max_tokens=None)).json()
    long = post(client, "/count_tokens", params(max_tokens=None, system="Answer in one word. " * 50)).json()
    assert list(short) == ["input_tokens"]
    assert 8 <= short["input_tokens"] <= 12
    assert 150 < long["input_tokens"] < 400
    assert emulator.counters["count_tokens"] == 2
    assert emulator.batches() == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (params(), "max_tokens: Extra inputs are not permitted"),
        (params(max_tokens=None, messages=None), "messages: Field required"),
        (params(max_tokens=None, model="claude-none"), "model: claude-none"),
        (
            params(max_tokens=None, model="claude-sonnet-5-5", tools=[TOOL], tool_choice={"type": "any"}),
            'tool_choice: type "tool" and "any" are not supported for this model.',
        ),
    ],
)
def test_tokens_of_params_that_the_api_refuses_are_not_counted(
    asked: dict[str, Any], message: str, start: Start
) -> None:
    _, client = start()
    response = post(client, "/count_tokens", asked)
    assert response.json()["error"]["message"] == message


def test_a_prompt_beyond_the_window_is_counted_but_not_answered(start: Start) -> None:
    _, client = start()
    asked = params(messages=[{"role": "user", "content": "word " * 240_000}])
    counted = post(client, "/count_tokens", {name: asked[name] for name in ("model", "messages")}).json()
    message = f"prompt is too long: {counted['input_tokens']} tokens > 200000 maximum"
    assert post(client, "", asked).json()["error"]["message"] == message
    assert client.error(asked)["message"] == message
    assert client.outcome([line("large", model="claude-opus-5", messages=asked["messages"])])["large"]["type"] == (
        "succeeded"
    )
    beta = {"anthropic-beta": "context-1m-2025-08-07"}
    wide = line("wide", model="claude-sonnet-4-5", messages=asked["messages"])
    assert client.outcome([wide], **beta)["wide"]["type"] == "succeeded"


def test_a_message_is_refused_beyond_32_million_bytes(start: Start) -> None:
    _, client = start()
    assert post(client, "", b"x" * 32_000_001).status_code == 413


def test_faults_strike_single_messages_too(start: Start) -> None:
    emulator, client = start()
    emulator.fault(Fault(endpoint="messages", action="status", status=529))
    assert post(client, "", params()).json()["error"]["type"] == "overloaded_error"
    assert post(client, "", params()).status_code == 200
