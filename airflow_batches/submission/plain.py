"""Read requests quickly that cannot have a problem.

That holds for any API version if all turns are text and all members are ones that every batch accepts, as in nearly all
requests. `preflight.judge` checks the others one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from airflow_batches.api.limits import CUSTOM_ID
from airflow_batches.submission.canonical import canonical_member
from airflow_batches.submission.lines import RequestLine, with_model
from airflow_batches.submission.shapes import CHECKS, member_problems

# The members of the classes are in alphabetical order, so that their encoding is canonical JSON.


class _PlainTurn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: Annotated[str, msgspec.Meta(min_length=1)]
    role: Literal["user", "assistant"]


class _PlainBlock(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: Annotated[str, msgspec.Meta(min_length=1)]


class _PlainParams(msgspec.Struct, kw_only=True, gc=False, forbid_unknown_fields=True):
    cache_control: Raw | UnsetType = UNSET
    inference_geo: Raw | UnsetType = UNSET
    max_tokens: Annotated[int, msgspec.Meta(ge=1)]
    messages: Annotated[list[_PlainTurn], msgspec.Meta(min_length=1)]
    metadata: Raw | UnsetType = UNSET
    model: Annotated[str, msgspec.Meta(min_length=1)] | UnsetType = UNSET
    output_config: Raw | UnsetType = UNSET
    service_tier: Raw | UnsetType = UNSET
    stop_sequences: Raw | UnsetType = UNSET
    system: str | list[_PlainBlock] | UnsetType = UNSET
    thinking: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET


class _PlainRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    custom_id: str
    params: _PlainParams


RAW_MEMBERS: Final = tuple(name for name, kind in _PlainParams.__annotations__.items() if kind == "Raw | UnsetType")

_plain = msgspec.json.Decoder(_PlainRequest)
_raw_members = attrgetter(*RAW_MEMBERS)
_no_raw_members = (UNSET,) * len(RAW_MEMBERS)
_encoder = msgspec.json.Encoder()


def plain_requests(data: bytes, lines: Sequence[bytes], default_model: str | None) -> list[RequestLine] | None:
    """Read lines as requests in one decoding, if none of them can have a problem.

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
    if any(map(str.isspace, _texts(decoded))) or not all(_has_good_shape(request.params) for request in decoded):
        return None
    return [_request_line(request, line, default_model) for line, request in zip(lines, decoded, strict=True)]


def _request_line(request: _PlainRequest, line: bytes, default_model: str | None) -> RequestLine:
    params = request.params
    if params.model is not UNSET:
        return RequestLine(request.custom_id, line, params.model, _canonical(request))
    named = with_model(request.custom_id, line, default_model)
    if default_model is not None:
        params.model = default_model
    return RequestLine(named.custom_id, named.data, named.model, _canonical(request))


def _canonical(request: _PlainRequest) -> bytes:
    """Return the request's canonical JSON, faster than `canonical`; empty if a member was not decoded."""
    params = request.params
    if isinstance(params.system, list):  # its blocks may have members that were not decoded
        return b""
    for name, raw in _given(params):
        setattr(params, name, Raw(canonical_member(raw)))
    return _encoder.encode(request)


def _has_good_shape(params: _PlainParams) -> bool:
    return not any(name in CHECKS and member_problems(name, raw) for name, raw in _given(params))


def _given(params: _PlainParams) -> Sequence[tuple[str, bytes]]:
    """Return the members that were not decoded; most requests have none, so that case costs one comparison."""
    if (members := _raw_members(params)) == _no_raw_members:
        return ()
    return [(name, bytes(raw)) for name, raw in zip(RAW_MEMBERS, members, strict=True) if raw is not UNSET]


def _texts(requests: Iterable[_PlainRequest]) -> Iterator[str]:
    for request in requests:
        for turn in request.params.messages:
            yield turn.content
        if (system := request.params.system) is not UNSET:
            yield from [system] if isinstance(system, str) else [block.text for block in system]
