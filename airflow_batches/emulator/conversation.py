"""What the API refuses in the messages as a whole: who begins and ends, pairs of tool blocks, cache breakpoints.

Messages are recorded live (2026) unless a check says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from airflow_batches.emulator.blocks import check_blocks
from airflow_batches.emulator.models import LONG_CONTEXT_BETA, Model
from airflow_batches.emulator.refusal import Refused
from airflow_batches.emulator.schema import MemberPath
from airflow_batches.emulator.turns import Turn

MAX_BREAKPOINTS: Final = 4
"""Most `cache_control` blocks of a request (docs: "Prompt caching"; recorded live)."""


def check_conversation(turns: Sequence[Turn], model: Model, *, beta: bool) -> None:
    """Check messages whose turns have been checked one by one. Raises Refused.

    :param beta: the call names a beta, which may add members and blocks.
    """
    for number, turn in enumerate(turns):
        if turn.role != "system":
            check_blocks(_blocks(turn), MemberPath(f"messages.{number}.content", beta))
    if turns[0].role == "assistant":
        raise Refused('messages: first message must use the "user" role')
    _check_end(turns[-1], model)
    _check_pairs(turns)


def _blocks(turn: Turn) -> list[Any]:
    return turn.content if isinstance(turn.content, list) else []


def _check_end(last: Turn, model: Model) -> None:
    """Check a last turn of the assistant. One that ends in a tool's block continues a turn, and is no prefill."""
    if last.role != "assistant" or (_blocks(last) and _blocks(last)[-1].get("type") != "text"):
        return
    if not model.prefill:
        raise Refused(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    text = _blocks(last)[-1]["text"] if _blocks(last) else last.content
    if text and text[-1].isspace():
        raise Refused("messages: final assistant content cannot end with trailing whitespace")


def _check_pairs(turns: Sequence[Turn]) -> None:
    """Check that each `tool_use` is answered in the next turn, and each `tool_result` answers one.

    Turns of the same role in a row are allowed, and between two of the assistant nothing is paired.
    """
    before: Turn | None = None
    for number, turn in enumerate(turns):
        called = _ids(before, "tool_use", "id")
        if turn.role == "user":
            _check_results(number, turn, called)
            if missing := [name for name in called if name not in _ids(turn, "tool_result", "tool_use_id")]:
                raise _unanswered(number, missing)
        before = turn
    if missing := _ids(before, "tool_use", "id"):
        raise _unanswered(len(turns), missing)


def _check_results(number: int, turn: Turn, called: Sequence[str]) -> None:
    for place, block in enumerate(_blocks(turn)):
        if block.get("type") == "tool_result" and block["tool_use_id"] not in called:
            raise Refused(
                f"messages.{number}.content.{place}: unexpected `tool_use_id` found in `tool_result` blocks:"
                f" {block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` block in the"
                " previous message."
            )


def _unanswered(number: int, names: Sequence[str]) -> Refused:
    return Refused(
        f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after:"
        f" {', '.join(names)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )


def _ids(turn: Turn | None, kind: str, member: str) -> list[str]:
    return [block[member] for block in _blocks(turn) if block.get("type") == kind] if turn is not None else []


def check_window(tokens: int, model: Model, betas: Collection[str]) -> None:
    """Raise Refused for more input tokens than the model's context window holds.

    That a batch's line ends errored with this message is an assumption; it is recorded for a Messages call.
    """
    window = model.window_long if LONG_CONTEXT_BETA in betas else model.window
    if tokens > window:
        raise Refused(f"prompt is too long: {tokens} tokens > {window} maximum")


def check_breakpoints(count: int) -> None:
    """Raise Refused for more cache breakpoints than a request may have."""
    if count > MAX_BREAKPOINTS:
        raise Refused(f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {count}.")


def count_breakpoints(blocks: Any) -> int:
    """Count the blocks (or tools) with `cache_control`, those inside of tool results too."""
    return sum(1 for block in _nested(blocks) if block.get("cache_control") is not None)


def _nested(blocks: Any) -> Iterator[dict[str, Any]]:
    for block in blocks if isinstance(blocks, list) else ():
        if isinstance(block, dict):
            yield block
            if block.get("type") == "tool_result":
                yield from _nested(block.get("content"))
