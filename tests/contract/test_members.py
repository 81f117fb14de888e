"""The members of params that pass the preflight are those that the official SDK declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from anthropic import types as sdk
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaParams
from anthropic.types.message_create_params import MessageCreateParamsBase as Params

from airflow_batches.emulator import terms
from airflow_batches.emulator.blocks import BLOCKS
from airflow_batches.emulator.schema import Check, Members
from airflow_batches.emulator.shapes import CUSTOM_TOOL, SERVER_TOOLS, THINKING, TOOL_CHOICE
from airflow_batches.submission.members import BETA_MEMBERS, MEMBERS, NEVER

HEADERS = {"betas", "workspace_id"}
"""Arguments of the SDK's calls that become headers, and can stand in no params. (`user_profile_id` can.)"""
UNDECLARED = {"stream", "temperature", "top_k", "top_p"}
"""What the API takes, some of it from older versions only, and the SDK's type does not name."""
OF_A_HELPER = {"output_format"}


def test_every_member_of_the_sdk_passes_and_no_other() -> None:
    assert set(Params.__annotations__) - HEADERS == MEMBERS - UNDECLARED
    assert set(BetaParams.__annotations__) - HEADERS - MEMBERS == BETA_MEMBERS - OF_A_HELPER


def test_arguments_of_the_sdks_calls_are_told_where_they_belong() -> None:
    assert set(NEVER) >= HEADERS
    assert not set(NEVER) & (MEMBERS | BETA_MEMBERS)


def test_the_emulator_knows_the_same_members() -> None:
    assert (terms._MEMBERS, terms._BETA_MEMBERS) == (MEMBERS, BETA_MEMBERS)


def test_tokens_are_counted_for_the_members_of_the_sdk() -> None:
    declared = set(sdk.MessageCountTokensParams.__annotations__) - HEADERS
    assert declared | {"user_profile_id"} == terms.COUNTED_MEMBERS


def tags(union: Any) -> dict[str, Any]:
    """Type tag -> class of a union of the SDK's."""
    return {tag: kind for kind in get_args(union) for tag in tags_of(kind)}


def tags_of(kind: Any) -> tuple[str, ...]:
    """The values of a class's `type`."""
    given = get_type_hints(kind)["type"]
    plain: tuple[str, ...] = tuple(value for value in literals(given) if isinstance(value, str))
    return plain


def literals(given: Any) -> list[Any]:
    inner = get_args(given)
    return [value for arg in inner for value in (literals(arg) if get_args(arg) else [arg])]


def compare(checks: Mapping[str, Check], union: Any) -> None:
    """The tags are the same, and the members of those whose members are checked."""
    declared = tags(union)
    assert set(checks) == set(declared)
    for tag, check in checks.items():
        if isinstance(check, Members):
            assert {*check.required, *check.optional} == set(get_type_hints(declared[tag])), tag


def test_content_blocks_are_those_of_the_sdk() -> None:
    compare(BLOCKS, sdk.ContentBlockParam)


def test_thinking_and_tool_choice_are_those_of_the_sdk() -> None:
    compare(THINKING.variants, sdk.ThinkingConfigParam)
    compare(TOOL_CHOICE.variants, sdk.ToolChoiceParam)


def test_tools_are_those_of_the_sdk() -> None:
    assert {"custom", *SERVER_TOOLS} == set(tags(sdk.ToolUnionParam))
    assert {*CUSTOM_TOOL.required, *CUSTOM_TOOL.optional} == set(get_type_hints(sdk.ToolParam))
