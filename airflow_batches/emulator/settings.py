"""The settings of the emulator.

Each field is a keyword of `Emulator`, a flag of the program, and a member of `/_emulator/settings`, and may be changed
while the emulator runs. What is stored with a batch at create (how long it takes, which lines fail, how long answers
are) stays as it was then; every other setting applies from the next call on.

Defaults follow the docs where they say something, otherwise recorded answers (see the comments).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal, get_type_hints

import msgspec

DEFAULT_KEY: Final = "sk-ant-emulator"
ENDPOINTS: Final = (
    "create",
    "list",
    "get",
    "cancel",
    "delete",
    "results",
    "models",
    "model",
    "messages",
    "count_tokens",
)

Condition = tuple[str, Callable[[Any], bool]]
"""A condition on a value, as text and as a function; None passes every condition."""

_SHARE: Final[Condition] = ("between 0 and 1", lambda share: 0 <= share <= 1)
_NOT_NEGATIVE: Final[Condition] = ("0 or more", lambda seconds: seconds >= 0)
_POSITIVE: Final[Condition] = ("1 or more", lambda count: count >= 1)
_ENDPOINTS: Final[Condition] = (f"among {', '.join(ENDPOINTS)}", lambda names: set(names) <= set(ENDPOINTS))


def _option(default: Any, text: str, rule: Condition | None = None) -> Any:
    about = {"help": text, "rule": rule}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=about)
    return field(default=default, metadata=about)


@dataclass(slots=True, kw_only=True)
class Settings:
    """The settings.

    Assignment raises ValueError for a value that is not allowed, AttributeError for no setting.
    """

    api_key: str | None = _option(DEFAULT_KEY, "key accepted, as x-api-key or Bearer; none: any key is")
    workspace_id: str = _option("wrkspc_01EmuLatorDefau1tWorkspace", "workspace of the key")
    workspaces: Mapping[str, str] = _option(
        {}, 'further keys and their workspaces; "*": a key for all, anthropic-workspace-id must name one'
    )
    refused_tokens: Mapping[str, Literal["expired", "revoked"]] = _option(
        {}, "OAuth tokens that are refused, and why: expired or revoked"
    )
    denied: tuple[str, ...] = _option((), "endpoints answered with 403 for lack of permission", _ENDPOINTS)
    processing_time: float = _option(0.0, "seconds on the emulator's clock from create to ended", _NOT_NEGATIVE)
    # Recorded: 0.9 to 1.6 s for 2 lines (2025), about 25 s for 3 lines (2026).
    cancel_time: float = _option(1.0, "seconds from cancel to ended", _NOT_NEGATIVE)
    cancel_after_ended: Literal[200, 400] = _option(200, "status of a cancel after the end (undocumented)")
    incremental_counts: bool = _option(
        False, "request_counts move while the batch runs; documented is that all stay in processing"
    )
    errored_share: float = _option(0.0, "share (0 to 1) of otherwise fine lines that end errored", _SHARE)
    errored_type: str = _option("api_error", "error type of those lines")
    errored_message: str | None = _option(None, "message of those lines; none: the usual one of the type")
    expired_share: float = _option(0.0, "share (0 to 1) of otherwise fine lines that end expired", _SHARE)
    invalid_output_share: float = _option(
        0.0, "share (0 to 1) of otherwise fine lines whose output does not match the schema asked for", _SHARE
    )
    answer_chars: int | None = _option(None, "characters of a text answer; none: a short echo", _NOT_NEGATIVE)
    models: tuple[str, ...] = _option((), "model names known besides the API's own")
    order: Literal["shuffled", "submitted", "reversed"] = _option(
        "shuffled", "order of the result lines; shuffled: another one at every read"
    )
    seed: int = _option(0, "seed of shares and orders")
    trailing_newline: bool = _option(False, "results end with a newline")
    gzip: bool = _option(False, "results are compressed for clients that accept gzip")
    # Chosen: large enough to be fast; tests set other sizes.
    chunk_bytes: int = _option(
        262_144, "bytes of a chunk of the results body; chunks ignore line boundaries", _POSITIVE
    )
    results_base: str | None = _option(None, "base of results_url; none: where the request was sent to")
    fresh_404: float = _option(0.0, "seconds after create in which retrieve and results answer 404", _NOT_NEGATIVE)
    # Recorded live, 2026-09.
    retry_after: int = _option(10, "retry-after (seconds) on a retrieve of a batch in progress", _NOT_NEGATIVE)
    require_version: bool = _option(True, "refuse calls without anthropic-version")
    # Docs, "Rate limits": the tier Scale.
    requests_per_minute: int = _option(4_000, "rate limit shown in the headers", _POSITIVE)
    enforce_rate_limit: bool = _option(False, "answer 429 beyond the rate limit")
    # Chosen: a day of polls every 90 s, and the bodies of 5,000 requests of 2 kB.
    journal_calls: int = _option(1_000, "newest calls of each endpoint in the journal", _NOT_NEGATIVE)
    journal_bytes: int = _option(10_000_000, "newest bytes of bodies in the journal", _NOT_NEGATIVE)
    queue_limit: int | None = _option(None, "lines in processing at once, 429 beyond; none: any", _POSITIVE)
    # Docs, "Batch processing": 100,000 requests or 256 MB.
    max_requests: int = _option(100_000, "requests a batch may have", _POSITIVE)
    max_body_bytes: int = _option(256_000_000, "bytes a create body may have, 413 beyond", _POSITIVE)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _TYPES:
            raise AttributeError(f"No setting is named {name!r}; known are {', '.join(_TYPES)}.")
        object.__setattr__(self, name, _checked(name, value))

    def change(self, changes: Mapping[str, Any]) -> None:
        """Make all of the changes, or raise ValueError and make none of them."""
        if unknown := sorted(set(changes) - set(_TYPES)):
            raise ValueError(f"No setting is named {', '.join(map(repr, unknown))}; known are {', '.join(_TYPES)}.")
        for name, value in {name: _checked(name, value) for name, value in changes.items()}.items():
            object.__setattr__(self, name, value)

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _TYPES}


_TYPES: Final[Mapping[str, Any]] = get_type_hints(Settings)
_RULES: Final[Mapping[str, Condition | None]] = {f.name: f.metadata["rule"] for f in dataclasses.fields(Settings)}


def _checked(name: str, value: Any) -> Any:
    value = value.total_seconds() if isinstance(value, timedelta) else value
    try:
        value = msgspec.convert(value, _TYPES[name])
    except msgspec.ValidationError as error:
        raise ValueError(f"The setting {name} cannot have this value: {error}.") from None
    rule = _RULES[name]
    if rule is not None and value is not None and not rule[1](value):
        raise ValueError(f"The setting {name} must be {rule[0]}, not {value!r}.")
    return value
