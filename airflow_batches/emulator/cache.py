"""The prompt cache: which beginnings of prompts were sent, and until when they can be read.

The first request with a prefix writes it, later ones read it and prolong its life (docs: "Prompt caching"; recorded
live: of two lines with one prefix of 17,508 tokens, one wrote and one read it). The API promises no hits in batches;
the emulator gives all that are possible, in the order of the lines. The cache is in memory only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from airflow_batches.emulator.clock import SECOND
from airflow_batches.emulator.tokens import TOOLS_TOKENS, count_content, count_tools, tokenizer_factor, version_of

CacheUse = tuple[int, int, int]
"""Tokens written for 5 minutes, written for an hour, and read."""
NO_CACHE: Final[CacheUse] = (0, 0, 0)
_TTLS: Final[Mapping[str, int]] = {"5m": 300, "1h": 3600}
_SMALLEST: Final = {(4, 7): 2_048, (4, 8): 1_024, (5, 0): 512}
"""Tokens of the smallest prefix that is cached, from a version on (reported, 2026)."""
_SMALLEST_BEFORE: Final = 4_096
"""The same for older versions (reported, 2026)."""
_SMALLEST_SONNET: Final = 1_024
"""The same for Sonnet 4.5, 4.6 and 5 (reported, 2026)."""


class Prefix(NamedTuple):
    """The beginning of a prompt up to a `cache_control`: its tokens, and its lifetime in seconds."""

    digest: bytes
    tokens: int
    ttl: int


class PromptCache:
    """The cached prefixes of all workspaces."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, bytes], int] = {}

    def use(self, workspace: str, prefixes: Sequence[Prefix], now: int) -> CacheUse:
        """Read the longest prefix that is cached, write the longer ones, and return the tokens of both."""
        with self._lock:
            read = max((p.tokens for p in prefixes if self._until.get((workspace, p.digest), 0) > now), default=0)
            written = dict.fromkeys(_TTLS.values(), 0)
            known = read
            for prefix in prefixes:
                if prefix.tokens > known:
                    written[prefix.ttl] += prefix.tokens - known
                    known = prefix.tokens
                self._until[workspace, prefix.digest] = now + prefix.ttl * SECOND
        return written[_TTLS["5m"]], written[_TTLS["1h"]], read

    def forget_expired(self, now: int) -> None:
        """Remove what can no longer be read."""
        with self._lock:
            self._until = {key: until for key, until in self._until.items() if until > now}

    def clear(self) -> None:
        with self._lock:
            self._until.clear()


def find_prefixes(params: Mapping[str, Any], model: str) -> list[Prefix]:
    """Return the prefixes of a prompt that are large enough to be cached, the shortest first."""
    blocks, control = list(_blocks(params)), params.get("cache_control")
    marked = [block.get("cache_control") for block, _ in blocks]
    if isinstance(control, dict) and blocks and not isinstance(marked[-1], dict):
        marked[-1] = control
    if not any(isinstance(mark, dict) for mark in marked):
        return []
    state, tokens, found = blake2b(model.encode(), digest_size=16), 0, []
    smallest, factor = smallest_prefix(model), tokenizer_factor(model)
    for (block, size), mark in zip(blocks, marked, strict=True):
        content = {name: value for name, value in block.items() if name != "cache_control"}
        state.update(msgspec.json.encode(content, order="sorted"))
        tokens += size
        if isinstance(mark, dict) and tokens * factor >= smallest:
            ttl = _TTLS.get(str(mark.get("ttl")), _TTLS["5m"])
            found.append(Prefix(state.copy().digest(), round(tokens * factor), ttl))
    return found


def smallest_prefix(model: str) -> int:
    """Return the tokens that a prefix needs to be cached; a shorter one is neither written nor read."""
    version = version_of(model)
    if "sonnet" in model and (4, 5) <= version <= (5, 0):
        return _SMALLEST_SONNET
    return next((s for since, s in sorted(_SMALLEST.items(), reverse=True) if version >= since), _SMALLEST_BEFORE)


def _blocks(params: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each block of the prompt with its tokens, in the order in which the model reads them."""
    for place, tool in enumerate(_dicts(params.get("tools"))):
        yield tool, count_tools([tool]) - (TOOLS_TOKENS if place else 0)
    for block in _as_blocks(params.get("system")):
        yield block, count_content([block])
    for turn in _dicts(params.get("messages")):
        for block in _as_blocks(turn.get("content")):
            yield {"role": turn.get("role"), **block}, count_content([block])


def _as_blocks(content: Any) -> Iterable[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else _dicts(content)


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
