"""Models as `GET /v1/models` and `GET /v1/models/{id}` show them.

The first seven members and their order are recorded live (2026-05), capabilities and limits of Haiku 4.5 too (2026-10);
the others follow the official SDK. A date that is not known is the epoch (docs).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from airflow_batches.emulator.errors import ErrorAnswer
from airflow_batches.emulator.models import Model, find_model

_RELEASED: Final[Mapping[str, str]] = {
    "claude-opus-4-6": "2026-02-05",
    "claude-sonnet-4-6": "2026-02-17",
    "claude-opus-4-7": "2026-04-14",
    "claude-sonnet-5": "2026-06-30",
    "claude-opus-5-5": "2026-09-22",
    "claude-sonnet-5-5": "2026-09-28",
    "claude-haiku-5-5": "2026-10-07",
    "claude-mythos-5-2": "2026-11-09",
    "claude-fable-5-2": "2026-11-09",
}
"""Dates of undated models: recorded in the models list (2026-05), or from the docs (model pages, release notes)."""
_RETIRES: Final[Mapping[str, str]] = {"claude-sonnet-4-5-20250929": "2026-11-30T00:00:00Z"}
"""Models whose retirement is announced (docs: "Model deprecations")."""
_THINKING: Final = ("enabled", "adaptive", "disabled", "between_tools")
_EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")


def model_object(name: str, extra: Collection[str] = ()) -> dict[str, Any]:
    """Return a model under its full name.

    Raises ErrorAnswer (404) for a name that is neither a model nor in `extra`.
    """
    model = find_model(name, extra)
    if model is None:
        raise ErrorAnswer(404, f"model: {name}")
    own = name not in extra
    line, *version = _undated(model.id).removeprefix("claude-").split("-")
    return {
        "type": "model",
        "id": model.id,
        "display_name": f"Claude {line.capitalize()} {'.'.join(version)}" if own else name,
        "created_at": f"{_released(model.id)}T00:00:00Z",
        "max_input_tokens": model.window_long,
        "max_tokens": model.max_tokens,
        "capabilities": _capabilities(model),
        "lifecycle": "deprecated" if model.id in _RETIRES else "active",
        "line": line if own else None,
        "deprecated_at": None,
        "retires_at": _RETIRES.get(model.id),
    }


def _undated(name: str) -> str:
    return name[:-9] if name[-8:].isdecimal() else name


def _released(name: str) -> str:
    if name[-8:].isdecimal():
        return f"{name[-8:-4]}-{name[-4:-2]}-{name[-2:]}"
    return _RELEASED.get(name, "1970-01-01")


def _capabilities(model: Model) -> dict[str, Any]:
    large = "adaptive" in model.thinking
    return {
        "batch": _support(True),
        "citations": _support(True),
        "code_execution": _support(not model.id.startswith("claude-haiku-4")),
        "context_management": _support(True)
        | {
            "clear_tool_uses_20250919": _support(True),
            "clear_thinking_20251015": _support(True),
            "compact_20260112": _support(large),
        },
        "effort": _support(bool(model.efforts)) | {level: _support(level in model.efforts) for level in _EFFORTS},
        "image_input": _support(True),
        "pdf_input": _support(True),
        "structured_outputs": _support(True),
        "thinking": _support(True) | {"types": {kind: _support(kind in model.thinking) for kind in _THINKING}},
        "server_tools": _support(True) | {"web_search": _support(True), "code_execution": _support(True)},
    }


def _support(supported: bool) -> dict[str, Any]:
    return {"supported": supported}
