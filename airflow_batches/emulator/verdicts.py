"""Whether a line's `params` are answered or refused when the line runs.

The API checks `params` only when the line runs (docs; recorded live), so a refusal here is an errored line and
never a 400 of the create. Everything except the messages is checked once and cached, since the lines of a batch differ
in little else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec

from airflow_batches.emulator.checks import Refused, Terms, check, forced_tool, output_schema
from airflow_batches.emulator.examples import example
from airflow_batches.emulator.lines import CheckedLine, LineOutcome, Shape
from airflow_batches.emulator.turns import last_question, read_turns

_ECHOED: Final = 80
"""Characters of the question in an answer; chosen: enough to recognize it in a test or a log."""
_CHARS_PER_TOKEN: Final = 4
"""Chosen: the usual rule of thumb for English text; the emulator has no tokenizer."""
_REMEMBERED: Final = 100
"""Cached frames of one create; chosen: real batches have a few, and a cache of unlike lines would only cost memory."""
_WORTH_REMEMBERING: Final = 65_536
"""Bytes of the largest params that are cached; chosen: with `_REMEMBERED`, the cache stays under 7 MB."""
_NULL: Final = msgspec.Raw(b"null")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _PlainTurn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["user", "assistant"]
    content: Annotated[str, msgspec.Meta(min_length=1)]


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    model: msgspec.Raw
    max_tokens: msgspec.Raw
    messages: Annotated[list[_PlainTurn], msgspec.Meta(min_length=1)]
    system: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_USUAL: Final = msgspec.json.Decoder(_Usual)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A line without its messages: refused, or shape and schema of its answer."""

    refused: bool = False
    shape: Shape = field(default_factory=Shape)
    schema: Any = None


class Judge:
    """Checks the lines of one create call."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._frames: dict[tuple[str | bytes, ...], _Frame] = {}
        self._last: tuple[Any, _Frame] = (None, _Frame())

    def verdict(self, custom_id: str, raw: msgspec.Raw) -> CheckedLine:
        """Check one line.

        Raises msgspec.DecodeError or UnicodeDecodeError where the params are not valid JSON.
        """
        tokens = memoryview(raw).nbytes // _CHARS_PER_TOKEN
        try:
            frame, question = self._usual(raw) or self._unusual(raw)
        except Refused as refused:
            return CheckedLine(_shape_of(refused), b"", tokens, LineOutcome.ERRORED)
        if frame.refused:
            return CheckedLine(frame.shape, b"", tokens, LineOutcome.ERRORED)
        shape, text = _answer(frame, custom_id, question)
        return CheckedLine(shape, text, tokens, LineOutcome.SUCCEEDED)

    def _usual(self, raw: msgspec.Raw) -> tuple[_Frame, str] | None:
        """Check a line that holds only text, on a faster path; None for any other line.

        Such lines usually equal the line before except for the messages, and nothing in their turns can be refused.
        """
        try:
            usual = _USUAL.decode(raw)
        except (msgspec.ValidationError, UnicodeDecodeError):
            return None
        if any(turn.content.isspace() for turn in usual.messages):
            return None
        key = (usual.model, usual.max_tokens, usual.system)
        if key != self._last[0]:
            members = {"model": usual.model, "messages": _NULL, "max_tokens": usual.max_tokens}
            system = {} if usual.system is msgspec.UNSET else {"system": usual.system}
            self._last = key, self._frame(members | system)
        questions = [turn.content for turn in usual.messages if turn.role == "user"]
        return self._last[1], questions[-1] if questions else ""

    def _unusual(self, raw: msgspec.Raw) -> tuple[_Frame, str]:
        params = _MEMBERS.decode(raw)
        messages = params.get("messages", _NULL)
        if "messages" in params:
            params["messages"] = _NULL
        frame = self._frame(params)
        if frame.refused:
            return frame, ""
        return frame, last_question(read_turns(messages, self._terms, system_turns=frame.shape.thinking))

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
            return _Frame(refused=True, shape=_shape_of(refused))
        tool = forced_tool(values)
        shape = Shape(
            model=model.id,
            geo="us" if values.get("inference_geo") == "us" else model.inference_geo,
            thinking=model.adaptive,
            tool=None if tool is None else str(tool.get("name")),
            stop_reason="end_turn" if tool is None else "tool_use",
            max_tokens=values["max_tokens"],
        )
        schema = output_schema(values) if tool is None else tool.get("input_schema", {"type": "object"})
        return _Frame(shape=shape, schema=schema)


def _shape_of(refused: Refused) -> Shape:
    return Shape(error_type=refused.kind, error_message=refused.message)


def _answer(frame: _Frame, custom_id: str, question: str) -> tuple[Shape, bytes]:
    """Return the answer: an instance of the requested schema, or an echo of the question."""
    shape = frame.shape
    if frame.schema is None:
        text = f"Echo: {question[:_ECHOED]}"
    else:
        instance = msgspec.json.encode(example(frame.schema, sum(custom_id.encode())))
        if shape.tool is not None:
            return shape, instance
        text = instance.decode()
    room = shape.max_tokens * _CHARS_PER_TOKEN
    if len(text) > room:
        shape = msgspec.structs.replace(shape, stop_reason="max_tokens")
    return shape, msgspec.json.encode(text[:room])[1:-1]
