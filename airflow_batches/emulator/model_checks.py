"""What single models refuse in `params`.

Messages are recorded live or quoted from the docs' migration guides (2026) unless a check says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from airflow_batches.emulator.models import LONG_OUTPUT_BETA, Model
from airflow_batches.emulator.refusal import Refused
from airflow_batches.emulator.terms import SAMPLING, Params, Terms

_CONTROL: Final = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
_DEEP: Final = ("xhigh", "max")
"""Efforts that need thinking before the answer (docs: "Effort")."""


def check_model(params: Params, terms: Terms, model: Model) -> None:
    """Check params whose shape is fine against what the model takes. Raises Refused."""
    for check in _CHECKS:
        check(params, terms, model)


def _max_tokens(params: Params, terms: Terms, model: Model) -> None:
    if terms.call == "count_tokens":
        return
    asked = params["max_tokens"]
    if isinstance(asked, bool) or not isinstance(asked, int):
        raise Refused("max_tokens: Input should be a valid integer")
    if asked < (terms.call == "create"):
        raise Refused("max_tokens: must be greater than or equal to 1")
    limit = model.max_tokens_long if LONG_OUTPUT_BETA in terms.betas else model.max_tokens
    if asked > limit:
        raise Refused(
            f"max_tokens: {asked} > {limit}, which is the maximum allowed number of output tokens for {model.id}"
        )


def _sampling(params: Params, terms: Terms, model: Model) -> None:
    for name in SAMPLING:
        if name in params and model.adaptive:
            raise Refused(f"`{name}` is deprecated for this model.")
    for name, most in SAMPLING.items():
        if name in params:
            _within(name, params[name], most)


def _within(name: str, value: Any, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{name}: Input should be a valid number")
    if not 0 <= value <= most:
        bound = f"less than or equal to {most}" if value > most else "greater than or equal to 0"
        raise Refused(f"{name}: Input should be {bound}")


def _kind(params: Params) -> str | None:
    """Return the type of thinking that is asked for."""
    kind: str | None = (params.get("thinking") or {}).get("type")
    return kind


def _effort(params: Params) -> str | None:
    effort: str | None = (params.get("output_config") or {}).get("effort")
    return effort


def _thinking(params: Params, terms: Terms, model: Model) -> None:
    kind = _kind(params)
    if kind is None or kind in model.thinking or kind not in _REFUSED_THINKING:
        return
    if kind == "disabled" and "between_tools" in model.thinking:
        raise Refused(_REFUSED_THINKING[kind].replace("Use", f"{_BETWEEN_TOOLS}", 1))
    raise Refused(_REFUSED_THINKING[kind])


_BETWEEN_TOOLS: Final = 'Use "thinking.type.between_tools" for the lowest thinking setting, or'
_REFUSED_THINKING: Final = {
    "adaptive": "adaptive thinking is not supported on this model",
    "between_tools": '"thinking.type.between_tools" is not supported for this model.',
    "disabled": f'"thinking.type.disabled" is not supported for this model. {_CONTROL}',
    "enabled": f'"thinking.type.enabled" is not supported for this model. {_CONTROL}',
}


def _budget(params: Params, terms: Terms, model: Model) -> None:
    """Check what fixed thinking excludes."""
    if _kind(params) != "enabled":
        return
    if "max_tokens" in params and params["thinking"]["budget_tokens"] >= params["max_tokens"]:
        raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
    if params.get("temperature", 1) != 1:
        raise Refused("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.")
    if _is_forced(params):
        raise Refused("Thinking may not be enabled when tool_choice forces tool use.")


def _efforts(params: Params, terms: Terms, model: Model) -> None:
    """Check the effort; that about a level that the model lacks is not recorded."""
    effort = _effort(params)
    if effort is None:
        return
    if not model.efforts:
        raise Refused("This model does not support the effort parameter.")
    if effort not in model.efforts:
        raise Refused(f"output_config.effort: This model does not support effort level '{effort}'.")
    shallow = _kind(params) == "between_tools" or (_kind(params) == "disabled" and model.id == "claude-opus-5")
    if shallow and effort in _DEEP:
        raise Refused(
            f"output_config.effort '{effort}' is not supported when thinking is disabled on this model. Use effort"
            " 'high' or below, or enable thinking."
        )


def _forced_tools(params: Params, terms: Terms, model: Model) -> None:
    if _is_forced(params) and not model.forced_tools:
        raise Refused('tool_choice: type "tool" and "any" are not supported for this model.')


def _is_forced(params: Params) -> bool:
    return (params.get("tool_choice") or {}).get("type") in ("any", "tool")


_CHECKS: Final[tuple[Callable[[Params, Terms, Model], None], ...]] = (
    _max_tokens,
    _sampling,
    _thinking,
    _budget,
    _efforts,
    _forced_tools,
)
