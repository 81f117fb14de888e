"""The models, as far as the checks of a batch line depend on them.

A name is recognized by its form, so that newer models work too: `claude-<line>-<version>`, version 4.5 or newer (older
ones are retired and end as `not_found_error` lines). Aliases resolve to the dated name where there is one. Output
limits: 64,000 tokens is recorded live for Haiku 4.5; 300,000 needs its beta (docs: "Batch processing").
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

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
_NAME: Final = re.compile(r"claude-(haiku|sonnet|opus|fable|mythos)-(\d{1,2})(?:-(\d{1,2}))?(?:-(\d{8}))?")
_DATED: Final = {name[:-9]: name for name in OLDEST_FIRST if re.fullmatch(r".*-\d{8}", name)}
_OLDEST: Final = (4, 5)
"""The oldest version that is still served."""
_ADAPTIVE: Final = (4, 7)
"""First version without sampling parameters and fixed thinking budgets."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a line may name.

    `max_tokens` is its output limit in tokens, `max_tokens_long` with the beta.
    """

    id: str
    max_tokens: int
    max_tokens_long: int
    adaptive: bool
    inference_geo: str


def find_model(name: str, extra: Collection[str] = ()) -> Model | None:
    """Return the model of that name, or None when the API would answer `not_found_error`."""
    if name in extra:
        return Model(name, 128_000, 300_000, adaptive=False, inference_geo="global")
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    line, version = match[1], (int(match[2]), int(match[3] or 0))
    if version < _OLDEST or (match[4] and _DATED.get(name[:-9], name) != name):
        return None
    small = line == "haiku" or version <= _OLDEST or (line, version) == ("sonnet", (4, 6))
    limit = 64_000 if small else 128_000
    long = 300_000 if line in ("opus", "sonnet") and version > _OLDEST else limit
    geo = "not_available" if version <= _OLDEST else "global"
    return Model(_DATED.get(name, name), limit, long, version >= _ADAPTIVE, geo)


def model_info(name: str) -> dict[str, Any]:
    """Return a model as `GET /v1/models` shows it; an unknown date is the epoch (docs)."""
    match = re.fullmatch(r"(.*?)(?:-(\d{4})(\d{2})(\d{2}))?", name)
    found = find_model(name)
    if match is None or found is None:
        raise ValueError(f"not a model: {name}")
    line, *version = match[1].removeprefix("claude-").split("-")
    return {
        "type": "model",
        "id": name,
        "display_name": f"Claude {line.capitalize()} {'.'.join(version)}",
        "created_at": f"{match[2]}-{match[3]}-{match[4]}T00:00:00Z" if match[2] else "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "line": line,
        "max_tokens": found.max_tokens,
    }
