"""The messages of a line: their checks, and the prompt that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from airflow_batches.emulator.cache import find_prefixes
from airflow_batches.emulator.checks import Refused, Terms, refuse_empty_text, refuse_empty_texts
from airflow_batches.emulator.content import AnswerPlan, Prompt
from airflow_batches.emulator.tokens import PER_TURN, count_content, count_text


class Turn(msgspec.Struct, gc=False):
    """One message."""

    role: str | msgspec.UnsetType = msgspec.UNSET
    content: Any = msgspec.UNSET


_TURNS: Final = msgspec.json.Decoder(list[Turn])
_MEMBERS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def read_turns(raw: msgspec.Raw, terms: Terms, *, system_turns: bool = False) -> list[Turn]:
    """Read and check the messages.

    Raises Refused for messages that the API, the version or the model refuses.

    `system_turns`: the model accepts turns of the role `system`. That the adaptive models do is an assumption.
    """
    try:
        turns = _TURNS.decode(raw)
    except msgspec.ValidationError:
        raise _objection(msgspec.json.decode(raw)) from None
    if not turns:
        raise Refused("messages: at least one message is required")
    for number, (turn, members) in enumerate(zip(turns, _MEMBERS.decode(raw), strict=True)):
        if turn.role is msgspec.UNSET or turn.content is msgspec.UNSET:
            missing = "role" if turn.role is msgspec.UNSET else "content"
            raise Refused(f"messages.{number}.{missing}: Field required")
        _check_role(number, turn.role, turns[number + 1 :], system_turns)
        # Betas may add other members to a system turn; those are not checked.
        unknown = [name for name in members if name not in ("role", "content") and turn.role != "system"]
        if unknown:
            raise Refused(f"messages.{number}.{unknown[0]}: Extra inputs are not permitted")
        _check_content(number, turn.role, turn.content, last=number + 1 == len(turns))
        if terms.strict and isinstance(turn.content, list):
            _refuse_old_blocks(number, turn.role, turn.content)
    return turns


def _check_role(number: int, role: str, following: Sequence[Turn], system_turns: bool) -> None:
    """Check a turn's role. The messages about `system` are recorded, the other one is not."""
    if role in ("user", "assistant"):
        return
    if role != "system":
        raise Refused(f"messages.{number}.role: Input should be 'user', 'assistant' or 'system'")
    if not system_turns:
        raise Refused("role 'system' is not supported on this model")
    if following and following[0].role == "user":
        raise Refused(f"messages.{number}: role 'system' must precede an 'assistant' message or end the array")


def _check_content(number: int, role: str, content: Any, *, last: bool) -> None:
    """Check a turn's content.

    The messages are recorded, except for that about content of another type.
    """
    if not isinstance(content, str | list):
        raise Refused(f"messages.{number}.content: Input should be a valid list")
    if not content and not (last and role == "assistant"):
        raise Refused(
            f"messages.{number}: all messages must have non-empty content except for the optional final assistant"
            " message"
        )
    if isinstance(content, list):
        refuse_empty_texts("messages", content)
    elif content:
        refuse_empty_text("messages", content)


def read_prompt(plan: AnswerPlan, raws: Mapping[str, msgspec.Raw], turns: Sequence[Turn]) -> Prompt:
    """Make the prompt of checked messages; `raws` are the params that the plan was made from."""
    tokens = plan.tokens + round(sum(PER_TURN + count_content(turn.content) for turn in turns) * plan.factor)
    prefixes = plan.prefixes
    if "cache_control" in raws or any(map(_has_breakpoint, turns)):
        params = {name: msgspec.json.decode(raw) for name, raw in raws.items()}
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        prefixes = find_prefixes({**params, "messages": messages}, plan.shape.model)
    question = last_question(turns)
    return Prompt(plan, tokens, question, count_text(question), prefixes)


def last_question(turns: Sequence[Turn]) -> str:
    """Return the (first) text of the last user turn; empty if there is none."""
    return next((_first_text(turn.content) for turn in reversed(turns) if turn.role == "user"), "")


def _has_breakpoint(turn: Turn) -> bool:
    blocks = turn.content
    return isinstance(blocks, list) and any(isinstance(b, dict) and "cache_control" in b for b in blocks)


def _first_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    texts = [b.get("text") for b in content if isinstance(b, dict)] if isinstance(content, list) else []
    return next((text for text in texts if isinstance(text, str)), "")


def _refuse_old_blocks(number: int, role: str, blocks: list[dict[str, Any]]) -> None:
    """Refuse documents in assistant turns and citations in user turns (docs, 2026-10-21).

    It is an assumption that the line ends errored, as with sampling parameters; both messages follow the API's style.
    """
    for place, block in enumerate(blocks):
        kind = block.get("type")
        at = f"messages.{number}.content.{place}.{kind}"
        if (role, kind) == ("assistant", "document"):
            raise Refused(f"{at}: Extra inputs are not permitted")
        if (role, kind) == ("user", "text") and block.get("citations"):
            raise Refused(f"{at}.citations: Extra inputs are not permitted")


def _objection(value: Any) -> Refused:
    if not isinstance(value, list):
        return Refused("messages: Input should be a valid list")
    number = next(n for n, turn in enumerate(value) if not _has_role(turn))
    if isinstance(value[number], dict):
        return Refused(f"messages.{number}.role: Input should be a valid string")
    return Refused(f"messages.{number}: Input should be a valid dictionary")


def _has_role(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role", ""), str)
