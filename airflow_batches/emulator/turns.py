"""The messages of a line: read as far as the API would object to them, and no further."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from airflow_batches.emulator.checks import Refused


class Turn(msgspec.Struct):
    """One message; its content stays raw JSON until somebody wants it."""

    role: str | msgspec.UnsetType = msgspec.UNSET
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_TURNS: Final = msgspec.json.Decoder(list[Turn])


def read_turns(raw: msgspec.Raw) -> list[Turn]:
    """Raises Refused for messages that are none."""
    try:
        turns = _TURNS.decode(raw)
    except msgspec.ValidationError:
        raise _objection(msgspec.json.decode(raw)) from None
    if not turns:
        raise Refused("messages: at least one message is required")
    for number, turn in enumerate(turns):
        for name, value in (("role", turn.role), ("content", turn.content)):
            if value is msgspec.UNSET:
                raise Refused(f"messages.{number}.{name}: Field required")
    return turns


def last_question(turns: Sequence[Turn]) -> str:
    """The text of the last user turn, its first text block where it has several, empty where it has none."""
    content = next((turn.content for turn in reversed(turns) if turn.role == "user"), msgspec.UNSET)
    value = None if content is msgspec.UNSET else msgspec.json.decode(content)
    if isinstance(value, str):
        return value
    texts = [b.get("text") for b in value if isinstance(b, dict)] if isinstance(value, list) else []
    return next((text for text in texts if isinstance(text, str)), "")


def _objection(value: Any) -> Refused:
    if not isinstance(value, list):
        return Refused("messages: Input should be a valid list")
    number = next(n for n, turn in enumerate(value) if not _has_role(turn))
    if isinstance(value[number], dict):
        return Refused(f"messages.{number}.role: Input should be a valid string")
    return Refused(f"messages.{number}: Input should be a valid dictionary")


def _has_role(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role", ""), str)
