"""The members of a request's params, as the API declares them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MEMBERS: Final = frozenset(
    {
        "cache_control", "container", "diagnostics", "inference_geo", "max_tokens", "messages", "metadata",
        "model", "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "temperature",
        "thinking", "tool_choice", "tools", "top_k", "top_p", "user_profile_id",
    }
)  # fmt: skip
"""Members of params that the API declares. It refuses all others ("Extra inputs are not permitted"). From the published
OpenAPI document (2026-08) and `types/message_create_params.py` of the SDK 2.14. Add new members here."""
BETA_MEMBERS: Final = frozenset(
    {
        "billing_policy", "compaction", "context_management", "fallback_credit_token", "fallbacks",
        "mcp_servers", "output_format", "thread",
    }
)  # fmt: skip
"""Members that need a beta (extra `anthropic_beta` of the connection), from the SDK's
`types/beta/message_create_params.py`."""
TURN_MEMBERS: Final = frozenset({"role", "content"})
"""Members of a turn. Those of a system turn are not checked: betas add some."""
ROLES: Final = ("user", "assistant", "system")
"""Roles of a turn. `system` is for newer models, and must precede an assistant turn or come last."""
NEVER: Final[Mapping[str, str]] = {
    "store": "is not supported in batches",
    "previous_thread_event_id": "is not supported in batches",
    "cache_hint": "is not supported in batches",
    "context_hint": "is not supported in batches",
    "research_preview_2026_02": "is not supported in batches",
    "betas": "is an argument of the SDK; name betas in the connection's extra anthropic_beta",
    "timeout": "is an argument of the SDK; set the connection's extra timeout",
    "max_retries": "is an argument of the SDK; a batch takes no retries of single requests",
    "extra_body": "is an argument of the SDK; its members belong directly into params",
    "extra_headers": "is an argument of the SDK; set the connection's extra headers, which hold for the whole batch",
    "extra_query": "is an argument of the SDK; a batch takes no query",
    "workspace_id": "is an argument of the SDK; set the connection's extra workspace_id",
    "api_key": "is an argument of the SDK; set the connection's password, and take the key out of the requests",
}
"""Members that no batch accepts, and what to do instead."""
UNKNOWN: Final = (
    "not a member that the API is known to take ('Extra inputs are not permitted'); if it is new, use preflight='warn'"
)
