"""What the API would refuse, found before anything is sent. Pure: one line of JSONL in, its problems out.

At create the API looks at the envelope alone (JSON, `custom_id`, limits) and answers 400. Everything in `params` it
judges hours later, when the batch has ended, as an errored line each (docs, "Batch processing"; recorded live).

| found here                                                        | the API says so                |
|-------------------------------------------------------------------|--------------------------------|
| not JSON, not UTF-8, `custom_id` missing, too long, other letters | at create                      |
| members beside `custom_id` and `params`                           | at create                      |
| no model (and no default), no messages, `max_tokens` < 1, a turn  | as an errored line             |
| without content                                                   |                                |
| `stream: true`, `tool_choice` of a tool that is not there         | as an errored line             |
| members that no batch takes (`NEVER`)                             | as an errored line             |
| sampling parameters, documents in assistant turns, citations in   | as an errored line, since      |
| user turns                                                        | API version 2026-10-21         |
| sampling parameters out of their range                            | as an errored line, before it  |

Not judged: what depends on a model (the largest `max_tokens`, ways of thinking) or on a URL that it must fetch,
and members unknown here, which a newer API may know. Duplicates and limits are the scan's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from airflow_batches.api.limits import CUSTOM_ID
from airflow_batches.submission.lines import RequestLine, with_model

STRICT_SINCE: Final = "2026-10-21"
"""The API version from which on sampling parameters are refused; versions are dates and compare as text."""

NEVER: Final[Mapping[str, str]] = {
    "speed": "fast mode is not for batches",
    "store": "is not supported in batches",
    "previous_thread_event_id": "is not supported in batches",
    "cache_hint": "is not supported in batches",
    "context_hint": "is not supported in batches",
    "extra_body": "belongs to the SDK's call; its members go into params",
    "extra_headers": "belongs to the SDK's call; a batch has one set of headers",
    "extra_query": "belongs to the SDK's call",
}
"""Members of params with which no line of a batch is answered."""
SAMPLING: Final[Mapping[str, float]] = {"temperature": 1, "top_p": 1, "top_k": math.inf}
"""Parameters of sampling, from 0 to this."""
HARMLESS: Final = frozenset({b"null", b"false", b'"standard"'})
"""Values with which a member asks for nothing."""

Preflight = Literal["error", "warn", "off"]
"""Problems refuse the source, are logged, or are not looked for."""


@dataclass(frozen=True)
class Problem:
    """One reason: line (from 1; for lists the item), custom_id or None where it cannot be read."""

    line: int
    custom_id: str | None
    reason: str

    def __str__(self) -> str:
        return f"line {self.line:,}" + (f", {self.custom_id!r}" if self.custom_id else "") + f": {self.reason}"


class _Tool(msgspec.Struct):
    name: str | None = None


class _ToolChoice(msgspec.Struct):
    type: str | None = None
    name: str | None = None


class _Billing(msgspec.Struct):
    bill_to: str | None = None


class _Params(msgspec.Struct):
    model: str | UnsetType = UNSET
    messages: list[Raw] | UnsetType = UNSET
    max_tokens: int | float | UnsetType = UNSET
    stream: bool | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None
    mcp_servers: Raw | UnsetType = UNSET
    billing_policy: _Billing | None = None
    research_preview_2026_02: str | None = None
    temperature: Raw | UnsetType = UNSET
    top_p: Raw | UnsetType = UNSET
    top_k: Raw | UnsetType = UNSET
    speed: Raw | UnsetType = UNSET
    store: Raw | UnsetType = UNSET
    previous_thread_event_id: Raw | UnsetType = UNSET
    cache_hint: Raw | UnsetType = UNSET
    context_hint: Raw | UnsetType = UNSET
    extra_body: Raw | UnsetType = UNSET
    extra_headers: Raw | UnsetType = UNSET
    extra_query: Raw | UnsetType = UNSET


class _Judged(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    params: _Params


class _Turn(msgspec.Struct):
    role: str | None = None
    content: str | list[Any] | None = None


class _TextTurn(msgspec.Struct, gc=False):
    role: str
    content: str


class _PlainParams(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    messages: Annotated[list[_TextTurn], msgspec.Meta(min_length=1)]
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    model: Annotated[str, msgspec.Meta(min_length=1)] | UnsetType = UNSET
    system: Raw | UnsetType = UNSET
    thinking: Raw | UnsetType = UNSET
    output_config: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET
    stop_sequences: Raw | UnsetType = UNSET
    metadata: Raw | UnsetType = UNSET
    service_tier: Raw | UnsetType = UNSET
    inference_geo: Raw | UnsetType = UNSET
    cache_control: Raw | UnsetType = UNSET


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    custom_id: str
    params: _PlainParams


_plain = msgspec.json.Decoder(_Plain)
_judged = msgspec.json.Decoder(_Judged)


def plain_requests(data: bytes, lines: Sequence[bytes], default_model: str | None) -> list[RequestLine] | None:
    """The requests of lines if one decoding shows that all is well with all of them under any API version, else None.

    It is if their turns are text and they have no members but those that every batch takes: nearly all there are.
    `data` is the lines as they stand.
    """
    try:
        if not data.isascii():
            data.decode()
        decoded = _plain.decode_lines(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # The decoder does not look where newlines stand. No JSON goes on with { behind a }, so each line is whole.
    whole = len(decoded) == len(lines) and {line[:1] + line[-1:] for line in lines} == {b"{}"}
    named = default_model or UNSET not in {request.params.model for request in decoded}
    if not (whole and named and all(map(CUSTOM_ID.fullmatch, [request.custom_id for request in decoded]))):
        return None
    return [
        with_model(request.custom_id, line, default_model)
        if (model := request.params.model) is UNSET
        else RequestLine(request.custom_id, line, model)
        for line, request in zip(lines, decoded, strict=True)
    ]


def judge(data: bytes, *, default_model: str | None, version: str) -> list[str]:
    """Why the API would refuse or not answer this request; `data` is its JSON."""
    try:
        request = _judged.decode(data)
    except msgspec.ValidationError as exc:
        return [_in_words(str(exc))]
    params, strict = request.params, version >= STRICT_SINCE
    return [
        *_envelope(request),
        *_required(params, default_model),
        *_never(params),
        *_sampling(params, strict=strict),
        *_turns(params, strict=strict),
    ]


def _in_words(error: str) -> str:
    """msgspec says ``… - at `$.params.x` ``; the API says `params.x: …`."""
    reason, _, path = error.partition(" - at `$.")
    return f"{path.rstrip('`')}: {reason}" if path else reason


def _envelope(request: _Judged) -> Iterator[str]:
    if not CUSTOM_ID.fullmatch(request.custom_id):
        yield "custom_id must be 1 to 64 of the characters a-z A-Z 0-9 _ -"


def _required(params: _Params, default_model: str | None) -> Iterator[str]:
    if not (default_model if params.model is UNSET else params.model):
        yield "model: missing, and no default model is set"
    if params.messages is UNSET or not params.messages:
        yield "messages: at least one message is required"
    if params.max_tokens is UNSET:
        yield "max_tokens: missing"
    elif params.max_tokens < 1 or params.max_tokens % 1:
        yield f"max_tokens: must be at least 1, and whole, not {params.max_tokens}"


def _never(params: _Params) -> Iterator[str]:
    if params.stream:
        yield "stream: true is not supported in batches"
    if params.research_preview_2026_02 == "active":
        yield "research_preview_2026_02: is not supported in batches"
    if params.billing_policy is not None and params.billing_policy.bill_to == "user_profile":
        yield "billing_policy: bill_to user_profile is not supported in batches"
    for name, reason in NEVER.items():
        value = getattr(params, name)
        if value is not UNSET and bytes(value) not in HARMLESS:
            yield f"{name}: {reason}"
    # Tools of a server can be listed by it alone.
    if params.tool_choice is not None and params.tool_choice.type == "tool" and params.mcp_servers is UNSET:
        yield from _tool_choice(params.tool_choice, params)


def _tool_choice(choice: _ToolChoice, params: _Params) -> Iterator[str]:
    names = [tool.name for tool in params.tools or []]
    # A toolset without a name brings tools that only its server can list.
    if choice.name not in names and None not in names:
        yield f"tool_choice: tool {choice.name!r} is not among tools"


def _sampling(params: _Params, *, strict: bool) -> Iterator[str]:
    for name, most in SAMPLING.items():
        value = getattr(params, name)
        if value is UNSET:
            continue
        if strict:
            yield f"{name}: not permitted since API version {STRICT_SINCE} (the connection can pin an older one)"
        elif not _within(value, most):
            most_said = f" to {most}" if most < math.inf else ""
            yield f"{name}: must be a number from 0{most_said}, not {bytes(value).decode()}"


def _within(value: Raw, most: float) -> bool:
    try:
        number = msgspec.json.decode(value, type=float | None)
    except msgspec.ValidationError:
        return False
    return number is None or 0 <= number <= most


def _turns(params: _Params, *, strict: bool) -> Iterator[str]:
    for number, raw in enumerate(() if params.messages is UNSET else params.messages):
        try:
            turn = msgspec.json.decode(raw, type=_Turn)
        except msgspec.ValidationError as exc:
            yield f"messages.{number}: {_in_words(str(exc))}"
            continue
        if turn.content is None:
            yield f"messages.{number}: content is missing"
        elif strict and isinstance(turn.content, list):
            yield from _strict_blocks(number, turn.role, [block for block in turn.content if isinstance(block, dict)])


def _strict_blocks(number: int, role: str | None, blocks: list[dict[str, Any]]) -> Iterator[str]:
    where = f"not permitted since API version {STRICT_SINCE}"
    if role == "assistant" and any(block.get("type") == "document" for block in blocks):
        yield f"messages.{number}: a document in an assistant turn is {where}"
    if role == "user" and any(block.get("type") == "text" and block.get("citations") for block in blocks):
        yield f"messages.{number}: citations in a user turn are {where}"
