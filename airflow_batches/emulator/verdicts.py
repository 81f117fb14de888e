"""What becomes of one line's `params`: refused, as the API reports it after the end, or answered.

The API checks `params` only when the line runs (docs; recorded live), so a refusal here is an errored line and
never a 400 of the create. The checks are a table, in order; the first that objects decides. Everything but the
messages is judged once and remembered, since the lines of a batch differ in little else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from airflow_batches.emulator.examples import example
from airflow_batches.emulator.lines import Fate, Shape, Verdict
from airflow_batches.emulator.models import LONG_OUTPUT_BETA, Model, find_model

Params = Mapping[str, msgspec.Raw]
CLOSED_TO_SAMPLING: Final = "2026-10-21"
_SAMPLING: Final = ("temperature", "top_p", "top_k")
_MEMBERS: Final = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)
_BETA_MEMBERS: Final = frozenset(
    {"mcp_servers", "context_management", "speed", "user_profile_id", "billing_policy", "output_format"}
)
_ECHOED: Final = 80
_CHARS_PER_TOKEN: Final = 4
_REMEMBERED: Final = 1_000


class Refusal(NamedTuple):
    """Why a line ends errored."""

    message: str
    kind: str = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class Terms:
    """What of the create call applies to all of its lines."""

    version: str = ""
    betas: Collection[str] = ()
    user_profile_id: str | None = None
    models: Collection[str] = ()

    @property
    def members(self) -> frozenset[str]:
        known = _MEMBERS | (_BETA_MEMBERS if self.betas else frozenset())
        return known - set(_SAMPLING) if self.version == CLOSED_TO_SAMPLING else known


class _Message(msgspec.Struct):
    role: str | msgspec.UnsetType = msgspec.UNSET
    content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class _Frame:
    """A line without its messages: refused, or the shape of its answer and the schema that answer keeps to."""

    refusal: Refusal | None = None
    shape: Shape = field(default_factory=Shape)
    schema: Any = None


class Judge:
    """Judges the lines of one create call."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._members = terms.members
        self._frames: dict[tuple[tuple[str, bytes], ...], _Frame] = {}

    def verdict(self, custom_id: str, raw: msgspec.Raw) -> Verdict:
        """Raises msgspec.DecodeError or UnicodeDecodeError where the params are no JSON after all."""
        params = _MEMBERS_OF.decode(raw)
        tokens = memoryview(raw).nbytes // _CHARS_PER_TOKEN
        frame = self._frame(params)
        messages = _messages(params["messages"]) if frame.refusal is None else []
        refusal = frame.refusal or (messages if isinstance(messages, Refusal) else None)
        if refusal is not None or isinstance(messages, Refusal):
            kind, message = (refusal.kind, refusal.message) if refusal else ("", "")
            return Verdict(Shape(error_type=kind, error_message=message), b"", tokens, Fate.ERRORED)
        shape, text = _answer(frame, custom_id, messages)
        return Verdict(shape, text, tokens, Fate.SUCCEEDED)

    def _frame(self, params: Params) -> _Frame:
        key = tuple((name, bytes(raw)) for name, raw in params.items() if name != "messages")
        if "messages" not in params:
            key = (*key, ("messages", b""))
        frame = self._frames.get(key)
        if frame is None:
            frame = _framed(params, self._terms, self._members)
            if len(self._frames) < _REMEMBERED:
                self._frames[key] = frame
        return frame


_MEMBERS_OF: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MESSAGES: Final = msgspec.json.Decoder(list[_Message])


class _Line(NamedTuple):
    """What the checks look at: the members decoded, the model found."""

    params: Mapping[str, Any]
    members: Collection[str]
    terms: Terms
    model: Model | None


def _framed(params: Params, terms: Terms, members: Collection[str]) -> _Frame:
    values = {name: msgspec.json.decode(raw) for name, raw in params.items() if name != "messages"}
    if "messages" in params:
        values["messages"] = None
    name = values.get("model")
    model = find_model(name, terms.models) if isinstance(name, str) else None
    line = _Line(values, members, terms, model)
    for check in _CHECKS:
        if (refusal := check(line)) is not None:
            return _Frame(refusal)
    if model is None:
        raise AssertionError("a line without a model passed the checks")
    return _approved(line, model)


def _approved(line: _Line, model: Model) -> _Frame:
    tool = _forced_tool(line.params)
    shape = Shape(
        model=model.id,
        geo="us" if line.params.get("inference_geo") == "us" else model.inference_geo,
        thinking=model.adaptive,
        tool=None if tool is None else str(tool.get("name")),
        stop_reason="end_turn" if tool is None else "tool_use",
        max_tokens=line.params["max_tokens"],
    )
    return _Frame(shape=shape, schema=_output_schema(line.params) if tool is None else tool.get("input_schema"))


def _answer(frame: _Frame, custom_id: str, messages: list[_Message]) -> tuple[Shape, bytes]:
    """The text of the answer: an instance of the schema asked for, or an echo of the last user turn."""
    if frame.schema is not None:
        instance = msgspec.json.encode(example(frame.schema, sum(custom_id.encode())))
        if frame.shape.tool is not None:
            return frame.shape, instance
        text = instance.decode()
    else:
        said = next((_said(m.content) for m in reversed(messages) if m.role == "user"), "")
        text = f"Echo: {said[:_ECHOED]}"
    room = frame.shape.max_tokens * _CHARS_PER_TOKEN
    shape = frame.shape
    if len(text) > room:
        shape = msgspec.structs.replace(shape, stop_reason="max_tokens")
    return shape, msgspec.json.encode(text[:room])[1:-1]


def _said(content: msgspec.Raw | msgspec.UnsetType) -> str:
    """The text of a turn, its first text block where it has several."""
    value = None if content is msgspec.UNSET else msgspec.json.decode(content)
    if isinstance(value, str):
        return value
    blocks = [b for b in value if isinstance(b, dict)] if isinstance(value, list) else []
    return next((str(b["text"]) for b in blocks if isinstance(b.get("text"), str)), "")


def _messages(raw: msgspec.Raw) -> list[_Message] | Refusal:
    try:
        messages = _MESSAGES.decode(raw)
    except msgspec.ValidationError:
        return _objection(msgspec.json.decode(raw))
    if not messages:
        return Refusal("messages: at least one message is required")
    for number, message in enumerate(messages):
        for name, value in (("role", message.role), ("content", message.content)):
            if value is msgspec.UNSET:
                return Refusal(f"messages.{number}.{name}: Field required")
    return messages


def _objection(value: Any) -> Refusal:
    if not isinstance(value, list):
        return Refusal("messages: Input should be a valid list")
    for number, message in enumerate(value):
        if not isinstance(message, dict):
            return Refusal(f"messages.{number}: Input should be a valid dictionary")
        if not isinstance(message.get("role", ""), str):
            return Refusal(f"messages.{number}.role: Input should be a valid string")
    return Refusal("messages: Input should be a valid list")


def _unknown_member(line: _Line) -> Refusal | None:
    unknown = next((name for name in line.params if name not in line.members), None)
    return None if unknown is None else Refusal(f"{unknown}: Extra inputs are not permitted")


def _missing_member(line: _Line) -> Refusal | None:
    missing = next((n for n in ("model", "messages", "max_tokens") if n not in line.params), None)
    return None if missing is None else Refusal(f"{missing}: Field required")


def _streamed(line: _Line) -> Refusal | None:
    stream = line.params.get("stream")
    if stream is True:
        return Refusal("`stream=True` is not supported in the Message Batches API")
    return Refusal("stream: Input should be a valid boolean") if stream not in (None, False) else None


def _unknown_model(line: _Line) -> Refusal | None:
    name = line.params["model"]
    if not isinstance(name, str):
        return Refusal("model: Input should be a valid string")
    return Refusal(f"model: {name}", "not_found_error") if line.model is None else None


def _max_tokens(line: _Line) -> Refusal | None:
    asked, model = line.params["max_tokens"], line.model
    if isinstance(asked, bool) or not isinstance(asked, int):
        return Refusal("max_tokens: Input should be a valid integer")
    if asked < 1:
        return Refusal("max_tokens: must be greater than or equal to 1")
    if model is None:
        return None
    limit = model.max_tokens_long if LONG_OUTPUT_BETA in line.terms.betas else model.max_tokens
    if asked <= limit:
        return None
    return Refusal(
        f"max_tokens: {asked} > {limit}, which is the maximum allowed number of output tokens for {model.id}"
    )


def _sampling(line: _Line) -> Refusal | None:
    for name in _SAMPLING:
        if name in line.params and line.model is not None and line.model.adaptive:
            return Refusal(f"`{name}` is deprecated for this model.")
    temperature = line.params.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 1:
        bound = "less than or equal to 1" if temperature > 1 else "greater than or equal to 0"
        return Refusal(f"temperature: Input should be {bound}")
    return None


def _thinking(line: _Line) -> Refusal | None:
    thinking = line.params.get("thinking")
    if line.model is None or not line.model.adaptive or not isinstance(thinking, dict):
        return None
    if thinking.get("type") != "enabled":
        return None
    return Refusal(
        '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and'
        ' "output_config.effort" to control thinking behavior.'
    )


def _missing_tool(line: _Line) -> Refusal | None:
    choice = line.params.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "tool":
        return None
    found = _forced_tool(line.params)
    return None if found else Refusal(f"Tool '{choice.get('name')}' not found in provided tools")


def _not_in_batches(line: _Line) -> Refusal | None:
    """Refused by the docs; their texts are not published."""
    if line.params.get("speed") not in (None, "standard"):
        return Refusal("`speed` is not supported in the Message Batches API")
    policy = line.params.get("billing_policy")
    if isinstance(policy, dict) and policy.get("bill_to") == "user_profile":
        return Refusal("billing_policy: `bill_to` user_profile is not supported in the Message Batches API")
    own, given = line.params.get("user_profile_id"), line.terms.user_profile_id
    if own is not None and given is not None and own != given:
        return Refusal("user_profile_id: does not match the anthropic-user-profile-id header")
    return None


_CHECKS: Final[tuple[Callable[[_Line], Refusal | None], ...]] = (
    _unknown_member,
    _missing_member,
    _streamed,
    _unknown_model,
    _max_tokens,
    _sampling,
    _thinking,
    _missing_tool,
    _not_in_batches,
)


def _tools(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = params.get("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def _forced_tool(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tool that must be used, if one must."""
    choice = params.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") not in ("tool", "any"):
        return None
    wanted = choice.get("name") if choice["type"] == "tool" else None
    return next((t for t in _tools(params) if wanted is None or t.get("name") == wanted), None)


def _output_schema(params: Mapping[str, Any]) -> Any:
    config = params.get("output_config")
    form = config.get("format") if isinstance(config, dict) else params.get("output_format")
    return form.get("schema") if isinstance(form, dict) and form.get("type") == "json_schema" else None
