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
| members that the API does not know, or no batch takes (`members`) | as an errored line             |
| tools, thinking, output schemas … of a wrong shape (`shapes`)     | as an errored line             |
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
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from airflow_batches.api.defaults import STRICT_SINCE
from airflow_batches.api.limits import CUSTOM_ID
from airflow_batches.submission.members import BETA_MEMBERS, MEMBERS, NEVER, ROLES, TURN_MEMBERS, UNKNOWN
from airflow_batches.submission.shapes import CHECKS, member_problems

SAMPLING: Final[Mapping[str, float]] = {"temperature": 1, "top_p": 1, "top_k": math.inf}
"""Largest value of each sampling parameter; the smallest is 0."""

Preflight = Literal["error", "warn", "off"]
"""What to do with problems: refuse the source, log them, or skip the check."""


class _Tool(msgspec.Struct):
    name: str | None = None


class _ToolChoice(msgspec.Struct):
    type: str | None = None
    name: str | None = None


class _Billing(msgspec.Struct):
    bill_to: str | None = None


class _JudgedParams(msgspec.Struct):
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
    params: _JudgedParams


class _Members(msgspec.Struct):
    params: dict[str, Raw]


class _JudgedTurn(msgspec.Struct):
    role: str | UnsetType = UNSET
    content: str | list[dict[str, Any]] | None = None


_judged = msgspec.json.Decoder(_Judged)
_members = msgspec.json.Decoder(_Members)
_turn = msgspec.json.Decoder(_JudgedTurn)
_turn_members = msgspec.json.Decoder(dict[str, Raw])


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
    members = _members.decode(data).params
    return [
        *_envelope(request),
        *_required(params, default_model),
        *_foreign(members),
        *_shapes(members, params),
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


def _required(params: _JudgedParams, default_model: str | None) -> Iterator[str]:
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


def _shapes(members: Mapping[str, Raw], params: _JudgedParams) -> Iterator[str]:
    for name in CHECKS:
        if name in members:
            yield from member_problems(name, bytes(members[name]))
    wants_tool = params.tool_choice is not None and params.tool_choice.type == "any"
    if wants_tool and not params.tools and params.mcp_servers is UNSET:
        yield "tool_choice: 'any' needs tools"


def _never(params: _JudgedParams) -> Iterator[str]:
    if params.stream:
        yield "stream: true is not supported in batches"
    if params.speed not in {None, "standard"}:
        yield "speed: fast mode is not for batches"
    if params.billing_policy is not None and params.billing_policy.bill_to == "user_profile":
        yield "billing_policy: bill_to user_profile is not supported in batches"
    # Only an MCP server can list its tools.
    if params.tool_choice is not None and params.tool_choice.type == "tool" and params.mcp_servers is UNSET:
        yield from _tool_choice(params.tool_choice, params)


def _tool_choice(choice: _ToolChoice, params: _JudgedParams) -> Iterator[str]:
    names = [tool.name for tool in params.tools or []]
    # Only the server can list the tools of a toolset without a name.
    if choice.name not in names and None not in names:
        yield f"tool_choice: tool {choice.name!r} is not among tools"


def _sampling(params: _JudgedParams, *, strict: bool) -> Iterator[str]:
    for name, most in SAMPLING.items():
        value = getattr(params, name)
        if value is UNSET:
            continue
        if strict:
            yield f"{name}: not permitted since API version {STRICT_SINCE} (the connection can pin an older one)"
        elif not _within(value, most):
            limit = f" to {most}" if most < math.inf else ""
            yield f"{name}: must be a number from 0{limit}, not {bytes(value).decode()}"


def _within(value: Raw, most: float) -> bool:
    try:
        return 0 <= msgspec.json.decode(value, type=float) <= most
    except msgspec.ValidationError:
        return False


def _system(params: _JudgedParams) -> Iterator[str]:
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


def _turns(params: _JudgedParams, *, strict: bool) -> Iterator[str]:
    turns = [] if params.messages is UNSET else params.messages
    decoded: list[_JudgedTurn | None] = []
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


def _role(number: int, turn: _JudgedTurn, following: _JudgedTurn | None) -> Iterator[str]:
    if turn.role is UNSET:
        yield f"messages.{number}: role is missing"
    elif turn.role not in ROLES:
        yield f"messages.{number}: role must be user or assistant, not {turn.role!r}"
    elif turn.role == "system" and following is not None and following.role == "user":
        yield f"messages.{number}: a system turn must precede an assistant turn or come last; a prompt goes into system"


def _content(number: int, turn: _JudgedTurn, *, last: bool) -> Iterator[str]:
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
