"""The shape of the members of params, except for the messages.

Members, tags and values are those of the official SDK (`tests/contract/test_members.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_batches.emulator.blocks import CACHE_CONTROL, SYSTEM_BLOCK
from airflow_batches.emulator.output_schemas import check_output_schemas
from airflow_batches.emulator.refusal import Refused
from airflow_batches.emulator.schema import (
    Check,
    MemberPath,
    Members,
    Tagged,
    anything,
    boolean,
    dictionary,
    integer,
    items,
    matching,
    nullable,
    one_of,
    string,
    text_or,
    variant,
)

_LEAST_BUDGET: Final = 1_024
"""Fewest tokens of a thinking budget (docs: API reference, Messages; recorded live)."""
_PARALLEL: Final = {"disable_parallel_tool_use": boolean}
_DISPLAY: Final = {"display": nullable(one_of("summarized", "omitted"))}
_INPUT_SCHEMA: Final = Members({"type": one_of("object")}, {})


def _input_schema(value: Any, at: MemberPath) -> None:
    """Accept a schema of objects; its other members are JSON Schema, which is not checked."""
    _INPUT_SCHEMA(value, at._replace(beta=True))


CUSTOM_TOOL: Final = variant(
    {"name": matching("^[a-zA-Z0-9_-]{1,128}$"), "input_schema": _input_schema},
    {
        "allowed_callers": anything,
        "cache_control": CACHE_CONTROL,
        "defer_loading": boolean,
        "description": string,
        "eager_input_streaming": nullable(boolean),
        "input_examples": items(dictionary),
        "strict": boolean,
    },
)
SERVER_TOOLS: Final = (
    "bash_20250124",
    "browser_toolset_20260801",
    "code_execution_20250522",
    "code_execution_20250825",
    "code_execution_20260120",
    "code_execution_20260521",
    "computer_toolset_20260801",
    "memory_20250818",
    "text_editor_20250124",
    "text_editor_20250429",
    "text_editor_20250728",
    "tool_search_tool_bm25",
    "tool_search_tool_bm25_20251119",
    "tool_search_tool_regex",
    "tool_search_tool_regex_20251119",
    "web_fetch_20250910",
    "web_fetch_20260209",
    "web_fetch_20260309",
    "web_fetch_20260318",
    "web_search_20250305",
    "web_search_20260209",
    "web_search_20260318",
)
"""Types of tools whose schema the API knows; their members are not checked."""
THINKING: Final = Tagged(
    {
        "adaptive": variant({}, _DISPLAY),
        "between_tools": variant({}, {}),
        "disabled": variant({}, {}),
        "enabled": variant({"budget_tokens": integer(_LEAST_BUDGET)}, _DISPLAY),
    }
)
TOOL_CHOICE: Final = Tagged(
    {
        "any": variant({}, _PARALLEL),
        "auto": variant({}, _PARALLEL),
        "none": variant({}, {}),
        "tool": variant({"name": string}, _PARALLEL),
    }
)
SHAPES: Final[Mapping[str, Check]] = {
    "cache_control": CACHE_CONTROL,
    "inference_geo": nullable(string),
    "metadata": Members({}, {"user_id": nullable(string)}),
    "output_config": Members(
        {},
        {
            "effort": nullable(one_of("low", "medium", "high", "xhigh", "max")),
            "format": nullable(Members({"type": one_of("json_schema"), "schema": dictionary}, {})),
        },
    ),
    "service_tier": one_of("auto", "standard_only"),
    "stop_sequences": items(string),
    "system": text_or(items(SYSTEM_BLOCK)),
    "thinking": THINKING,
    "tool_choice": TOOL_CHOICE,
    "tools": items(Tagged({"custom": CUSTOM_TOOL} | dict.fromkeys(SERVER_TOOLS, anything), default="custom")),
}
"""Member of params -> check of its shape."""


def check_shapes(params: Mapping[str, Any], *, beta: bool) -> None:
    """Check the shape of every member that has one. Raises Refused.

    It is not known which members may be null; null is accepted.

    :param beta: the call names a beta, which may add members and tags.
    """
    for name, check in SHAPES.items():
        if params.get(name) is not None:
            check(params[name], MemberPath(name, beta))
    if any(not sequence.strip() for sequence in params.get("stop_sequences") or ()):
        raise Refused("stop_sequences: each stop sequence must contain non-whitespace")
    names = [tool["name"] for tool in params.get("tools") or () if isinstance(tool.get("name"), str)]
    if len(set(names)) < len(names):
        raise Refused("tools: Tool names must be unique.")
    check_output_schemas(params)
