"""What a stored record of a submission says, for tests: the record itself names no state."""

from __future__ import annotations

from typing import Any


def state_of(record: Any) -> str:
    """Return `none`, `claimed`, `intent` or `submitted`."""
    if not record:
        return "none"
    if "intent" in record:
        return "intent"
    return "submitted" if "receipt" in record else "claimed"


def step_of(before: Any, after: Any) -> str:
    """Return which step of a submission a write is.

    `claimed`, `intent` and `submitted` as in the table of `airflow_batches.submission.sender`; `settled`: an intent is
    dropped, or a replaced batch is done.
    """
    before = before or {}
    if "intent" in after:
        return "intent"
    if after.get("claim") != before.get("claim"):
        return "claimed"
    return "submitted" if after.get("receipt") != before.get("receipt") else "settled"
