"""What the API refuses in `params`, except in its messages (see `turns` and `conversation`).

The checks run in order, those that depend on the model (see `model_checks`) last; the first check that fails decides.
Messages are recorded live (2026) unless a check says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from airflow_batches.emulator.model_checks import check_model
from airflow_batches.emulator.models import Model, find_model
from airflow_batches.emulator.refusal import Refused as Refused
from airflow_batches.emulator.shapes import check_shapes
from airflow_batches.emulator.terms import Params
from airflow_batches.emulator.terms import Terms as Terms


def check(params: Params, terms: Terms) -> Model:
    """Check decoded `params`, except for the messages, and return the line's model.

    Raises Refused.
    """
    for check_params in _CHECKS:
        check_params(params, terms)
    model = _known_model(params["model"], terms)
    check_model(params, terms, model)
    return model


def forced_tool(params: Params) -> dict[str, Any] | None:
    """Return the tool that `tool_choice` forces, or None."""
    choice = params.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") not in ("tool", "any"):
        return None
    wanted = choice.get("name") if choice["type"] == "tool" else None
    return next((t for t in _tools(params) if wanted is None or t.get("name") == wanted), None)


def output_schema(params: Params) -> Any:
    """Return the JSON schema that the answer's text must match, or None."""
    config = params.get("output_config")
    form = config.get("format") if isinstance(config, dict) else params.get("output_format")
    return form.get("schema") if isinstance(form, dict) and form.get("type") == "json_schema" else None


def _unknown_member(params: Params, terms: Terms) -> None:
    members = terms.members()
    for name in params:
        if name not in members:
            raise Refused(f"{name}: Extra inputs are not permitted")


def _missing_member(params: Params, terms: Terms) -> None:
    for name in ("model", "messages", "max_tokens"):
        if name not in params and (name, terms.call) != ("max_tokens", "count_tokens"):
            raise Refused(f"{name}: Field required")


def _streamed(params: Params, terms: Terms) -> None:
    stream = params.get("stream", False)
    if stream is True and terms.call == "create":
        raise Refused("`stream=True` is not supported in the Message Batches API")
    if not isinstance(stream, bool):
        raise Refused("stream: Input should be a valid boolean")


def refuse_empty_texts(where: str, blocks: Iterable[Any]) -> None:
    """Raise Refused for a text block without text (both messages are recorded live)."""
    for block in blocks:
        if not isinstance(block, dict):
            raise Refused(f"{where}: Input should be a valid dictionary")
        if block.get("type") == "text":
            refuse_empty_text(where, block.get("text"))


def refuse_empty_text(where: str, text: Any) -> None:
    """Raise Refused for a value that is not a string, is empty, or is only whitespace."""
    if not isinstance(text, str):
        raise Refused(f"{where}: text: Input should be a valid string")
    if not text:
        raise Refused(f"{where}: text content blocks must be non-empty")
    if text.isspace():
        raise Refused(f"{where}: text content blocks must contain non-whitespace text")


def _empty_system(params: Params, terms: Terms) -> None:
    """An empty system string is accepted; that is an assumption, not recorded."""
    system = params.get("system", "")
    if isinstance(system, list):
        refuse_empty_texts("system", system)
    elif not isinstance(system, str):
        raise Refused("system: Input should be a valid list")
    elif system:
        refuse_empty_text("system", system)


def _misshaped(params: Params, terms: Terms) -> None:
    check_shapes(params, beta=bool(terms.betas))


def _known_model(name: Any, terms: Terms) -> Model:
    if not isinstance(name, str):
        raise Refused("model: Input should be a valid string")
    model = find_model(name, terms.models)
    if model is None:
        raise Refused(f"model: {name}", "not_found_error")
    return model


def _missing_tool(params: Params, terms: Terms) -> None:
    """Refuse a choice that no tool fits. Only an MCP server can list its tools, and only the API those of a toolset."""
    choice = params.get("tool_choice") or {}
    if params.get("mcp_servers"):
        return
    if choice.get("type") == "any" and not params.get("tools"):
        raise Refused("tool_choice.any may only be specified while providing tools")
    unnamed = any("name" not in tool for tool in _tools(params))
    if choice.get("type") == "tool" and forced_tool(params) is None and not unnamed:
        raise Refused(f"Tool '{choice.get('name')}' not found in provided tools")


def _not_in_batches(params: Params, terms: Terms) -> None:
    """Refused according to the docs; the messages are not published."""
    if terms.call != "create":
        return
    if params.get("speed") not in (None, "standard"):
        raise Refused("`speed` is not supported in the Message Batches API")
    policy = params.get("billing_policy")
    if isinstance(policy, dict) and policy.get("bill_to") == "user_profile":
        raise Refused("billing_policy: `bill_to` user_profile is not supported in the Message Batches API")
    own, given = params.get("user_profile_id"), terms.user_profile_id
    if own is not None and given is not None and own != given:
        raise Refused("user_profile_id: does not match the anthropic-user-profile-id header")


_CHECKS: Final[tuple[Callable[[Params, Terms], None], ...]] = (
    _unknown_member,
    _missing_member,
    _streamed,
    _empty_system,
    _misshaped,
    _missing_tool,
    _not_in_batches,
)


def _tools(params: Params) -> list[dict[str, Any]]:
    tools = params.get("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
