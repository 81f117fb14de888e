"""Encode requests as JSONL. The table lists the Python objects that are accepted.

| object                                                    | becomes                                              |
|-----------------------------------------------------------|------------------------------------------------------|
| dict, list, tuple, str, int, float, bool, None            | itself; subclasses too                               |
| other mappings and sequences, views of a dict             | object, array                                        |
| pydantic models, including the SDK's (`TextBlock`)        | the members that were set, as the SDK sends them     |
| dataclasses, msgspec structs                              | object of all fields                                 |
| numpy scalars                                             | number, boolean, text                                |
| Decimal                                                   | number, digit for digit                              |
| datetime, date, time, timedelta, `pandas.Timestamp`       | ISO 8601 text                                        |
| Enum, UUID                                                | its value, text                                      |
| NaN, infinity, `pandas.NaT`, `pandas.NA`                  | refused: JSON has no such value                      |
| bytes                                                     | refused: the caller must decode or encode them       |
| sets                                                      | refused: their order changes from run to run         |
| generators, arrays, anything else                         | refused                                              |

Without these checks, msgspec would silently write NaN as null, bytes as base64 and sets in any order. One fast
conversion shows whether a run of requests holds only text and integers. Only other requests are checked value by value.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from math import isfinite
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from airflow_batches.api.errors import InvalidRequest

ENCODE_AT_ONCE: Final = 32
"""Requests encoded to one block. Chosen: a block fits in memory even if each request holds an image or a document."""

Requests = Iterable[Mapping[str, Any]]


class _SimpleTurn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: str
    content: str


class _SimpleParams(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    messages: list[_SimpleTurn]
    max_tokens: int
    model: str | UnsetType = UNSET
    system: str | UnsetType = UNSET


class _SimpleRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    custom_id: str
    params: _SimpleParams


class Unfit(TypeError):
    """A value that cannot be sent.

    `path` is its place: the keys and indexes from the request to the value.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str] = []


def encode_requests(requests: Requests, *, checked: bool = False) -> Iterator[bytes]:
    """Yield requests as JSONL, several in one block.

    :param requests: the requests.
    :param checked: the same requests were encoded before, so the checks are left out.
    :raises InvalidRequest: when a request cannot be sent; the message names it and the reason.
    """
    encoder = msgspec.json.Encoder(enc_hook=_as_json, decimal_format="number")
    iterator = iter(requests)
    done = 0
    while batch := [*islice(iterator, ENCODE_AT_ONCE)]:
        try:
            if not checked and not _is_simple(batch):
                _check(batch)
            yield encoder.encode_lines(batch)
        except _FAILURES as exc:
            raise InvalidRequest(_describe_failure(batch, done, exc, encoder)) from exc
        done += len(batch)


_FAILURES: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


def _is_simple(batch: list[Mapping[str, Any]]) -> bool:
    try:
        msgspec.convert(batch, list[_SimpleRequest])
    except msgspec.ValidationError:
        return False
    return True


def _check(value: Any) -> None:
    """Raise `Unfit` if a value has no JSON form, or more than one."""
    kind = type(value)
    if kind in _SIMPLE_TYPES or isinstance(value, Enum | UUID):
        return
    if kind is float or kind is Decimal:
        if not (isfinite(value) if kind is float else value.is_finite()):
            raise Unfit(f"{value} has no JSON form")
    elif isinstance(value, bytes | bytearray | memoryview):
        raise Unfit(f"{kind.__name__} is not text: decode it, or encode it as base64")
    elif isinstance(value, Set) and not isinstance(value, KeysView):
        raise Unfit(f"a {kind.__name__} has no order: give a list")
    elif (members := _members(value)) is not None:
        _check_items(members)
    else:
        _check(_as_json(value))


def _members(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the members of an object or an array with their keys; None if it is neither."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return enumerate(value)
    if isinstance(value, type):
        return None
    if is_dataclass(value):
        return ((field.name, getattr(value, field.name)) for field in fields(value))
    if isinstance(value, msgspec.Struct):
        return ((name, getattr(value, name)) for name in value.__struct_fields__)
    return None


def _check_items(items: Iterable[tuple[Any, Any]]) -> None:
    for key, value in items:
        try:
            _check(value)
        except Unfit as exc:
            exc.path.insert(0, str(key))
            raise


_SIMPLE_TYPES: Final = frozenset({str, int, bool, type(None), datetime, date, time, timedelta})


def _as_json(value: Any) -> Any:
    """Convert an object that msgspec does not know. Raises `Unfit` if it has no JSON form."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, date | time) and value == value:  # pandas.NaT is a datetime that equals nothing
        return value.isoformat()
    for taken in (_from_numpy, _from_pydantic, _from_container):
        if (found := taken(value)) is not None:
            return found
    raise Unfit(f"{type(value).__module__}.{type(value).__qualname__} has no JSON form".removeprefix("builtins."))


def _from_numpy(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic):
        return None
    found = value.item()
    return found if type(found) in {bool, int, float, str} else None


def _from_pydantic(value: Any) -> Any:
    """Convert a model as the SDK does (`anthropic._utils._json`)."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(value, pydantic.BaseModel):
        return None
    exclude = getattr(value, "__api_exclude__", None)
    return value.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=exclude)


def _from_container(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | KeysView | ValuesView):
        return [*value]
    return None


def _describe_failure(batch: list[Any], done: int, cause: Exception, encoder: msgspec.json.Encoder) -> str:
    for number, request in enumerate(batch, done + 1):
        try:
            _check(request)
            encoder.encode(request)
        except _FAILURES as exc:
            custom_id = request.get("custom_id") if isinstance(request, Mapping) else None
            named = f"request {number:,}" + (f", {custom_id!r}," if isinstance(custom_id, str) else "")
            where = f"{'.'.join(exc.path)}: " if isinstance(exc, Unfit) and exc.path else ""
            return f"{named} cannot be written as JSON: {where}{exc}"
    return str(cause)
