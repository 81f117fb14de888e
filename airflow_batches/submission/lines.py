"""JSONL as the requests of a create's body: numbered, read just far enough, forwarded byte for byte.

Lines end at \\n alone, on bytes; a \\r before it is dropped; blank lines are skipped, but counted, so that a line's
number is the one an editor shows; a last line without \\n is kept.

Only where a line has no model and a default is given is anything written: the default, as the first member of its
params. What is not UTF-8 JSON with a text `custom_id` and an object `params` can be part of no body at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from airflow_batches.api.limits import MAX_BODY_BYTES
from airflow_batches.submission.errors import PreflightError


class Unreadable(ValueError):
    """The line is no request; the message says why."""


class RequestLine(msgspec.Struct, frozen=True):
    """A request as it will be sent: `data` is its JSON, `model` what will answer it (None: nothing says)."""

    custom_id: str
    data: bytes
    model: str | None


def numbered_lines(blocks: Iterable[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Each line's number from 1, the offset of its end, and its bytes. Holds one block and one line.

    Raises `PreflightError` for a line that no body could hold, before it is held.
    """
    number = end = held = 0
    pending: list[bytes] = []
    for block in blocks:
        *complete, rest = block.split(b"\n")
        if complete:
            pending.append(complete[0])
            complete[0] = b"".join(pending)
            pending.clear()
            held = 0
        for line in complete:
            number += 1
            end += len(line) + 1
            if line and not line.isspace():
                yield number, end, line.removesuffix(b"\r")
        if rest:
            pending.append(rest)
            held += len(rest)
            if held > MAX_BODY_BYTES:
                raise PreflightError(
                    f"line {number + 1:,} is longer than a whole batch may be ({MAX_BODY_BYTES:,} bytes)"
                )
    last = b"".join(pending)
    if last and not last.isspace():
        yield number + 1, end + len(last), last.removesuffix(b"\r")


class _Params(msgspec.Struct):
    model: Any = UNSET


class _Request(msgspec.Struct):
    custom_id: str
    params: _Params


class _Envelope(msgspec.Struct):
    params: Raw


_request = msgspec.json.Decoder(_Request)
_envelope = msgspec.json.Decoder(_Envelope)


def request_line(raw: bytes, default_model: str | None) -> RequestLine:
    """The request that a line stands for. Raises `Unreadable`."""
    try:
        if not raw.isascii():
            raw.decode()
        request = _request.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Unreadable(f"not a request: {exc}") from exc
    model = request.params.model
    if model is UNSET:
        return with_model(request.custom_id, raw, default_model)
    return RequestLine(request.custom_id, raw, model if isinstance(model, str) else None)


def with_model(custom_id: str, raw: bytes, model: str | None) -> RequestLine:
    """A request whose line names no model, with this one (None: as it is)."""
    if model is None:
        return RequestLine(custom_id, raw, None)
    members = bytes(_envelope.decode(raw).params).strip().removeprefix(b"{").lstrip()
    separator = b"" if members.startswith(b"}") else b","
    head = b'{"custom_id":%b,"params":{"model":%b' % (msgspec.json.encode(custom_id), msgspec.json.encode(model))
    return RequestLine(custom_id, head + separator + members + b"}", model)
