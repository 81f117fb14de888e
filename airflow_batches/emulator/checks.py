"""What the API refuses in a line's `params`, except in its messages (see `turns`).

Two tables of checks run in order, the second once the model is known; the first check that fails decides. Messages are
recorded live (2026) unless a check says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from airflow_batches.emulator.models import LONG_OUTPUT_BETA, Model, find_model

Params = Mapping[str, Any]
_STRICT_SINCE: Final = "2026-10-21"
"""First API version without sampling parameters (docs: migration to 2026-10-21)."""
_SAMPLING: Final[Mapping[str, float]] = {"temperature": 1, "top_p": 1, "top_k": inf}
"""Sampling parameters and their upper bounds; the lower bound is 0 (docs: API reference, Messages)."""
_MEMBERS: Final = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user_profile_id",
    }
)
"""Members that the official SDK declares, and those that older versions take (`tests/contract/test_members.py`)."""
_BETA_MEMBERS: Final = frozenset(
    {
        "billing_policy",
        "compaction",
        "context_management",
        "fallback_credit_token",
        "fallbacks",
        "mcp_servers",
        "output_format",
        "thread",
    }
)
"""Members that the SDK declares for its beta calls only."""


class Refused(Exception):
    """The reason why a line ends errored: message and error type."""

    def __init__(self, message: str, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Terms:
    """The parts of the create call that apply to all of its lines."""

    version: str = ""
    betas: Collection[str] = ()
    user_profile_id: str | None = None
    models: Collection[str] = ()

    @property
    def strict(self) -> bool:
        """Whether the version refuses sampling parameters and some blocks in turns."""
        return self.version >= _STRICT_SINCE

    def members(self) -> frozenset[str]:
        """Return the members that params may have.

        Which of them need a beta is taken from the SDK. That any beta allows all of them is a simplification.
        """
        known = _MEMBERS | (_BETA_MEMBERS if self.betas else frozenset())
        return known - set(_SAMPLING) if self.strict else known


def check(params: Params, terms: Terms) -> Model:
    """Check decoded `params`, except for the messages, and return the line's model.

    Raises Refused.
    """
    for check_params in _CHECKS:
        check_params(params, terms)
    model = _known_model(params["model"], terms)
    for check_for_model in _CHECKS_OF_MODEL:
        check_for_model(params, terms, model)
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
        if name not in params:
            raise Refused(f"{name}: Field required")


def _streamed(params: Params, terms: Terms) -> None:
    stream = params.get("stream", False)
    if stream is True:
        raise Refused("`stream=True` is not supported in the Message Batches API")
    if stream is not False:
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


def _known_model(name: Any, terms: Terms) -> Model:
    if not isinstance(name, str):
        raise Refused("model: Input should be a valid string")
    model = find_model(name, terms.models)
    if model is None:
        raise Refused(f"model: {name}", "not_found_error")
    return model


def _max_tokens(params: Params, terms: Terms, model: Model) -> None:
    asked = params["max_tokens"]
    if isinstance(asked, bool) or not isinstance(asked, int):
        raise Refused("max_tokens: Input should be a valid integer")
    if asked < 1:
        raise Refused("max_tokens: must be greater than or equal to 1")
    limit = model.max_tokens_long if LONG_OUTPUT_BETA in terms.betas else model.max_tokens
    if asked > limit:
        raise Refused(
            f"max_tokens: {asked} > {limit}, which is the maximum allowed number of output tokens for {model.id}"
        )


def _sampling(params: Params, terms: Terms, model: Model) -> None:
    for name in _SAMPLING:
        if name in params and model.adaptive:
            raise Refused(f"`{name}` is deprecated for this model.")
    for name, most in _SAMPLING.items():
        if name in params:
            _within(name, params[name], most)


def _within(name: str, value: Any, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{name}: Input should be a valid number")
    if not 0 <= value <= most:
        bound = f"less than or equal to {most}" if value > most else "greater than or equal to 0"
        raise Refused(f"{name}: Input should be {bound}")


def _thinking(params: Params, terms: Terms, model: Model) -> None:
    thinking = params.get("thinking")
    if model.adaptive and isinstance(thinking, dict) and thinking.get("type") == "enabled":
        raise Refused(
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and'
            ' "output_config.effort" to control thinking behavior.'
        )


def _missing_tool(params: Params, terms: Terms) -> None:
    choice = params.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "tool" and forced_tool(params) is None:
        raise Refused(f"Tool '{choice.get('name')}' not found in provided tools")


def _not_in_batches(params: Params, terms: Terms) -> None:
    """Refused according to the docs; the messages are not published."""
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
    _missing_tool,
    _not_in_batches,
)
_CHECKS_OF_MODEL: Final[tuple[Callable[[Params, Terms, Model], None], ...]] = (_max_tokens, _sampling, _thinking)


def _tools(params: Params) -> list[dict[str, Any]]:
    tools = params.get("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
