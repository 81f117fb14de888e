"""Checks of a create call's envelope, not of params (docs; messages recorded live).

The whole body is decoded once, strictly, with params as raw JSON. Only if that fails is it decoded step by step, to say
which member of which request is wrong, in the API's words.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from airflow_batches.emulator.errors import ErrorAnswer

_ID_PATTERN: Final = "^[a-zA-Z0-9_-]{1,64}$"
_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NO_OBJECT: Final = "Input should be a valid dictionary or object to extract fields from"


class BatchRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One request of a batch."""

    custom_id: str
    params: msgspec.Raw


class _CreateBody(msgspec.Struct, forbid_unknown_fields=True):
    requests: Annotated[list[BatchRequest], msgspec.Meta(min_length=1)]


_STRICT: Final = msgspec.json.Decoder(_CreateBody)
_LOOSE: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])


def parse_create(body: bytes | mmap.mmap, max_requests: int) -> list[BatchRequest]:
    """Return the requests of a create body. Raises ErrorAnswer (400) with the API's message."""
    try:
        requests = _decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(body, error) from None
    _check(requests, max_requests)
    return requests


def _decoded(body: bytes | mmap.mmap) -> list[BatchRequest]:
    try:
        requests = _STRICT.decode(body).requests
    except msgspec.ValidationError:
        return _decoded_stepwise(body)
    return requests if all(map(_ID.fullmatch, [request.custom_id for request in requests])) else _decoded_stepwise(body)


def not_json(body: bytes | mmap.mmap, error: Exception) -> ErrorAnswer:
    """Return a 400, of whose message only the part before the second colon is recorded."""
    found = re.search(r"\(byte (\d+)\)", str(error))
    if isinstance(error, UnicodeDecodeError) or "UTF-8" in str(error):  # msgspec 0.23 has its own error for it
        what, at = "invalid UTF-8", 0
    elif isinstance(error, RecursionError):
        what, at = "arrays and objects are nested too deeply", 0
    elif found is None:
        what, at = "unexpected end of data", len(body)
    else:
        what, at = "unexpected character", int(found[1])
    before = body[:at]
    line, column = before.count(b"\n") + 1, at - before.rfind(b"\n")
    place = f"line {line} column {column} (char {at})"
    return ErrorAnswer(400, f"The request body is not valid JSON: {what}: {place}")


def _check(requests: list[BatchRequest], max_requests: int) -> None:
    if len(requests) > max_requests:
        raise ErrorAnswer(400, _too_many(max_requests, len(requests)))
    for number, line in enumerate(requests):
        if memoryview(line.params)[0] != ord("{"):
            raise ErrorAnswer(400, f"requests.{number}.params: {_NO_OBJECT}")
    seen: set[str] = set()
    for line in requests:
        if line.custom_id in seen:
            raise ErrorAnswer(
                400,
                f"requests: custom_id's must be unique within a batch. Duplicate custom_id found: {line.custom_id}",
            )
        seen.add(line.custom_id)


def _too_many(limit: int, count: int) -> str:
    return f"requests: List should have at most {limit} items after validation, not {count}"


def _decoded_stepwise(body: bytes | mmap.mmap) -> list[BatchRequest]:
    """Decode an envelope that the strict decoder refuses. Raises ErrorAnswer with the first error.

    There may be none: of a member that is there twice the last one counts, as in the JSON parsers in use, and only that
    one is checked. The strict decoder checks both.
    """
    try:
        envelope = _LOOSE.decode(body)
    except msgspec.ValidationError:
        raise ErrorAnswer(400, _NO_OBJECT) from None
    items = _items(envelope)
    for number, item in enumerate(items):
        if found := _objection_to_request(item):
            raise ErrorAnswer(400, f"requests.{number}{found}")
    for name in envelope:
        if name != "requests":
            raise ErrorAnswer(400, f"{name}: Extra inputs are not permitted")
    members = [_LOOSE.decode(item) for item in items]
    return [BatchRequest(msgspec.json.decode(m["custom_id"], type=str), m["params"]) for m in members]


def _items(envelope: Mapping[str, msgspec.Raw]) -> list[msgspec.Raw]:
    if "requests" not in envelope:
        raise ErrorAnswer(400, "requests: Field required")
    try:
        items = _ITEMS.decode(envelope["requests"])
    except msgspec.ValidationError:
        raise ErrorAnswer(400, "requests: Input should be a valid list") from None
    if not items:
        raise ErrorAnswer(400, "requests: List should have at least 1 item after validation, not 0")
    return items


def _objection_to_request(item: msgspec.Raw) -> str | None:
    try:
        members = _LOOSE.decode(item)
    except msgspec.ValidationError:
        return f": {_NO_OBJECT}"
    for name in ("custom_id", "params"):
        if name not in members:
            return f".{name}: Field required"
    found = _objection_to_id(msgspec.json.decode(members["custom_id"]))
    if found is not None:
        return f".custom_id: {found}"
    unknown = [name for name in members if name not in ("custom_id", "params")]
    return f".{unknown[0]}: Extra inputs are not permitted" if unknown else None


def _objection_to_id(value: Any) -> str | None:
    if not isinstance(value, str):
        return "Input should be a valid string"
    if len(value) > 64:
        return "String should have at most 64 characters"
    if not value:
        return "String should have at least 1 character"
    return None if _ID.fullmatch(value) else f"String should match pattern '{_ID_PATTERN}'"
