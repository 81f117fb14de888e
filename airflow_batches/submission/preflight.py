"""Find requests that the API would refuse, before anything is sent.

Pure: takes a line of JSONL, returns its problems. At create the API checks only the envelope (JSON, `custom_id`,
limits) and answers 400. It checks `params` later: each problem is an errored line of the results, hours after the
create (docs, "Batch processing"; recorded live).

| problem                                                           | the API reports it             |
|-------------------------------------------------------------------|--------------------------------|
| not JSON, not UTF-8, `custom_id` missing, too long, other letters | at create                      |
| members beside `custom_id` and `params`                           | at create                      |
| no model (and no default), no messages, `max_tokens` not an       | as an errored line             |
| integer from 1, a turn without role or content, empty text        |                                |
| `stream: true`, `tool_choice` of a tool that is not in `tools`    | as an errored line             |
| members that the API does not know (`MEMBERS`, `BETA_MEMBERS`,    | as an errored line             |
| `TURN_MEMBERS`)                                                   |                                |
| members that no batch accepts (`NEVER`)                           | as an errored line             |
| sampling parameters, documents in assistant turns, citations in   | as an errored line, since      |
| user turns                                                        | API version 2026-10-21         |
| sampling parameters out of their range                            | as an errored line, before it  |

Not checked: rules that depend on a model (the largest `max_tokens`, ways of thinking, turns of the role `system`), on
the connection (whether it names the beta that a member needs), or on a URL that the API must fetch. The scan checks
duplicates and limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from airflow_batches.api.defaults import STRICT_SINCE
from airflow_batches.api.limits import CUSTOM_ID
from airflow_batches.submission.canonical import canonical_member
from airflow_batches.submission.lines import RequestLine, with_model

MEMBERS: Final = frozenset(
    {
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        "user_profile_id",
    }
)
"""Members of params that the API declares. It refuses all others ("Extra inputs are not permitted"). From the published
OpenAPI document (2026-08) and `types/message_create_params.py` of the SDK 2.14. Add new members here."""
BETA_MEMBERS: Final = frozenset(
    {
        "billing_policy",
        "compaction",
        "context_management",
        "fallback_credit_token",
        "fallbacks",
        "mcp_servers",
        "output_format",
        "thread",
    }
)
"""Members that need a beta (extra `anthropic_beta` of the connection), from the SDK's
`types/beta/message_create_params.py`."""
TURN_MEMBERS: Final = frozenset({"role", "content"})
"""Members of a turn. Those of a system turn are not checked: betas add some."""
ROLES: Final = ("user", "assistant", "system")
"""Roles of a turn. `system` is for newer models, and must precede an assistant turn or come last."""
NEVER: Final[Mapping[str, str]] = {
    "store": "is not supported in batches",
    "previous_thread_event_id": "is not supported in batches",
    "cache_hint": "is not supported in batches",
    "context_hint": "is not supported in batches",
    "research_preview_2026_02": "is not supported in batches",
    "betas": "is an argument of the SDK; name betas in the connection's extra anthropic_beta",
    "timeout": "is an argument of the SDK; set the connection's extra timeout",
    "max_retries": "is an argument of the SDK; a batch takes no retries of single requests",
    "extra_body": "is an argument of the SDK; its members belong directly into params",
    "extra_headers": "is an argument of the SDK; set the connection's extra headers, which hold for the whole batch",
    "extra_query": "is an argument of the SDK; a batch takes no query",
    "workspace_id": "is an argument of the SDK; set the connection's extra workspace_id",
    "api_key": "is an argument of the SDK; set the connection's password, and take the key out of the requests",
}
"""Members that no batch accepts, and what to do instead."""
UNKNOWN: Final = (
    "not a member that the API is known to take ('Extra inputs are not permitted'); if it is new, use preflight='warn'"
)
SAMPLING: Final[Mapping[str, float]] = {"temperature": 1, "top_p": 1, "top_k": math.inf}
"""Largest value of each sampling parameter; the smallest is 0."""

Preflight = Literal["error", "warn", "off"]
"""What to do with problems: refuse the source, log them, or skip the check."""


@dataclass(frozen=True)
class Problem:
    """One problem of a source.

    `line` counts from 1; in a list of requests it is the item. `custom_id` is None if it cannot be read.
    """

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
    speed: str | None = None
    system: Raw | UnsetType = UNSET
    temperature: Raw | UnsetType = UNSET
    top_p: Raw | UnsetType = UNSET
    top_k: Raw | UnsetType = UNSET


class _Judged(msgspec.Struct, forbid_unknown_fields=True):
    custom_id: str
    params: _Params


class _Members(msgspec.Struct):
    params: dict[str, Raw]


class _Turn(msgspec.Struct):
    role: str | UnsetType = UNSET
    content: str | list[dict[str, Any]] | None = None


# The members of the next classes are in alphabetical order, so that their encoding is canonical JSON.


class _TextTurn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: Annotated[str, msgspec.Meta(min_length=1)]
    role: Literal["user", "assistant"]


class _TextBlock(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: Annotated[str, msgspec.Meta(min_length=1)]


class _PlainParams(msgspec.Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    cache_control: Raw | UnsetType = UNSET
    inference_geo: Raw | UnsetType = UNSET
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    messages: Annotated[list[_TextTurn], msgspec.Meta(min_length=1)]
    metadata: Raw | UnsetType = UNSET
    model: Annotated[str, msgspec.Meta(min_length=1)] | UnsetType = UNSET
    output_config: Raw | UnsetType = UNSET
    service_tier: Raw | UnsetType = UNSET
    stop_sequences: Raw | UnsetType = UNSET
    system: str | list[_TextBlock] | UnsetType = UNSET
    thinking: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET


class _Plain(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    custom_id: str
    params: _PlainParams


RAW_MEMBERS: Final = tuple(name for name, kind in _PlainParams.__annotations__.items() if kind == "Raw | UnsetType")

_plain = msgspec.json.Decoder(_Plain)
_encoder = msgspec.json.Encoder()
_judged = msgspec.json.Decoder(_Judged)
_members = msgspec.json.Decoder(_Members)
_turn = msgspec.json.Decoder(_Turn)
_turn_members = msgspec.json.Decoder(dict[str, Raw])


def plain_requests(data: bytes, lines: Sequence[bytes], default_model: str | None) -> list[RequestLine] | None:
    """Read lines as requests in one decoding, if none of them can have a problem.

    That holds for any API version if all turns are text and all members are ones that every batch accepts, as in nearly
    all requests.

    :param data: the lines with their newlines.
    :param lines: the same lines without newlines.
    :param default_model: the model for requests that name none.
    :return: the requests; None when a line must be checked by `judge`.
    """
    try:
        if not data.isascii():
            data.decode()
        decoded = _plain.decode_lines(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # The decoder ignores where newlines are. In JSON no `{` can follow a `}`, so each of these lines is one object.
    whole = len(decoded) == len(lines) and {line[:1] + line[-1:] for line in lines} == {b"{}"}
    named = default_model or UNSET not in {request.params.model for request in decoded}
    if not (whole and named and all(map(CUSTOM_ID.fullmatch, [request.custom_id for request in decoded]))):
        return None
    if any(map(str.isspace, _texts(decoded))):
        return None
    return [_request_line(request, line, default_model) for line, request in zip(lines, decoded, strict=True)]


def _request_line(request: _Plain, line: bytes, default_model: str | None) -> RequestLine:
    params = request.params
    if params.model is not UNSET:
        return RequestLine(request.custom_id, line, params.model, _canonical(request))
    named = with_model(request.custom_id, line, default_model)
    if default_model is not None:
        params.model = default_model
    return RequestLine(named.custom_id, named.data, named.model, _canonical(request))


def _canonical(request: _Plain) -> bytes:
    """Return the request's canonical JSON, faster than `canonical`; empty if a member was not decoded."""
    params = request.params
    if isinstance(params.system, list):  # its blocks may have members that were not decoded
        return b""
    for name in RAW_MEMBERS:
        if (raw := getattr(params, name)) is not UNSET:
            setattr(params, name, Raw(canonical_member(bytes(raw))))
    return _encoder.encode(request)


def _texts(requests: Iterable[_Plain]) -> Iterator[str]:
    for request in requests:
        for turn in request.params.messages:
            yield turn.content
        if (system := request.params.system) is not UNSET:
            yield from [system] if isinstance(system, str) else [block.text for block in system]


def judge(data: bytes, *, default_model: str | None, version: str) -> list[str]:
    """Return the reasons why the API would refuse a request or not answer it.

    :param data: the request as JSON.
    :param default_model: the model for a request that names none.
    :param version: the API version.
    """
    try:
        request = _judged.decode(data)
    except msgspec.ValidationError as exc:
        return [_in_words(str(exc))]
    params, strict = request.params, version >= STRICT_SINCE
    return [
        *_envelope(request),
        *_required(params, default_model),
        *_foreign(_members.decode(data).params),
        *_never(params),
        *_sampling(params, strict=strict),
        *_system(params),
        *_turns(params, strict=strict),
    ]


def _in_words(error: str) -> str:
    """Reword msgspec's ``… - at `$.params.x` `` like the API's `params.x: …`."""
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
    elif params.max_tokens < 1 or isinstance(params.max_tokens, float):
        yield f"max_tokens: must be an integer from 1, not {params.max_tokens}"


def _foreign(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name not in MEMBERS and name not in BETA_MEMBERS:
            yield f"{name}: {NEVER.get(name, UNKNOWN)}"


def _never(params: _Params) -> Iterator[str]:
    if params.stream:
        yield "stream: true is not supported in batches"
    if params.speed not in {None, "standard"}:
        yield "speed: fast mode is not for batches"
    if params.billing_policy is not None and params.billing_policy.bill_to == "user_profile":
        yield "billing_policy: bill_to user_profile is not supported in batches"
    # Only an MCP server can list its tools.
    if params.tool_choice is not None and params.tool_choice.type == "tool" and params.mcp_servers is UNSET:
        yield from _tool_choice(params.tool_choice, params)


def _tool_choice(choice: _ToolChoice, params: _Params) -> Iterator[str]:
    names = [tool.name for tool in params.tools or []]
    # Only the server can list the tools of a toolset without a name.
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
        return 0 <= msgspec.json.decode(value, type=float) <= most
    except msgspec.ValidationError:
        return False


def _system(params: _Params) -> Iterator[str]:
    if params.system is UNSET:
        return
    try:
        system = msgspec.json.decode(params.system, type=str | list[dict[str, Any]])
    except msgspec.ValidationError as exc:
        yield f"system: {_in_words(str(exc))}"
        return
    if isinstance(system, str):
        # It is not known whether the API refuses an empty text too.
        if system.isspace():
            yield "system: the text is blank"
    else:
        yield from _empty_texts("system", system)


def _turns(params: _Params, *, strict: bool) -> Iterator[str]:
    turns = [] if params.messages is UNSET else params.messages
    decoded: list[_Turn | None] = []
    for number, raw in enumerate(turns):
        try:
            decoded.append(_turn.decode(raw))
        except msgspec.ValidationError as exc:
            yield f"messages.{number}: {_in_words(str(exc))}"
            decoded.append(None)
    for number, turn in enumerate(decoded):
        if turn is not None:
            following = decoded[number + 1] if number + 1 < len(decoded) else None
            yield from _role(number, turn, following)
            if turn.role != "system":
                unknown = [name for name in _turn_members.decode(turns[number]) if name not in TURN_MEMBERS]
                yield from (f"messages.{number}.{name}: {UNKNOWN}" for name in unknown)
            yield from _content(number, turn, last=number + 1 == len(decoded))
            if strict and isinstance(turn.content, list):
                yield from _strict_blocks(number, turn.role, turn.content)


def _role(number: int, turn: _Turn, following: _Turn | None) -> Iterator[str]:
    if turn.role is UNSET:
        yield f"messages.{number}: role is missing"
    elif turn.role not in ROLES:
        yield f"messages.{number}: role must be user or assistant, not {turn.role!r}"
    elif turn.role == "system" and following is not None and following.role == "user":
        yield f"messages.{number}: a system turn must precede an assistant turn or come last; a prompt goes into system"


def _content(number: int, turn: _Turn, *, last: bool) -> Iterator[str]:
    content = turn.content
    if content is None:
        yield f"messages.{number}: content is missing"
    elif not content:
        if not (last and turn.role == "assistant"):
            yield f"messages.{number}: content is empty; only a final assistant turn may be empty"
    elif isinstance(content, list):
        yield from _empty_texts(f"messages.{number}.content", content)
    elif content.isspace():
        yield f"messages.{number}: content is blank"


def _empty_texts(where: str, blocks: Sequence[dict[str, Any]]) -> Iterator[str]:
    for place, block in enumerate(blocks):
        if block.get("type") != "text":
            continue
        text = block.get("text")
        if not isinstance(text, str):
            yield f"{where}.{place}: a text block without text"
        elif not text or text.isspace():
            yield f"{where}.{place}: the text is {'blank' if text else 'empty'}"


def _strict_blocks(number: int, role: str | UnsetType, blocks: list[dict[str, Any]]) -> Iterator[str]:
    where = f"not permitted since API version {STRICT_SINCE}"
    if role == "assistant" and any(block.get("type") == "document" for block in blocks):
        yield f"messages.{number}: a document in an assistant turn is {where}"
    if role == "user" and any(block.get("type") == "text" and block.get("citations") for block in blocks):
        yield f"messages.{number}: citations in a user turn are {where}"
