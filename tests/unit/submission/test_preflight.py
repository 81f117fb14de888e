"""What the API would refuse, now or hours later, found before anything is sent."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.emulator import Emulator
from airflow_batches.submission import PreflightError
from airflow_batches.submission.members import UNKNOWN
from airflow_batches.submission.preflight import judge
from tests.samples import some_requests
from tests.unit.submission.helpers import Task, jsonl

FINE: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
TOOL: dict[str, Any] = {"name": "look_up", "input_schema": {"type": "object"}}


def reasons(changes: dict[str, Any], *, version: str = "2026-10-21", default_model: str | None = None) -> list[str]:
    params = {name: value for name, value in (FINE | changes).items() if value is not ...}
    data = json.dumps({"custom_id": "a", "params": params}).encode()
    return judge(data, default_model=default_model, version=version)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": ...}, "model: missing, and no default model is set"),
        ({"model": ""}, "model: missing, and no default model is set"),
        ({"model": None}, "params.model: Expected `str`, got `null`"),
        ({"messages": ...}, "messages: at least one message is required"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": "Hello"}, "params.messages: Expected `array`, got `str`"),
        ({"max_tokens": ...}, "max_tokens: missing"),
        ({"max_tokens": 0}, "max_tokens: must be an integer from 1, not 0"),
        ({"max_tokens": 10.0}, "max_tokens: must be an integer from 1, not 10.0"),
        ({"max_tokens": "5"}, "params.max_tokens: Expected `int | float`, got `str`"),
        ({"stream": True}, "stream: true is not supported in batches"),
        ({"speed": "fast"}, "speed: fast mode is not for batches"),
        ({"store": True}, "store: is not supported in batches"),
        ({"cache_hint": {}}, "cache_hint: is not supported in batches"),
        ({"cache_hint": None}, "cache_hint: is not supported in batches"),
        ({"max_token": 5}, f"max_token: {UNKNOWN}"),
        ({"research_preview_2026_02": "active"}, "research_preview_2026_02: is not supported in batches"),
        (
            {"billing_policy": {"bill_to": "user_profile"}},
            "billing_policy: bill_to user_profile is not supported in batches",
        ),
        ({"tool_choice": {"type": "tool", "name": "x"}, "tools": [TOOL]}, "tool_choice: tool 'x' is not among tools"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "tool_choice: tool 'x' is not among tools"),
    ],
)
def test_each_reason_is_told(changes: dict[str, Any], reason: str) -> None:
    assert reasons(changes) == [reason]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stream": False},
        {"system": "Be brief", "metadata": {"user_id": "u"}, "stop_sequences": ["\nEND"]},
        {"thinking": {"type": "adaptive"}, "fallbacks": "default", "diagnostics": None},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "look_up"}},
        {"tools": [{"type": "mcp_toolset"}], "tool_choice": {"type": "tool", "name": "from_the_server"}},
        {"tools": [TOOL], "tool_choice": {"type": "any"}},
        {"billing_policy": {"bill_to": "organization"}},
        {"speed": "standard"},
        {"speed": None},
        {"tool_choice": {"type": "tool", "name": "of_a_server"}, "mcp_servers": [{"type": "url"}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}, {"type": "document"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": []}]}]},
    ],
)
def test_what_the_api_answers_is_left_alone(changes: dict[str, Any]) -> None:
    assert reasons(changes) == []


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"temperature": 0.5}, "temperature: not permitted since API version 2026-10-21"),
        ({"top_p": 1.0}, "top_p: not permitted"),
        ({"top_k": 5}, "top_k: not permitted"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "document", "source": {}}]}]},
            "messages.0: a document in an assistant turn is not permitted",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": [{}]}]}]},
            "messages.0: citations in a user turn are not permitted",
        ),
    ],
)
def test_the_connections_api_version_decides_on_sampling_parameters(changes: dict[str, Any], start: str) -> None:
    (reason,) = reasons(changes)
    assert reason.startswith(start)
    assert reasons(changes, version="2023-06-01") == []


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"temperature": 7}, "temperature: must be a number from 0 to 1, not 7"),
        ({"top_p": "high"}, 'top_p: must be a number from 0 to 1, not "high"'),
        ({"top_k": -1}, "top_k: must be a number from 0, not -1"),
    ],
)
def test_an_older_api_version_takes_sampling_parameters_within_their_range(changes: dict[str, Any], start: str) -> None:
    assert reasons(changes, version="2023-06-01") == [start]


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
@pytest.mark.parametrize(
    ("messages", "start"),
    [
        (["Hello"], "messages.0: Expected `object`, got `str`"),
        ([{"role": 5, "content": "x"}], "messages.0: role: Expected `str`, got `int`"),
        ([{"role": "user", "content": 5}], "messages.0: content: Expected `str | array | null`, got `int`"),
        ([{"role": "user", "content": "x"}, {"role": "assistant"}], "messages.1: content is missing"),
        ([{"role": "user", "content": None}], "messages.0: content is missing"),
    ],
)
def test_a_turn_that_is_none_is_told_with_its_place(messages: list[Any], start: str, version: str) -> None:
    assert reasons({"messages": messages}, version=version) == [start]


def test_a_default_model_stands_in_for_a_missing_one() -> None:
    assert reasons({"model": ...}, default_model="m") == []


def test_several_reasons_of_one_request_are_all_told() -> None:
    assert len(reasons({"max_tokens": 0, "stream": True, "temperature": 1.0})) == 3


def refused(emulator: Emulator, given: Any, **options: Any) -> PreflightError:
    """The error of a source that must not be sent, and proof that it was not."""
    with pytest.raises(PreflightError) as error:
        Task(emulator).try_(given, **options)
    assert emulator.counters["create"] == 0
    return error.value


def test_each_problem_names_line_custom_id_and_reason(emulator: Emulator, tmp_path: Path) -> None:
    requests = some_requests(5)
    requests[1]["params"]["max_tokens"] = 0
    requests[3]["custom_id"] = "no spaces, please"
    path = tmp_path / "r.jsonl"
    jsonl(path, requests)
    path.write_text(path.read_text().replace("\n", "\n\n"))
    assert str(refused(emulator, f"file://{path}")) == (
        f"file://{path}: 2 problems:\n"
        "line 3, 'r-1': max_tokens: must be an integer from 1, not 0\n"
        "line 7, 'no spaces, please': custom_id must be 1 to 64 of the characters a-z A-Z 0-9 _ -"
    )


def test_the_first_twenty_problems_are_told_and_the_rest_counted(emulator: Emulator) -> None:
    error = refused(emulator, some_requests(100, stream=True))
    assert len(error.problems) == 20
    assert error.count == 100
    assert str(error).endswith("and 80 more")


@pytest.mark.parametrize("preflight", ["error", "warn", "off"])
def test_lines_that_are_no_requests_are_refused_at_any_setting(
    emulator: Emulator, tmp_path: Path, preflight: str
) -> None:
    good = json.dumps(some_requests(1)[0])
    bad = ["not json", '{"custom_id": "a"}', '{"custom_id": 7, "params": {}}', "[]", '{"custom_id":"b","params":{}']
    path = tmp_path / "r.jsonl"
    path.write_bytes("\n".join([good, *bad]).encode() + b'\n{"custom_id": "c", "params": {"x": "\xff"}}')
    error = refused(emulator, str(path), preflight=preflight)
    assert [problem.line for problem in error.problems if "not a request" in problem.reason] == [2, 3, 4, 5, 6, 7]


def test_duplicates_name_the_line_of_the_first(emulator: Emulator) -> None:
    requests = some_requests(300)
    requests[200]["custom_id"] = requests[250]["custom_id"] = "r-7"
    error = refused(emulator, requests)
    assert [str(problem) for problem in error.problems] == [
        "line 201, 'r-7': custom_id is that of line 8",
        "line 251, 'r-7': custom_id is that of line 8",
    ]


def test_members_beside_custom_id_and_params_are_refused(emulator: Emulator) -> None:
    requests = [request | {"method": "POST"} for request in some_requests(1)]
    assert "unknown field `method`" in str(refused(emulator, requests))


def test_a_source_without_requests_is_refused(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n \n")
    assert "holds no requests" in str(refused(emulator, str(tmp_path / "empty.jsonl")))
    assert "holds no requests" in str(refused(emulator, []))


def test_warnings_are_logged_and_the_batch_is_sent(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Task(emulator).try_(some_requests(2, stream=True), preflight="warn")
    assert "line 2, 'r-1': stream: true is not supported in batches" in caplog.text
    assert emulator.batches()[0]["request_counts"]["errored"] == 2


def test_off_looks_for_nothing(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Task(emulator).try_(some_requests(2, stream=True), preflight="off")
    assert "problem" not in caplog.text
    assert emulator.batches()[0]["request_counts"]["errored"] == 2


def test_whatever_passes_is_answered_and_whatever_does_not_is_not(emulator: Emulator) -> None:
    """The emulator's verdicts, which follow recorded ones, agree with the preflight's."""
    variants: list[dict[str, Any]] = [{}, {"stream": True}, {"max_tokens": 0}, {"temperature": 1.0}, {"messages": []}]
    for changes in variants:
        task = Task(emulator)
        batch = task.try_(some_requests(1, **changes), preflight="off")
        counts = emulator.batches()[0]["request_counts"]
        assert counts["errored"] == (1 if reasons(changes) else 0), (changes, batch)


def test_a_member_that_is_new_to_the_api_can_be_sent_with_a_warning(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    requests = some_requests(1, member_of_tomorrow=1)
    assert "if it is new, use preflight='warn'" in str(refused(emulator, requests))
    with caplog.at_level(logging.WARNING):
        Task(emulator).try_(requests, preflight="warn")
    assert "line 1, 'r-0': member_of_tomorrow: not a member that the API is known to take" in caplog.text
    assert emulator.counters["create"] == 1


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"betas": ["x"]}, "connection's extra anthropic_beta"),
        ({"timeout": 60}, "connection's extra timeout"),
        ({"extra_headers": {}}, "connection's extra headers"),
        ({"extra_query": {}}, "a batch takes no query"),
        ({"extra_body": {}}, "its members belong directly into params"),
        ({"workspace_id": "w"}, "connection's extra workspace_id"),
        ({"api_key": "sk-ant-secret"}, "connection's password"),
    ],
)
def test_an_argument_of_the_sdk_is_told_where_it_belongs(changes: dict[str, Any], where: str) -> None:
    (reason,) = reasons(changes)
    assert where in reason
    assert "secret" not in reason
