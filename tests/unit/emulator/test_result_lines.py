"""Result lines: their form, their order, how they travel."""

from __future__ import annotations

import json
import re
from typing import Final

import jsonschema  # type: ignore[import-untyped]
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batches.emulator import Emulator
from tests.unit.emulator.client import Client, line, lines
from tests.unit.emulator.conftest import Start

MESSAGE_KEYS: Final = [
    "model",
    "id",
    "type",
    "role",
    "content",
    "container",
    "stop_reason",
    "stop_sequence",
    "stop_details",
    "usage",
    "diagnostics",
]
USAGE_KEYS: Final = [
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "output_tokens",
    "service_tier",
    "inference_geo",
]
FORMAT: Final = re.compile(
    rb'\{"custom_id":"row","result":\{"type":"succeeded","message":\{"model":"claude-haiku-4-5-20251001",'
    rb'"id":"msg_011C[1-9A-Za-z]{20}","type":"message","role":"assistant","content":\[\{"type":"text","text":'
    rb'"Echo: Hello"\}\],"container":null,"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,'
    rb'"usage":\{"input_tokens":\d+,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":'
    rb'\{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0\},"output_tokens":\d+,"service_tier":"batch",'
    rb'"inference_geo":"not_available"\},"diagnostics":null\}\}\}'
)


def order(response: requests.Response) -> list[str]:
    return [json.loads(text)["custom_id"] for text in response.content.split(b"\n")]


def test_a_succeeded_line_has_the_shape_of_2026_09(start_kept: Start) -> None:
    _, client = start_kept()
    content = client.results(client.made([line("row")])).content
    assert FORMAT.fullmatch(content)
    message = json.loads(content)["result"]["message"]
    assert list(message) == MESSAGE_KEYS
    assert list(message["usage"]) == USAGE_KEYS


def test_newer_models_tell_geography_and_thinking_tokens(start: Start) -> None:
    _, client = start()
    outcome = client.outcome([line("eu", model="claude-opus-5"), line("us", model="claude-opus-5", inference_geo="us")])
    usage = outcome["eu"]["message"]["usage"]
    assert list(usage) == [*USAGE_KEYS, "output_tokens_details"]
    assert usage["inference_geo"] == "global"
    assert usage["output_tokens_details"] == {"thinking_tokens": 10}
    assert outcome["us"]["message"]["usage"]["inference_geo"] == "us"


def test_canceled_and_expired_lines_hold_their_type_alone(start: Start) -> None:
    emulator, client = start(expired_share=1)
    assert client.results(client.made([line("x")])).content == b'{"custom_id":"x","result":{"type":"expired"}}'
    emulator.settings.processing_time = 60
    emulator.settings.cancel_time = 0
    batch = client.made([line("x")])
    client.cancel(batch)
    assert client.results(batch).content == b'{"custom_id":"x","result":{"type":"canceled"}}'


def test_an_answer_echoes_the_last_user_turn_with_every_character_raw(start: Start) -> None:
    _, client = start()
    said = 'quote " backslash \\ newline \n separators \u2028\u2029\x85 grin \U0001f600 percent %b'
    blocks = [
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "text", "text": said},
    ]
    turns = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "second"},
        {"role": "user", "content": blocks},
    ]
    content = client.results(client.made([line("row", messages=turns)])).content
    assert json.loads(content)["result"]["message"]["content"] == [{"type": "text", "text": f"Echo: {said}"}]
    assert "\u2028\u2029\x85".encode() in content


def test_an_answer_longer_than_max_tokens_is_cut_and_says_so(start: Start) -> None:
    _, client = start()
    asked = line("cut", max_tokens=2, messages=[{"role": "user", "content": "a long question"}])
    message = client.outcome([asked])["cut"]["message"]
    assert message["stop_reason"] == "max_tokens"
    assert message["content"][0]["text"] == "Echo: a "
    assert message["usage"]["output_tokens"] == 2


@pytest.mark.parametrize("chars", [0, 1, 1700])
def test_answers_can_be_made_of_a_given_length(chars: int, start: Start) -> None:
    _, client = start(answer_chars=chars)
    for result in client.outcome(lines(40)).values():
        assert len(result["message"]["content"][0]["text"]) == chars


def test_an_answer_of_a_given_length_beyond_max_tokens_says_so(start: Start) -> None:
    _, client = start(answer_chars=100)
    message = client.outcome([line("row", max_tokens=5)])["row"]["message"]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 5)


SCHEMA: Final = {
    "type": "object",
    "properties": {
        "label": {"enum": ["spam", "ham", "other"]},
        "score": {"type": "number"},
    },
    "required": ["label", "score"],
    "additionalProperties": False,
}


def test_a_forced_tool_is_used_with_an_input_of_its_schema(start_kept: Start) -> None:
    _, client = start_kept()
    tools = [{"name": "other", "input_schema": {"type": "object"}}, {"name": "save", "input_schema": SCHEMA}]
    asked = [line(f"row-{n}", tools=tools, tool_choice={"type": "tool", "name": "save"}) for n in range(9)]
    outcome = client.outcome(asked)
    for result in outcome.values():
        message = result["message"]
        (block,) = message["content"]
        assert list(block) == ["type", "id", "name", "input", "caller"]
        assert (block["type"], block["name"], block["caller"]) == ("tool_use", "save", {"type": "direct"})
        assert re.fullmatch(r"toolu_01[1-9A-Za-z]{22}", block["id"])
        assert message["stop_reason"] == "tool_use"
        jsonschema.validate(block["input"], SCHEMA)
    assert len({result["message"]["content"][0]["input"]["label"] for result in outcome.values()}) == 3


def test_any_tool_whose_schema_the_api_knows_gets_an_empty_input(start: Start) -> None:
    _, client = start()
    tool = {"name": "web", "type": "web_search_20260209"}
    message = client.outcome([line("row", tools=[tool], tool_choice={"type": "any"})])["row"]["message"]
    assert message["content"][0]["input"] == {}


def test_an_output_format_is_answered_with_json_of_the_schema(start: Start) -> None:
    _, client = start()
    asked = line("row", output_config={"format": {"type": "json_schema", "schema": SCHEMA}})
    message = client.outcome([asked])["row"]["message"]
    jsonschema.validate(json.loads(message["content"][0]["text"]), SCHEMA)


def test_message_ids_are_unique_and_the_same_on_every_read(start_kept: Start) -> None:
    _, client = start_kept()
    batch = client.made(lines(500))
    first, second = client.read(batch), client.read(batch)
    assert first == second
    assert len({result["message"]["id"] for result in first.values()}) == 500


def test_results_are_shuffled_anew_on_every_read(start_kept: Start) -> None:
    _, client = start_kept()
    batch = client.made(lines(50))
    first, second = order(client.results(batch)), order(client.results(batch))
    assert first != second
    assert sorted(first) == sorted(second) == sorted(f"row-{n}" for n in range(50))


def test_results_can_keep_or_reverse_the_submitted_order(start: Start) -> None:
    emulator, client = start(order="submitted")
    batch = client.made(lines(50))
    submitted = [f"row-{n}" for n in range(50)]
    assert order(client.results(batch)) == submitted
    emulator.settings.order = "reversed"
    assert order(client.results(batch)) == submitted[::-1]


def test_results_travel_chunked_as_jsonl_under_a_file_name(start_kept: Start) -> None:
    _, client = start_kept()
    batch = client.made(lines(2))
    headers = client.results(batch).headers
    assert headers["content-type"] == "application/x-jsonl"
    assert headers["content-disposition"] == f'attachment; filename="{batch}_results.jsonl"'
    assert headers["transfer-encoding"] == "chunked"
    assert not {"content-length", "content-encoding", "accept-ranges"} & {name.lower() for name in headers}


def test_the_last_line_has_a_newline_only_if_asked(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(3))
    assert client.results(batch).content.count(b"\n") == 2
    emulator.settings.trailing_newline = True
    content = client.results(batch).content
    assert content.endswith(b"}\n")
    assert content.count(b"\n") == 3


def test_ranges_are_ignored(start: Start) -> None:
    _, client = start()
    response = client.results(client.made(lines(3)), headers={"range": "bytes=0-9"})
    assert response.status_code == 200
    assert len(order(response)) == 3


@pytest.mark.parametrize(
    ("offer", "encoding"),
    [("gzip, deflate", "gzip"), ("gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("identity", None), ("br", None)],
)
def test_results_are_compressed_where_both_sides_want_it(offer: str, encoding: str | None, start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(300))
    assert "content-encoding" not in client.results(batch, headers={"accept-encoding": offer}).headers
    emulator.settings.gzip = True
    response = client.results(batch, headers={"accept-encoding": offer})
    assert response.headers.get("content-encoding") == encoding
    assert len(order(response)) == 300


@given(
    ids=st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True), min_size=1, max_size=30, unique=True),
    text=st.text(max_size=120).filter(str.strip),
    chunk=st.integers(1, 2_000),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_comes_back_once_a_line(ids: list[str], text: str, chunk: int, emulator: Emulator) -> None:
    emulator.settings.chunk_bytes = chunk
    client = Client(emulator)
    outcome = client.outcome([line(i, messages=[{"role": "user", "content": text}]) for i in ids])
    client.close()
    assert sorted(outcome) == sorted(ids)
    assert {r["message"]["content"][0]["text"] for r in outcome.values()} == {f"Echo: {text[:80]}"}
