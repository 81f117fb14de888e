"""Whether a line's `params` are answered or refused when the line runs.

The API checks `params` only when the line runs (docs; recorded live), so a refusal here is an errored line and
never a 400 of the create. Everything except the messages is checked once and cached, since the lines of a batch differ
in little else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from airflow_batches.emulator.checks import Refused, Terms, check
from airflow_batches.emulator.content import AnswerPlan, Prompt, answer, plan_answer, refused_line
from airflow_batches.emulator.conversation import check_breakpoints, check_conversation, check_window, count_breakpoints
from airflow_batches.emulator.lines import CheckedLine, Shape
from airflow_batches.emulator.models import Model
from airflow_batches.emulator.tokens import PER_TURN, count_params, count_text
from airflow_batches.emulator.turns import Turn, read_prompt, read_turns

_REMEMBERED: Final = 100
"""Cached frames of one create; chosen: real batches have a few, and a cache of unlike lines would only cost memory."""
_WORTH_REMEMBERING: Final = 65_536
"""Bytes of the largest params that are cached; chosen: with `_REMEMBERED`, the cache stays under 7 MB."""
_SURELY_FITS: Final = 100_000
"""Bytes of params that fit into any context window; chosen: a byte is at most 1.3 tokens (`tokens`)."""
_USER_FACING: Final = '{"error_visibility":"user_facing"}'
"""Details of what a caller can mend, also where the line ran (recorded live, for a file that cannot be downloaded)."""
_NULL: Final = msgspec.Raw(b"null")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _TextOnlyTurn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["user", "assistant"]
    content: Annotated[str, msgspec.Meta(min_length=1)]


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    model: msgspec.Raw
    max_tokens: msgspec.Raw
    messages: Annotated[list[_TextOnlyTurn], msgspec.Meta(min_length=1)]
    system: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_USUAL: Final = msgspec.json.Decoder(_Usual)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A line without its messages: why it is refused, or its model and the plan of its answer.

    `breakpoints` are those of the system prompt and the tools.
    """

    plan: AnswerPlan
    refused: Shape | None = None
    model: Model | None = None
    breakpoints: int = 0


class Judge:
    """Checks the lines of one create call."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._frames: dict[tuple[str | bytes, ...], _Frame] = {}
        self._last: tuple[Any, _Frame] = (None, _Frame(AnswerPlan(Shape())))

    def verdict(self, custom_id: str, raw: msgspec.Raw) -> CheckedLine:
        """Check and answer one line.

        Raises msgspec.DecodeError or UnicodeDecodeError where the params are not valid JSON.
        """
        prompt = self.prompt(raw)
        return refused_line(prompt) if isinstance(prompt, Shape) else answer(prompt, custom_id)

    def prompt(self, raw: msgspec.Raw) -> Prompt | Shape:
        """Check one line: return its prompt, or the error that the API has for it. Raises as `verdict`."""
        try:
            return self._usual(raw) or self._unusual(raw)
        except Refused as refused:
            return _shape_of(refused)

    def _usual(self, raw: msgspec.Raw) -> Prompt | Shape | None:
        """Check a line that holds only text, on a faster path; None for any other line.

        Such lines usually equal the line before except for the messages, and nothing in their turns can be refused.
        """
        try:
            usual = _USUAL.decode(raw)
        except (msgspec.ValidationError, UnicodeDecodeError):
            return None
        if memoryview(raw).nbytes > _SURELY_FITS or "assistant" in (usual.messages[0].role, usual.messages[-1].role):
            return None
        key = (usual.model, usual.max_tokens, usual.system)
        if key != self._last[0]:
            members = {"model": usual.model, "messages": _NULL, "max_tokens": usual.max_tokens}
            system = {} if usual.system is msgspec.UNSET else {"system": usual.system}
            self._last = key, self._frame(members | system)
        frame = self._last[1]
        return frame.refused or _text_prompt(frame.plan, usual.messages)

    def _unusual(self, raw: msgspec.Raw) -> Prompt | Shape:
        params = _MEMBERS.decode(raw)
        messages = params.get("messages", _NULL)
        if "messages" in params:
            params["messages"] = _NULL
        frame = self._frame(params)
        if frame.refused:
            return frame.refused
        turns = read_turns(messages, self._terms, system_turns=frame.plan.shape.adaptive)
        self._check_whole(turns, frame)
        prompt = read_prompt(frame.plan, params, turns)
        if frame.model is not None and self._terms.call != "count_tokens":
            check_window(prompt.tokens, frame.model, self._terms.betas)
        return prompt

    def _check_whole(self, turns: Sequence[Turn], frame: _Frame) -> None:
        """Check the messages as a whole, and with what the system prompt and the tools add to them."""
        if frame.model is not None:
            check_conversation(turns, frame.model, beta=bool(self._terms.betas))
            check_breakpoints(frame.breakpoints + sum(count_breakpoints(turn.content) for turn in turns))

    def _frame(self, params: Mapping[str, msgspec.Raw]) -> _Frame:
        raws = [*map(bytes, params.values())]
        key: tuple[str | bytes, ...] = (*params, *raws)
        frame = self._frames.get(key)
        if frame is None:
            frame = self._judged(params)
            if len(self._frames) < _REMEMBERED and sum(map(len, raws)) < _WORTH_REMEMBERING:
                self._frames[key] = frame
        return frame

    def _judged(self, params: Mapping[str, msgspec.Raw]) -> _Frame:
        values = {name: msgspec.json.decode(raw) for name, raw in params.items()}
        try:
            model = check(values, self._terms)
        except Refused as refused:
            return _Frame(AnswerPlan(Shape()), _shape_of(refused))
        plan = plan_answer({"max_tokens": 0, **values}, model, count_params({**values, "messages": None}))
        breakpoints = count_breakpoints(values.get("system")) + count_breakpoints(values.get("tools"))
        return _Frame(plan, model=model, breakpoints=breakpoints)


def _text_prompt(plan: AnswerPlan, turns: list[_TextOnlyTurn]) -> Prompt | None:
    """Make the prompt of turns that hold only text; None if one of them is blank, which the API refuses."""
    total, question, tokens = 0, "", 0
    for turn in turns:
        content = turn.content
        if content.isspace():
            return None
        count = count_text(content)
        total += PER_TURN + count
        if turn.role == "user":
            question, tokens = content, count
    return Prompt(plan, plan.tokens + int(total * plan.factor), question, tokens, plan.prefixes)


def _shape_of(refused: Refused) -> Shape:
    details = _USER_FACING if refused.ran else ""
    return Shape(error_type=refused.kind, error_message=refused.message, error_details=details, ran=refused.ran)
