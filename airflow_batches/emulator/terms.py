"""What applies to the params of a whole call: version, betas, and the members that they allow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal

Params = Mapping[str, Any]
_STRICT_SINCE: Final = "2026-10-21"
"""First API version without sampling parameters (docs: migration to 2026-10-21)."""
SAMPLING: Final[Mapping[str, float]] = {"temperature": 1, "top_p": 1, "top_k": inf}
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
COUNTED_MEMBERS: Final = frozenset(
    {
        "cache_control",
        "messages",
        "model",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
    }
)
"""Members that a call of count_tokens may have, from the official SDK."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The parts of a call that apply to all params in it, and what kind of call it is."""

    version: str = ""
    betas: Collection[str] = ()
    user_profile_id: str | None = None
    models: Collection[str] = ()
    call: Literal["create", "messages", "count_tokens"] = "create"

    @classmethod
    def of(
        cls,
        headers: Mapping[str, str],
        models: Collection[str],
        call: Literal["create", "messages", "count_tokens"] = "create",
    ) -> Terms:
        """Read the terms from a call's headers. `models` are names known besides the API's own."""
        betas = [beta.strip() for beta in headers.get("anthropic-beta", "").split(",")]
        return cls(
            version=headers.get("anthropic-version", ""),
            betas=frozenset(filter(None, betas)),
            user_profile_id=headers.get("anthropic-user-profile-id"),
            models=models,
            call=call,
        )

    @property
    def strict(self) -> bool:
        """Whether the version refuses sampling parameters and some blocks in turns."""
        return self.version >= _STRICT_SINCE

    def members(self) -> frozenset[str]:
        """Return the members that params may have.

        Which of them need a beta is taken from the SDK. That any beta allows all of them is a simplification.
        """
        members = COUNTED_MEMBERS if self.call == "count_tokens" else _MEMBERS
        known = members | (_BETA_MEMBERS if self.betas else frozenset())
        return known - set(SAMPLING) if self.strict else known
