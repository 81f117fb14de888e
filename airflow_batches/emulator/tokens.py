"""Estimates of token counts; the emulator has no tokenizer.

A letter or a space counts a fifth of a token, and each digit, mark or character beyond ASCII one. Against the counts
that are known (`tests/unit/emulator/test_tokens.py`) the error is at most an eighth. The length of the JSON divided by
four is up to two thirds too high for short prompts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

_PLAIN: Final = b" ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SAMPLED: Final = 64
"""Characters of a text that are looked at, evenly spread; chosen: half a microsecond for a text of any length, because
it is done for each of 100,000 requests. 192 characters made a create a tenth slower."""
PER_REQUEST: Final = 4
"""Tokens around all messages. Chosen: half of the 8 that recorded counts have for one message."""
PER_TURN: Final = 4
"""Tokens around each message. Chosen: the other half."""
PER_ANSWER: Final = 3
"""Tokens of an answer beyond its text; recorded: the answer `Hello` counts 4 (2026-05-02)."""
TOOLS_TOKENS: Final = 346
"""Tokens that tools add beyond their definitions (docs: "Tool use", for models 4.5 and newer)."""
_IMAGE: Final = 1_600
"""Tokens of an image; docs ("Vision"): the most that an image of the usual size takes."""
_DOCUMENT: Final = 2_000
"""Tokens of a document that is not text; docs ("PDF support"): 1,500 to 3,000 a page."""
_NEWER: Final = (4, 7)
"""First version of the tokenizer that gives about 30 % more tokens (docs: "Pricing")."""
_NEWER_FACTOR: Final = 1.3
"""Its factor (docs: "Pricing")."""
_VERSION: Final = re.compile(r"claude-[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?!\d)")


def count_text(text: str) -> int:
    """Estimate the tokens of a text for models before 4.7.

    :param text: any text; of a long one, only a sample is looked at.
    :return: the estimate; 0 for an empty text, otherwise at least 1.
    """
    if not text:
        return 0
    size = len(text)
    sample = text[:: size // _SAMPLED + 1]
    try:
        data = sample.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        data = sample.encode(errors="replace")
    seen, plain = len(sample), len(data) - len(data.translate(None, _PLAIN))
    return ((5 * seen - 4 * plain) * size * 2 + 5 * seen) // (10 * seen) or 1


def count_answer(text: str, factor: float = 1.0) -> int:
    """Estimate the output tokens of a text answer.

    :param factor: that of the model, from `tokenizer_factor`.
    """
    return PER_ANSWER + round(count_text(text) * factor)


def count_params(params: Mapping[str, Any]) -> int:
    """Estimate the input tokens of a request, in the model's tokenizer.

    :param params: the decoded body of a Messages call; unknown shapes count as the text that they hold.
    """
    messages = params.get("messages")
    turns = messages if isinstance(messages, list) else []
    count = PER_REQUEST + sum(PER_TURN + count_content(t.get("content")) for t in turns if isinstance(t, dict))
    count += count_content(params.get("system")) + count_tools(params.get("tools"))
    return round(count * tokenizer_factor(str(params.get("model"))))


def count_tools(tools: Any) -> int:
    """Estimate the tokens of tool definitions, with the prompt that explains them to the model."""
    return TOOLS_TOKENS + count_text(" ".join(_strings(tools))) if tools else 0


def count_content(content: Any) -> int:
    """Estimate the tokens of a message's content, or of a system prompt: text or blocks."""
    if isinstance(content, str):
        return count_text(content)
    return sum(map(_count_block, content)) if isinstance(content, list) else 0


def _count_block(block: Any) -> int:
    if not isinstance(block, dict):
        return 0
    if block.get("type") == "image":
        return _IMAGE
    source = block.get("source")
    if block.get("type") == "document" and isinstance(source, dict):
        return count_text(str(source.get("data"))) if source.get("type") == "text" else _DOCUMENT
    if isinstance(block.get("text"), str):
        return count_text(block["text"])
    if isinstance(block.get("content"), list):
        return count_content(block["content"])
    return count_text(" ".join(_strings({k: v for k, v in block.items() if k not in _UNCOUNTED})))


_UNCOUNTED: Final = ("type", "id", "tool_use_id", "signature", "cache_control", "caller")
"""Members of a block that are not part of the prompt's text."""


@lru_cache(maxsize=64)
def version_of(model: str) -> tuple[int, int]:
    """Return the version in a model's name, (0, 0) for a name of another form."""
    found = _VERSION.match(model)
    return (0, 0) if found is None else (int(found[1]), int(found[2] or 0))


def tokenizer_factor(model: str) -> float:
    """Return how many tokens the model's tokenizer gives for one of the older tokenizer."""
    return _NEWER_FACTOR if version_of(model) >= _NEWER else 1.0


def _strings(value: Any) -> Iterator[str]:
    """Yield the keys and strings of a JSON value; an iterator of its own stack, because values nest deeply."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += [*item.values(), *item]
        elif isinstance(item, list):
            stack += item
        elif item is not None:
            yield str(item)
