"""The models, as far as the checks of a batch line depend on them.

A name is recognized by its form, so that newer models work too: `claude-<line>-<version>`, version 4.5 or newer (older
ones are retired and end as `not_found_error` lines). Aliases resolve to the dated name where there is one. Output
limits: 64,000 tokens is recorded live for Haiku 4.5, 128,000 for Sonnet 4.6 (2026-05); 300,000 needs its beta (docs:
"Batch processing"). What a model takes follows the docs' pages "Thinking", "Effort" and the migration guides (2026-10).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

OLDEST_FIRST: Final = (
    "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-5-20251101",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-opus-5",
    "claude-mythos-5",
    "claude-fable-5",
    "claude-sonnet-5",
    "claude-mythos-5-1",
    "claude-fable-5-1",
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-mythos-5-2",
    "claude-fable-5-2",
)
"""The models that `GET /v1/models` lists."""

LONG_OUTPUT_BETA: Final = "output-300k-2026-03-24"
"""The beta that allows 300,000 output tokens (docs: "Batch processing")."""
LONG_CONTEXT_BETA: Final = "context-1m-2025-08-07"
"""The beta that widens the context window of Sonnet 4.5 (docs: "Context windows")."""
_NAME: Final = re.compile(r"claude-(haiku|sonnet|opus|fable|mythos)-(\d{1,2})(?:-(\d{1,2}))?(?:-(\d{8}))?")
_DATED: Final = {name[:-9]: name for name in OLDEST_FIRST if re.fullmatch(r".*-\d{8}", name)}
_OLDEST: Final = (4, 5)
"""The oldest version that is still served."""
_LARGE: Final = (4, 6)
"""First version with 128,000 output tokens, a window of a million, adaptive thinking, and no prefill."""
_ADAPTIVE: Final = (4, 7)
"""First version without sampling parameters and fixed thinking budgets."""
_WINDOW: Final = 200_000
"""Tokens of the context window of older versions (docs: "Context windows")."""
_LARGE_WINDOW: Final = 1_000_000
"""The same from `_LARGE` on (docs: "Context windows")."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a line may name.

    `max_tokens` is its output limit in tokens, `window` its context window; `max_tokens_long` and `window_long` are
    those with their betas.
    """

    id: str
    max_tokens: int
    max_tokens_long: int
    window: int
    window_long: int
    adaptive: bool
    inference_geo: str
    thinking: tuple[str, ...]
    efforts: tuple[str, ...]
    prefill: bool = False
    forced_tools: bool = True


def find_model(name: str, extra: Collection[str] = ()) -> Model | None:
    """Return the model of that name, or None when the API would answer `not_found_error`."""
    if name in extra:
        return _any_model(name)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    line, version = match[1], (int(match[2]), int(match[3] or 0))
    if version < _OLDEST or (match[4] and name not in OLDEST_FIRST):
        return None
    large = version >= _LARGE
    limit = 128_000 if large else 64_000
    window = _LARGE_WINDOW if large else _WINDOW
    return Model(
        _DATED.get(name, name),
        limit,
        300_000 if large and line in ("opus", "sonnet") else limit,
        window,
        _LARGE_WINDOW if (line, version) == ("sonnet", (4, 5)) else window,
        version >= _ADAPTIVE,
        "global" if large else "not_available",
        _thinking(line, version),
        _efforts(line, version),
        prefill=not large,
        forced_tools=not (_always_thinks(line, version) and version != (5, 0)),
    )


def _any_model(name: str) -> Model:
    """Return a model that is not the API's own: it takes everything."""
    thinking, efforts = ("adaptive", "between_tools", "disabled", "enabled"), ("low", "medium", "high", "xhigh", "max")
    window = _LARGE_WINDOW
    return Model(name, 128_000, 300_000, window, window, False, "global", thinking, efforts, prefill=True)


def _always_thinks(line: str, version: tuple[int, int]) -> bool:
    return line in ("fable", "mythos") or (line in ("opus", "sonnet") and version >= (5, 5))


def _thinking(line: str, version: tuple[int, int]) -> tuple[str, ...]:
    """Return the values of `thinking.type` that the model takes."""
    if version < _LARGE:
        return "disabled", "enabled"
    if version < _ADAPTIVE:
        return "adaptive", "disabled", "enabled"
    if not _always_thinks(line, version):
        return "adaptive", "disabled"
    return ("adaptive", "between_tools") if line == "sonnet" else ("adaptive",)


def _efforts(line: str, version: tuple[int, int]) -> tuple[str, ...]:
    """Return the values of `output_config.effort` that the model takes."""
    if version < _LARGE:
        return ("low", "medium", "high") if line == "opus" else ()
    return ("low", "medium", "high", "max") if version < _ADAPTIVE else ("low", "medium", "high", "xhigh", "max")
