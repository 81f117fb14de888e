"""Requests to submit in tests."""

from __future__ import annotations

from typing import Any


def some_requests(count: int, *, prefix: str = "r", **params: Any) -> list[dict[str, Any]]:
    """That many requests that the API would answer."""
    fine = {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}]}
    return [{"custom_id": f"{prefix}-{number}", "params": fine | params} for number in range(count)]
