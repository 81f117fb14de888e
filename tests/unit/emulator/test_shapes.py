"""Params whose shape the API refuses: errored lines, in the API's words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.emulator.client import line, params
from tests.unit.emulator.conftest import Start

TOOL: dict[str, Any] = {"name": "save", "input_schema": {"type": "object"}}
BETA = {"anthropic-beta": "some-beta-2026-11-01"}


def said(*blocks: Any) -> dict[str, Any]:
    return params(messages=[{"role": "user", "content": list(blocks)}])


def image(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source}


def formatted(schema: Any) -> dict[str, Any]:
    return params(output_config={"format": {"type": "json_schema", "schema": schema}})


CLOSED = "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
REFUSED: list[tuple[dict[str, Any], str]] = [
    (params(tools={}), "tools: Input should be a valid list"),
    (params(tools=["save"]), "tools.0: Input should be a valid dictionary"),
    (params(tools=[{"name": "save"}]), "tools.0.custom.input_schema: Field required"),
    (
        params(tools=[TOOL | {"name": "save it"}]),
        "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    ),
    (params(tools=[TOOL | {"input_schema": {}}]), "tools.0.custom.input_schema.type: Field required"),
    (
        params(tools=[TOOL | {"input_schema": {"type": "array"}}]),
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    (params(tools=[TOOL | {"parameters": {}}]), "tools.0.custom.parameters: Extra inputs are not permitted"),
    (params(tools=[TOOL, TOOL]), "tools: Tool names must be unique."),
    (params(tools=[TOOL], tool_choice={"type": "tool"}), "tool_choice.tool.name: Field required"),
    (params(tool_choice={"type": "any"}), "tool_choice.any may only be specified while providing tools"),
    (
        params(tools=[TOOL], tool_choice={"type": "required"}),
        (
            "tool_choice: Input tag 'required' found using 'type' does not match any of the expected tags: 'any',"
            " 'auto', 'none', 'tool'"
        ),
    ),
    (params(tools=[TOOL], tool_choice="auto"), "tool_choice: Input should be a valid dictionary"),
    (params(thinking={"type": "enabled"}), "thinking.enabled.budget_tokens: Field required"),
    (
        params(thinking={"type": "enabled", "budget_tokens": 1000}),
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (
        params(thinking={"type": "enabled", "budget_tokens": 1024}),
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    (
        params(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000, temperature=0),
        "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.",
    ),
    (
        params(
            thinking={"type": "enabled", "budget_tokens": 1024},
            max_tokens=2000,
            tools=[TOOL],
            tool_choice={"type": "any"},
        ),
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    (params(thinking={}), "thinking: Unable to extract tag using discriminator 'type'"),
    (params(stop_sequences="x"), "stop_sequences: Input should be a valid list"),
    (params(stop_sequences=["x", 5]), "stop_sequences.1: Input should be a valid string"),
    (params(stop_sequences=["x", " \n"]), "stop_sequences: each stop sequence must contain non-whitespace"),
    (params(metadata={"user": "u"}), "metadata.user: Extra inputs are not permitted"),
    (params(service_tier="batch"), "service_tier: Input should be 'auto' or 'standard_only'"),
    (
        params(cache_control={"type": "ephemeral", "ttl": 300}),
        "cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
    ),
    (
        params(system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "2h"}}]),
        "system.0.cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
    ),
    (params(system=[image(type="url", url="https://example.com/a")]), "system.0.text: Field required"),
    (
        params(output_config={"effort": "huge"}),
        "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
    ),
    (formatted("text"), "output_config.format.schema: Input should be a valid dictionary"),
    (formatted({"type": "object", "properties": {}}), CLOSED),
    (formatted({"type": "array", "items": {"type": "object", "additionalProperties": True}}), CLOSED),
    (formatted({"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"type": "object"}]}}}), CLOSED),
    (
        said({"type": "image_url", "image_url": {}}),
        (
            "messages.0.content.0: Input tag 'image_url' found using 'type' does not match any of the expected tags:"
            " 'bash_code_execution_tool_result', 'code_execution_tool_result', 'container_upload', 'document',"
            " 'image', 'redacted_thinking', 'search_result', 'server_tool_use', 'text',"
            " 'text_editor_code_execution_tool_result', 'thinking', 'tool_result', 'tool_search_tool_result',"
            " 'tool_use', 'web_fetch_tool_result', 'web_search_tool_result'"
        ),
    ),
    (said({"type": "image"}), "messages.0.content.0.image.source: Field required"),
    (
        said(image(type="base64", media_type="image/tiff", data="AAAA")),
        (
            "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png',"
            " 'image/gif' or 'image/webp'"
        ),
    ),
    (
        said({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": 300}}),
        "messages.0.content.0.text.cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
    ),
    (said({"type": "text", "text": "x", "id": 1}), "messages.0.content.0.text.id: Extra inputs are not permitted"),
    (
        said({"type": "document", "source": {"type": "text", "media_type": "text/html", "data": "x"}}),
        "messages.0.content.0.document.source.text.media_type: Input should be 'text/plain'",
    ),
]


@pytest.mark.parametrize(("bad", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_a_line_of_another_shape_is_errored(bad: dict[str, Any], message: str, start: Start) -> None:
    _, client = start()
    assert client.error(bad) == {
        "details": {"error_visibility": "user_facing"},
        "type": "invalid_request_error",
        "message": message,
    }


CLOSED_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": False}
LIST: dict[str, Any] = {"type": "array", "items": CLOSED_OBJECT, "minItems": 1}
FINE: list[dict[str, Any]] = [
    params(tools=[TOOL | {"type": "custom", "cache_control": {"type": "ephemeral"}}]),
    params(tools=[{"name": "save", "input_schema": CLOSED_OBJECT, "strict": True}]),
    params(output_config={"format": {"type": "json_schema", "schema": LIST}}),
    params(tools=[{"type": "web_search_20260318", "name": "web_search"}], tool_choice={"type": "none"}),
    params(tools=None, tool_choice={"type": "auto"}),
    params(thinking={"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, max_tokens=2000),
    params(thinking={"type": "disabled"}),
    params(metadata={"user_id": None}, service_tier="auto", cache_control={"type": "ephemeral", "ttl": "1h"}),
    formatted({"type": "object", "properties": {"object": {"type": "string"}}, "additionalProperties": False}),
    said(image(type="base64", media_type="image/png", data="AAAA"), image(type="file", file_id="file_1")),
    said(image(type="url", url="https://images.example.com/a.png"), image(type="url", url="http://93.184.215.14/a")),
    said(
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}, "title": "T"},
        {"type": "search_result", "content": [{"type": "text", "text": "x"}], "source": "s", "title": "t"},
    ),
]


@pytest.mark.parametrize("fine", FINE)
def test_a_line_of_a_known_shape_is_answered(fine: dict[str, Any], start: Start) -> None:
    _, client = start()
    assert client.outcome([{"custom_id": "fine", "params": fine}])["fine"]["type"] == "succeeded"


@pytest.mark.parametrize(
    "new",
    [
        params(output_config={"task_budget": {"type": "tokens", "total": 1000}}),
        params(
            tools=[{"type": "advisor_20260301", "name": "advisor"}, {"type": "mcp_toolset", "mcp_server_name": "s"}]
        ),
        params(thinking={"type": "enabled", "budget_tokens": 1024, "block_binding": {}}, max_tokens=2000),
        said({"type": "compaction", "content": "x"}),
    ],
)
def test_a_beta_allows_members_and_tags_that_are_not_known(new: dict[str, Any], start: Start) -> None:
    _, client = start()
    asked = [{"custom_id": "new", "params": new}]
    assert client.outcome(asked)["new"]["type"] == "errored"
    assert client.outcome(asked, **BETA)["new"]["type"] == "succeeded"


@pytest.mark.parametrize(
    "url",
    [
        "https://images.invalid/a.png",
        "http://localhost:8000/a.png",
        "http://127.0.0.1/a.png",
        "https://10.0.0.8/a.png",
        "https://intranet/a.png",
        "http://[::1]/a.png",
        "http://[::1/a.png",
        "s3://bucket/a.png",
        "a.png",
        "",
    ],
)
def test_a_url_that_cannot_be_fetched_fails_while_the_line_runs(url: str, start: Start) -> None:
    _, client = start()
    for block in (image(type="url", url=url), {"type": "document", "source": {"type": "url", "url": url}}):
        result = client.outcome([{"custom_id": "only", "params": said(block)}])["only"]
        error = result["error"]
        assert error["error"] == {
            "details": {"error_visibility": "user_facing"},
            "type": "invalid_request_error",
            "message": "Unable to download the file. Please verify the URL and try again.",
        }
        assert error["request_id"].startswith("workerreq_01")


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("claude-haiku-4-5", {"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported on this model"),
        (
            "claude-opus-5-5",
            {"thinking": {"type": "disabled"}},
            (
                '"thinking.type.disabled" is not supported for this model. Use "thinking.type.adaptive" and'
                ' "output_config.effort" to control thinking behavior.'
            ),
        ),
        (
            "claude-sonnet-5-5",
            {"thinking": {"type": "disabled"}},
            (
                '"thinking.type.disabled" is not supported for this model. Use "thinking.type.between_tools" for the'
                ' lowest thinking setting, or "thinking.type.adaptive" and "output_config.effort" to control thinking'
                " behavior."
            ),
        ),
        (
            "claude-opus-5",
            {"thinking": {"type": "between_tools"}},
            '"thinking.type.between_tools" is not supported for this model.',
        ),
        ("claude-haiku-4-5", {"output_config": {"effort": "low"}}, "This model does not support the effort parameter."),
        (
            "claude-opus-4-6",
            {"output_config": {"effort": "xhigh"}},
            "output_config.effort: This model does not support effort level 'xhigh'.",
        ),
        (
            "claude-sonnet-5-5",
            {"thinking": {"type": "between_tools"}, "output_config": {"effort": "max"}},
            (
                "output_config.effort 'max' is not supported when thinking is disabled on this model. Use effort 'high'"
                " or below, or enable thinking."
            ),
        ),
        (
            "claude-fable-5-1",
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "save"}},
            'tool_choice: type "tool" and "any" are not supported for this model.',
        ),
    ],
)
def test_a_model_refuses_what_it_does_not_do(model: str, changes: dict[str, Any], message: str, start: Start) -> None:
    _, client = start()
    assert client.error(params(model=model, **changes))["message"] == message


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("claude-fable-5", {"tools": [TOOL], "tool_choice": {"type": "any"}}),
        ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}, "output_config": {"effort": "high"}}),
        ("claude-opus-4-6", {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}),
        ("claude-opus-4-5", {"output_config": {"effort": "high"}}),
        ("claude-sonnet-4-6", {"max_tokens": 128_000}),
    ],
)
def test_a_model_takes_what_it_does(model: str, changes: dict[str, Any], start: Start) -> None:
    _, client = start()
    assert client.outcome([line("fine", model=model, **changes)])["fine"]["type"] == "succeeded"


UNSUPPORTED = [
    ({"type": "integer", "minimum": 1}, "For 'integer' type, property 'minimum' is not supported"),
    (
        {"type": "number", "minimum": 0, "maximum": 1},
        "For 'number' type, properties maximum, minimum are not supported",
    ),
    ({"type": ["null", "integer"], "multipleOf": 2}, "For 'integer' type, property 'multipleOf' is not supported"),
    ({"type": "string", "maxLength": 5}, "For 'string' type, property 'maxLength' is not supported"),
    ({"type": "array", "minItems": 2}, "For 'array' type, 'minItems' values other than 0 or 1 are not supported"),
    ({"type": "array", "maxItems": 2}, "For 'array' type, property 'maxItems' is not supported"),
    ({"type": "object"}, "For 'object' type, 'additionalProperties' must be explicitly set to false"),
]


@pytest.mark.parametrize(("schema", "message"), UNSUPPORTED)
def test_json_schema_that_the_api_does_not_support_is_refused_where_it_is_enforced(
    schema: dict[str, Any], message: str, start: Start
) -> None:
    _, client = start()
    inside = CLOSED_OBJECT | {"properties": {"a": {"anyOf": [{"type": "null"}, schema]}}}
    form = {"format": {"type": "json_schema", "schema": inside}}
    assert client.error(params(output_config=form))["message"] == f"output_config.format.schema: {message}"
    tool = {"name": "save", "input_schema": inside}
    assert client.error(params(tools=[tool | {"strict": True}]))["message"] == f"tools.0.custom: {message}"
    assert client.outcome([{"custom_id": "loose", "params": params(tools=[tool])}])["loose"]["type"] == "succeeded"
