"""The messages of a line: read as far as the API would object to them, and no further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from airflow_batches.emulator.checks import Refused, Terms


class Turn(msgspec.Struct, gc=False):
    """One message; its content stays raw JSON until somebody wants it."""

    role: str | msgspec.UnsetType = msgspec.UNSET
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Block(msgspec.Struct):
    """What a version may refuse in a block of a turn."""

    type: Any = None
    citations: Any = None


_TURNS: Final = msgspec.json.Decoder(list[Turn])
_BLOCKS: Final = msgspec.json.Decoder(list[Block])


def read_turns(raw: msgspec.Raw, terms: Terms) -> list[Turn]:
    """Raises Refused for messages that are none, or that the call's version does not take."""
    try:
        turns = _TURNS.decode(raw)
    except msgspec.ValidationError:
        raise _objection(msgspec.json.decode(raw)) from None
    if not turns:
        raise Refused("messages: at least one message is required")
    strict = terms.strict
    for number, turn in enumerate(turns):
        if turn.role is msgspec.UNSET or turn.content is msgspec.UNSET:
            missing = "role" if turn.role is msgspec.UNSET else "content"
            raise Refused(f"messages.{number}.{missing}: Field required")
        if strict and memoryview(turn.content)[0] == ord("["):
            _refuse_old_blocks(number, turn.role, turn.content)
    return turns


def last_question(turns: Sequence[Turn]) -> str:
    """The text of the last user turn, its first text block where it has several, empty where it has none."""
    for turn in reversed(turns):
        if turn.role == "user":
            return "" if turn.content is msgspec.UNSET else _first_text(msgspec.json.decode(turn.content))
    return ""


def _first_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [b.get("text") for b in content if isinstance(b, dict)] if isinstance(content, list) else []
    return next((text for text in texts if isinstance(text, str)), "")


def _refuse_old_blocks(number: int, role: str, content: msgspec.Raw) -> None:
    """Version 2026-10-21 takes no documents in assistant turns and no citations on text in user turns (docs). That
    the line ends errored, as it does for sampling parameters, and both texts are ours, in the API's style."""
    for place, block in enumerate(_blocks(content)):
        at = f"messages.{number}.content.{place}.{block.type}"
        if (role, block.type) == ("assistant", "document"):
            raise Refused(f"{at}: Extra inputs are not permitted")
        if (role, block.type) == ("user", "text") and block.citations:
            raise Refused(f"{at}.citations: Extra inputs are not permitted")


def _blocks(content: msgspec.Raw) -> list[Block]:
    """The blocks of a turn's content, none where one of them is no object."""
    try:
        return _BLOCKS.decode(content)
    except msgspec.ValidationError:
        return []


def _objection(value: Any) -> Refused:
    if not isinstance(value, list):
        return Refused("messages: Input should be a valid list")
    number = next(n for n, turn in enumerate(value) if not _has_role(turn))
    if isinstance(value[number], dict):
        return Refused(f"messages.{number}.role: Input should be a valid string")
    return Refused(f"messages.{number}: Input should be a valid dictionary")


def _has_role(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role", ""), str)
