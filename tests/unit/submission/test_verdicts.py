"""One table of params for two judges: the preflight, and the emulator whose verdicts follow recorded ones."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_batches.api import BatchesClient
from airflow_batches.emulator import Emulator
from airflow_batches.submission.preflight import judge
from tests.samples import some_requests

OLD, NEW = "2023-06-01", "2026-10-21"
USER = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Hi"}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "It."}}
TOOL = {"name": "look_up", "input_schema": {"type": "object"}}


def turns(*turns: Any) -> dict[str, Any]:
    return {"messages": [*turns]}


def content(value: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": value}


def text(value: Any) -> dict[str, Any]:
    return {"type": "text", "text": value}


ANSWERED: list[dict[str, Any]] = [
    {},
    {"system": "Be brief", "stop_sequences": ["x"], "metadata": {"user_id": "u"}, "service_tier": "auto"},
    {"system": [text("Be brief") | {"cache_control": {"type": "ephemeral"}}]},
    {"system": ""},
    {"stream": False},
    {"speed": "standard", "diagnostics": None, "container": None, "inference_geo": "us"},
    {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "look_up"}},
    turns(USER, ANSWER, USER),
    turns(USER, content("", "assistant")),
    turns(USER, content([], "assistant")),
    turns(content([text("Hello"), DOCUMENT])),
    turns(
        USER,
        content([{"type": "tool_use", "id": "t", "name": "look_up", "input": {}}], "assistant"),
        content([{"type": "tool_result", "tool_use_id": "t", "content": []}]),
    ),
    turns(content("\u200b")),
]
REFUSED: list[dict[str, Any]] = [
    {"max_tokens": 0},
    {"max_tokens": 10.0},
    {"max_tokens": 1.5},
    {"max_tokens": "10"},
    {"max_tokens": True},
    {"max_tokens": None},
    {"max_tokens": ...},
    {"messages": ...},
    {"messages": []},
    {"messages": {}},
    {"stream": True},
    {"stream": "yes"},
    {"system": " \n"},
    {"system": 5},
    {"system": [text("")]},
    {"system": [text("Be brief"), text("\t")]},
    {"system": ["Be brief"]},
    {"tool_choice": {"type": "tool", "name": "look_up"}},
    {"tool_choice": {"type": "any"}},
    {"tools": [TOOL, TOOL]},
    {"tools": [{"name": "look_up"}]},
    {"tools": [TOOL | {"input_schema": {"type": "array"}}]},
    {"thinking": {"type": "enabled", "budget_tokens": 100}, "max_tokens": 2_000},
    {"stop_sequences": ["END", "\n"]},
    {"metadata": {"user": "u"}},
    {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    {"output_config": {"format": {"type": "json_schema", "schema": {"type": "array", "items": {"type": "object"}}}}},
    {"betas": ["output-300k-2026-03-24"]},
    {"timeout": 60},
    {"max_retries": 2},
    {"extra_headers": {}},
    {"extra_query": None},
    {"extra_body": {"temperature": 1}},
    {"workspace_id": "wrkspc_1"},
    {"api_key": "sk-ant-1"},
    {"max_token": 10},
    {"store": False},
    {"cache_hint": None},
    {"research_preview_2026_02": "active"},
    turns("Hello"),
    turns({"content": "Hello"}),
    turns({"role": None, "content": "Hello"}),
    turns({"role": "tool", "content": "Hello"}),
    turns({"role": "", "content": "Hello"}),
    turns({"role": "User", "content": "Hello"}),
    turns({"role": "system", "content": "Be brief"}, USER),
    turns(USER | {"name": "Ada"}),
    turns(USER, ANSWER | {"id": "msg_1", "model": "claude-haiku-4-5"}, USER),
    turns({"role": "user"}),
    turns(content(None)),
    turns(content(5)),
    turns(content({})),
    turns(content("")),
    turns(content(" \n\t")),
    turns(content("\u3000")),
    turns(content([])),
    turns(content(["Hello"])),
    turns(content([text("")])),
    turns(content([text("Hello"), text(" ")])),
    turns(content([{"type": "text"}])),
    turns(content([text(None)])),
    turns(USER, content("", "assistant"), USER),
    turns(USER, content(" ", "assistant")),
    turns(USER, content([text("")], "assistant")),
]
SINCE_2026_10_21: list[dict[str, Any]] = [
    {"temperature": 0.5},
    {"top_p": 1},
    {"top_k": 5},
    turns(USER, content([DOCUMENT], "assistant")),
    turns(content([text("x") | {"citations": [{}]}])),
]
BEFORE_2026_10_21: list[dict[str, Any]] = [
    {"temperature": 1.5},
    {"temperature": None},
    {"temperature": True},
    {"top_p": "high"},
    {"top_p": -1},
    {"top_k": -1},
]


def test_what_one_judge_refuses_the_other_refuses(emulator: Emulator) -> None:
    cases = [(changes, True, True) for changes in ANSWERED]
    cases += [(changes, False, False) for changes in REFUSED]
    cases += [(changes, True, False) for changes in SINCE_2026_10_21]
    cases += [(changes, False, False) for changes in BEFORE_2026_10_21]
    requests = some_requests(len(cases))
    for request, (changes, _, _) in zip(requests, cases, strict=True):
        params = request["params"] | changes
        request["params"] = {name: value for name, value in params.items() if value is not ...}
    for version, wanted in ((OLD, 1), (NEW, 2)):
        answered = _answered(emulator, requests, version)
        for request, case in zip(requests, cases, strict=True):
            reasons = judge(msgspec.json.encode(request), default_model=None, version=version)
            verdicts = (not reasons, request["custom_id"] in answered)
            assert verdicts == (case[wanted], case[wanted]), (version, case[0], reasons)


def _answered(emulator: Emulator, requests: list[dict[str, Any]], version: str) -> set[str]:
    with BatchesClient(emulator.api_key, base_url=emulator.url, anthropic_version=version) as client:
        batch = client.create(requests)
        return {line.custom_id for line in client.results(batch.id) if line.result.type == "succeeded"}


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("system", [{"role": "system", "content": "Be brief"}], ids=["system"])
def test_a_system_turn_is_for_the_model_to_judge_where_it_may_stand(
    emulator: Emulator, system: dict[str, Any], version: str
) -> None:
    fitting = turns(USER, system, ANSWER, USER, system)
    requests = some_requests(1, **fitting) + some_requests(1, prefix="new", **fitting, model="claude-opus-5")
    assert [judge(msgspec.json.encode(r), default_model=None, version=version) for r in requests] == [[], []]
    assert _answered(emulator, requests, version) == {"new-0"}
