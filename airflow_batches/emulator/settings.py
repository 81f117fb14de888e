"""How the emulator behaves, as one value; each field is a keyword of `Emulator`, a flag of the program, and a
member of `/_emulator/settings`, where it can be changed while the emulator runs.

What is written down with a batch at create (how long it takes, which lines fail, how long answers are) stays as
it was then; everything else applies from the next call on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

ENDPOINTS: Final = ("create", "list", "get", "cancel", "delete", "results", "models")


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    api_key: str | None = _option(
        "sk-ant-emulator", "the key that is accepted, as x-api-key or Bearer; none: any key is"
    )
    workspace_id: str = _option("wrkspc_01EmuLatorDefau1tWorkspace", "workspace of the key")
    workspaces: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"help": 'further keys and their workspaces; "*": a key for all, anthropic-workspace-id selects'},
    )
    denied: tuple[str, ...] = _option((), "endpoints answered with 403 for lack of permission")
    processing_time: float = _option(0.0, "seconds on the emulator's clock from create to ended")
    cancel_time: float = _option(1.0, "seconds from cancel to ended")
    cancel_after_ended: Literal[200, 400] = _option(200, "status of a cancel after the end (undocumented)")
    incremental_counts: bool = _option(
        False, "request_counts move while the batch runs; documented is that all stay in processing"
    )
    errored_share: float = _option(0.0, "share (0 to 1) of otherwise fine lines that end errored")
    errored_type: str = _option("api_error", "error type of those lines")
    errored_message: str | None = _option(None, "message of those lines; none: the usual one of the type")
    expired_share: float = _option(0.0, "share (0 to 1) of otherwise fine lines that end expired")
    answer_chars: int | None = _option(None, "characters of every answer; none: short, echoing the request")
    models: tuple[str, ...] = _option((), "model names known besides the API's own")
    order: Literal["shuffled", "submitted", "reversed"] = _option(
        "shuffled", "order of the result lines; shuffled: another one at every read"
    )
    seed: int = _option(0, "seed of shares and orders")
    trailing_newline: bool = _option(False, "results end with a newline")
    gzip: bool = _option(False, "results are compressed for clients that accept gzip")
    chunk_bytes: int = _option(262_144, "bytes of a chunk of the results body; chunks ignore line boundaries")
    results_base: str | None = _option(None, "base of results_url; none: where the request was sent to")
    fresh_404: float = _option(0.0, "seconds after create in which retrieve and results answer 404")
    retry_after: int = _option(10, "retry-after (seconds) on a retrieve of a batch in progress")
    require_version: bool = _option(False, "refuse calls without anthropic-version")
    requests_per_minute: int = _option(4_000, "rate limit told in the headers")
    enforce_rate_limit: bool = _option(False, "answer 429 beyond the rate limit")
    queue_limit: int | None = _option(None, "lines that may be in processing at once, 429 beyond; none: any")
    max_requests: int = _option(100_000, "requests a batch may have")
    max_body_bytes: int = _option(256_000_000, "bytes a create body may have, 413 beyond")

    def __post_init__(self) -> None:
        for name in ("errored_share", "expired_share"):
            _require(0 <= getattr(self, name) <= 1, name, "a share between 0 and 1")
        _require(self.errored_share + self.expired_share <= 1, "errored_share + expired_share", "at most 1")
        for name in ("processing_time", "cancel_time", "fresh_404", "retry_after"):
            _require(getattr(self, name) >= 0, name, "0 seconds or more")
        for name in ("chunk_bytes", "max_requests", "max_body_bytes", "requests_per_minute"):
            _require(getattr(self, name) >= 1, name, "1 or more")
        _require(self.answer_chars is None or self.answer_chars >= 0, "answer_chars", "0 or more")
        _require(set(self.denied) <= set(ENDPOINTS), "denied", f"endpoints, of {', '.join(ENDPOINTS)}")

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """A copy with these fields changed. Raises ValueError for an unknown field or a value it cannot take."""
        known = {f.name for f in dataclasses.fields(self)}
        if unknown := sorted(set(changes) - known):
            raise ValueError(f"unknown settings {unknown}; known are {sorted(known)}")
        return settings(**{name: getattr(self, name) for name in known} | dict(changes))


def settings(**values: Any) -> Settings:
    """Settings from plain values, types checked. Raises ValueError (TypeError for an unknown name)."""
    if unknown := sorted(set(values) - {f.name for f in dataclasses.fields(Settings)}):
        raise TypeError(f"unknown settings {unknown}")
    return msgspec.convert(values, Settings)


def _require(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {what}")
